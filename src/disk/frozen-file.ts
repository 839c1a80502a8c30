/** What a disk was at an instant, open as a disk: a copy of its own if it can be written, else shared as it is. Main thread. */
import type { DiskFile } from './disk-file.js';
import type { OpenFrozen, OpenOverlay } from './disk-map.js';
import type { FrozenContent } from './frozen-content.js';
import { cannotGrow } from './open-image.js';
import { OverlayFile } from './overlay-file.js';

export interface LayeredFile extends DiskFile {
  readonly open: OpenFrozen | OpenOverlay;
}

/** As often as wanted. The content is whose it was. */
export async function openFrozen(content: FrozenContent, temporaryDirectory?: string): Promise<LayeredFile> {
  const { facts, layers } = content.hold();
  if (facts.readOnly) return new FrozenFile(content);
  try {
    return await OverlayFile.open({ ...facts, layers, temporaryDirectory });
  } catch (error) {
    await content.release();
    throw error;
  }
}

class FrozenFile implements LayeredFile {
  readonly path: string;
  readonly size: number;
  readonly ioSize: number;
  readonly readOnly = true;
  readonly open: OpenFrozen;
  readonly #content: FrozenContent;
  #closing: Promise<void> | undefined;

  /** Takes the content over. */
  constructor(content: FrozenContent) {
    const { path, size, ioSize } = content.facts;
    this.path = path;
    this.size = size;
    this.ioSize = ioSize;
    this.open = content.open;
    this.#content = content;
  }

  async grow(size: number): Promise<void> {
    throw cannotGrow(this.path, size, new Error('it is read-only'));
  }

  async prepareFreeze(): Promise<void> {}

  async freeze(): Promise<FrozenContent> {
    return this.#content.hold();
  }

  forget(): void {}

  async forgotten(): Promise<void> {}

  onIdle(): void {}

  close(): Promise<void> {
    this.#closing ??= this.#content.release();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
