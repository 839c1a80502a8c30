/**
 * A bounded cache under every file system reader: small reads (metadata) come in lines and are kept, large reads
 * (file content, one per extent) go straight through. Main thread.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { checkRange } from '../../disk/range.js';

const lineSize = 32 * 1024;
/** From here on a read is content: caching it would only push the metadata out. */
const largeRead = 4 * lineSize;
export const defaultCacheBytes = 8 * 1024 * 1024;

export class BlockCache implements BlockReader {
  readonly size: number;
  readonly #source: BlockReader;
  readonly #maxLines: number;
  /** In order of use, oldest first. A line under way is kept as its promise, so that it is read once. */
  readonly #lines = new Map<number, Promise<Buffer>>();

  constructor(source: BlockReader, bytes = defaultCacheBytes) {
    this.#source = source;
    this.size = source.size;
    this.#maxLines = Math.max(1, Math.floor(bytes / lineSize));
  }

  /** The result may be shared with other readers: it is not to be written to. */
  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'file system');
    if (length === 0) return Buffer.alloc(0);
    if (length >= largeRead) return this.#source.read(offset, length);
    const first = Math.floor(offset / lineSize);
    const last = Math.floor((offset + length - 1) / lineSize);
    const within = offset - first * lineSize;
    if (first === last) return (await this.#line(first)).subarray(within, within + length);
    const lines: Buffer[] = [];
    for (let line = first; line <= last; line++) lines.push(await this.#line(line));
    return Buffer.concat(lines).subarray(within, within + length);
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    if (into.length < largeRead) into.set(await this.read(offset, into.length));
    else {
      checkRange(offset, into.length, this.size, 'file system');
      await this.#source.readInto(offset, into);
    }
  }

  /** The first `length` bytes or what there is of them, in one read; what comes after finds them here. */
  async head(length: number): Promise<Buffer> {
    const bytes = await this.#source.read(0, Math.min(length, this.size));
    for (let at = 0; at < bytes.length; at += lineSize) {
      const isWhole = at + lineSize <= bytes.length || bytes.length === this.size;
      if (isWhole) this.#keep(at / lineSize, Promise.resolve(bytes.subarray(at, at + lineSize)));
    }
    return bytes;
  }

  #line(index: number): Promise<Buffer> {
    const known = this.#lines.get(index);
    this.#lines.delete(index);
    const line = known ?? this.#source.read(index * lineSize, Math.min(lineSize, this.size - index * lineSize));
    if (known) {
      this.#lines.set(index, line);
      return known;
    }
    line.catch(() => this.#lines.delete(index)); // a failed read is tried again, not remembered
    this.#keep(index, line);
    return line;
  }

  #keep(index: number, line: Promise<Buffer>): void {
    this.#lines.set(index, line);
    for (const oldest of this.#lines.keys()) {
      if (this.#lines.size <= this.#maxLines) break;
      this.#lines.delete(oldest);
    }
  }
}
