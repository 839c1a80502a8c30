/** An image that is open, for reading or writing in place. Main thread. */
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { TsvmmError } from '../errors.js';
import { openForReading } from './clone-file.js';
import type { DiskFile } from './disk-file.js';
import type { OpenImageDisk } from './disk-map.js';
import { closeFd, fileStatus } from './file-calls.js';
import { FileFreezer } from './file-freezer.js';
import { lockFile } from './file-lock.js';
import { FrozenContent, type FrozenLayer, type ImageReference } from './frozen-content.js';
import { Held } from './held.js';
import { cannotGrow, extend } from './open-image.js';
import { quote } from './range.js';
import { sectorSize } from './sector-bits.js';

export interface ImageFileOptions {
  readonly path: string;
  readonly open: OpenImageDisk;
  readonly ioSize: number;
  /** What `path` leads to. */
  readonly realPath: string;
  readonly isFile: boolean;
  readonly temporaryDirectory: string | undefined;
}

export class ImageFile implements DiskFile {
  readonly path: string;
  readonly ioSize: number;
  open: OpenImageDisk;
  readonly #options: ImageFileOptions;
  /** The image and with it the lock: frozen disks may have it longer than this. */
  readonly #held: Held;
  /** It can only read; made when it is needed. */
  #reader: number | undefined;
  #freezer: FileFreezer | undefined;
  #opening: Promise<FileFreezer> | undefined;
  #closing: Promise<void> | undefined;

  /** Takes the descriptor over. */
  constructor(options: ImageFileOptions) {
    this.path = options.path;
    this.ioSize = options.ioSize;
    this.open = options.open;
    this.#options = options;
    this.#held = new Held(async () => {
      if (this.#reader !== undefined) await closeFd(this.#reader);
      await closeFd(this.open.fd);
    });
  }

  get size(): number {
    return this.open.size;
  }

  get readOnly(): boolean {
    return this.open.readOnly;
  }

  async grow(size: number): Promise<void> {
    const { path, open } = this;
    checkSize(path, size, open.direct?.offset);
    if (open.readOnly) throw cannotGrow(path, size, new Error('it is read-only'));
    await extend(path, open.fd, size);
    this.open = { ...open, size };
  }

  async prepareFreeze(): Promise<void> {
    if (!this.readOnly) await (await this.#freezing()).prepare(this.size);
  }

  async freeze(): Promise<FrozenContent> {
    const { path, size, readOnly, ioSize } = this;
    const reference = this.#options.isFile ? await this.#reference() : undefined; // else nothing tells that it was written
    const layer = await this.#freezeLayer();
    const direct = layer.open.direct === true ? this.open.direct : undefined;
    const isDirect = this.open.direct !== undefined;
    return new FrozenContent({ path, size, readOnly, ioSize, direct, isDirect, limit: undefined, reference }, [layer]);
  }

  forget(): void {
    this.#freezer?.forget();
    this.#tell();
  }

  async forgotten(): Promise<void> {
    await this.#freezer?.forgotten();
  }

  onIdle(call: () => void): void {
    if (this.#freezer !== undefined) this.#freezer.onIdle = call;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => {}); // its caller hears of it
    await this.#freezer?.close();
    // Who has it frozen only reads: others may read it as well.
    if (this.#held.isShared) lockFile(this.open.fd, 'read');
    await this.#held.release();
  }

  async #freezeLayer(): Promise<FrozenLayer> {
    const { fd, direct, readOnly } = this.open;
    if (readOnly) return { open: { fd, direct: direct !== undefined }, held: this.#held.hold() };
    const freezer = await this.#freezing();
    const layer = await freezer.freeze(this.size);
    this.#tell();
    return layer;
  }

  #freezing(): Promise<FileFreezer> {
    this.#opening = this.#openFreezer();
    return this.#opening;
  }

  async #openFreezer(): Promise<FileFreezer> {
    if (this.#freezer !== undefined) return this.#freezer;
    const { fd, direct } = this.open;
    this.#reader ??= await openForReading(fd, direct === undefined ? 0 : constants.O_DIRECT);
    const read = { fd: this.#reader, direct: direct !== undefined };
    const { realPath, isFile, temporaryDirectory: stores } = this.#options;
    const directory = isFile ? dirname(realPath) : undefined;
    this.#freezer ??= new FileFreezer({ what: quote(this.path), fd, read, held: this.#held, directory, stores });
    return this.#freezer;
  }

  #tell(): void {
    this.open = { ...this.open, histories: this.#freezer?.histories };
  }

  async #reference(): Promise<ImageReference> {
    const { dev, ino, mtimeNs } = await fileStatus(this.open.fd, { bigint: true });
    return { path: this.#options.realPath, size: this.size, dev: `${dev}`, ino: `${ino}`, mtimeNs: `${mtimeNs}` };
  }
}

/** Throws for what no disk can have. */
export function checkSize(path: string, size: number, unit = sectorSize): void {
  if (size % unit === 0) return;
  throw new TsvmmError('ERR_TSVMM_CONFIG', `${quote(path)} cannot have ${size} bytes`, {
    hint: `use a multiple of ${unit}`,
  });
}
