/**
 * The file of an ephemeral disk, or of a disk that is a copy of a frozen one: what is written goes into a private file over
 * layers that others may have as well. Main thread.
 */
import { TsvmmError } from '../errors.js';
import { giveShared } from '../memory/shared-pool.js';
import type { DirectIo } from './direct-io.js';
import type { DiskFile } from './disk-file.js';
import type { OpenOverlay } from './disk-map.js';
import { closeFd, setSize } from './file-calls.js';
import { FileFreezer } from './file-freezer.js';
import { checkDepth, FrozenContent, type FrozenLayer } from './frozen-content.js';
import { Held } from './held.js';
import { checkSize } from './image-file.js';
import { cannotGrow } from './open-image.js';
import { allocateWritten, copyWritten, extendWritten, writtenSectors } from './overlay-written.js';
import { quote } from './range.js';
import { openTemporary, type TemporaryFile } from './temporary-file.js';

export interface OverlayFileOptions {
  /** Of the image, for messages. */
  readonly path: string;
  readonly size: number;
  readonly ioSize: number;
  /** What lies below. */
  readonly layers: readonly FrozenLayer[];
  readonly direct: DirectIo | undefined;
  readonly limit: number | undefined;
  readonly temporaryDirectory: string | undefined;
}

export class OverlayFile implements DiskFile {
  readonly path: string;
  readonly ioSize: number;
  readonly readOnly = false;
  open: OpenOverlay;
  readonly #layers: readonly FrozenLayer[];
  readonly #held: Held;
  readonly #freezer: FileFreezer;
  /** Of the sizes that it had before. */
  readonly #outgrown: SharedArrayBuffer[] = [];
  #closing: Promise<void> | undefined;

  /** Takes the layers over, unless it rejects. */
  static async open(options: OverlayFileOptions): Promise<OverlayFile> {
    const { path, size, limit, temporaryDirectory } = options;
    const file = await openTemporary(`the changes of the ephemeral disk ${quote(path)}`, size, temporaryDirectory);
    try {
      return new OverlayFile(options, file, writtenBits(path, size, limit));
    } catch (error) {
      await closeFd(file.fd);
      throw error;
    }
  }

  private constructor(options: OverlayFileOptions, file: TemporaryFile, written: SharedArrayBuffer) {
    const { path, size, ioSize, layers, direct, limit, temporaryDirectory: stores } = options;
    const { fd, writesBriefly, givesBack, directory } = file;
    this.path = path;
    this.ioSize = ioSize;
    this.#layers = layers;
    this.#held = new Held(() => closeFd(fd));
    const files = { layers: layers.map(({ open }) => open), overlay: fd, written };
    this.open = { kind: 'overlay', ...files, size, readOnly: false, direct, limit, givesBack, writesBriefly };
    this.#freezer = new FileFreezer({ what: quote(path), fd, read: { fd }, held: this.#held, directory, stores });
  }

  get size(): number {
    return this.open.size;
  }

  async grow(size: number): Promise<void> {
    const { path, open } = this;
    checkSize(path, size, open.direct?.offset);
    await setSize(open.overlay, size).catch((cause) => Promise.reject(cannotGrow(path, size, cause)));
    this.open = { ...open, written: extended(path, open, size), size };
    this.#outgrown.push(open.written); // still in use
  }

  async prepareFreeze(): Promise<void> {
    checkDepth(this.path, this.#layers.length);
    await this.#freezer.prepare(this.size);
  }

  async freeze(): Promise<FrozenContent> {
    const { path, size, readOnly, ioSize } = this;
    const { direct, limit, written } = this.open;
    checkDepth(path, this.#layers.length);
    const own: FrozenLayer[] = [];
    if (!writtenSectors(written, size).isEmpty)
      own.push(
        await this.#freezer.freeze(size, () => {
          const bits = copyWritten(written, size);
          return { written: { bits, size }, giveBack: () => giveShared(bits) };
        }),
      );
    const { histories } = this.#freezer;
    this.open = { ...this.open, histories };
    for (const { held } of this.#layers) held.hold();
    const isDirect = direct !== undefined;
    const facts = { path, size, readOnly, ioSize, direct, isDirect, limit, reference: undefined };
    return new FrozenContent(facts, [...own, ...this.#layers]);
  }

  forget(): void {
    this.#freezer.forget();
    const { histories } = this.#freezer;
    this.open = { ...this.open, histories };
  }

  forgotten(): Promise<void> {
    return this.#freezer.forgotten();
  }

  onIdle(call: () => void): void {
    this.#freezer.onIdle = call;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#freezer.close();
    await this.#held.release();
    await Promise.all(this.#layers.map(({ held }) => held.release()));
    for (const written of [...this.#outgrown, this.open.written]) giveShared(written);
  }
}

function writtenBits(path: string, size: number, limit: number | undefined): SharedArrayBuffer {
  try {
    return allocateWritten(size, limit);
  } catch (cause) {
    throw new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} with ${size} bytes is too large to be ephemeral`, {
      hint: 'copy the image and let the guest write to the copy',
      cause,
    });
  }
}

/** What the file has beyond the size of the disk is a hole that nobody reads. */
function extended(path: string, open: OpenOverlay, size: number): SharedArrayBuffer {
  try {
    return extendWritten(open.written, { from: open.size, to: size, limit: open.limit });
  } catch (cause) {
    throw cannotGrow(path, size, cause as Error);
  }
}
