/**
 * A bounded cache under every file system reader: small reads (metadata) come in lines and are kept, large reads
 * (file content, one per extent) go straight through. One for a disk, whatever it is divided into. Main thread.
 *
 * All that readers do to a disk comes by here, so here it is paid for: a reader that goes on and on over what the cache has
 * would never let the event loop turn.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { checkRange } from '../../disk/range.js';
import type { DiskBudget } from '../disk-budget.js';

const lineSize = 32 * 1024;
/** From here on a read is content: caching it would only push the metadata out. */
const largeRead = 4 * lineSize;
export const defaultCacheBytes = 8 * 1024 * 1024;
/** So much is read until a budget is asked again. */
const pieceBytes = 16 * 1024 * 1024;

export interface CachedReader extends BlockReader {
  /** The first `length` bytes or what there is of them, in one read; what comes after finds them in the cache. */
  head(length: number): Promise<Buffer>;
}

export class BlockCache implements CachedReader {
  readonly size: number;
  readonly #source: BlockReader;
  readonly #budget: DiskBudget | undefined;
  readonly #maxLines: number;
  /** In order of use, oldest first. A line under way is kept as its promise, so that it is read once. */
  readonly #lines = new Map<number, Promise<Buffer>>();

  constructor(source: BlockReader, bytes = defaultCacheBytes, budget?: DiskBudget) {
    this.#source = source;
    this.#budget = budget;
    this.size = source.size;
    this.#maxLines = Math.max(1, Math.floor(bytes / lineSize));
  }

  /** The result may be shared with other readers: it is not to be written to. */
  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'file system');
    if (length === 0) return Buffer.alloc(0);
    const turn = this.#pay();
    if (turn !== undefined) await turn; // most reads are answered at once: waiting for nothing would cost more than they do
    if (length >= largeRead) return this.#wait(this.#source.read(offset, length));
    const first = Math.floor(offset / lineSize);
    const last = Math.floor((offset + length - 1) / lineSize);
    const within = offset - first * lineSize;
    if (first === last) return (await this.#line(first)).subarray(within, within + length);
    const lines: Buffer[] = [];
    for (let line = first; line <= last; line++) lines.push(await this.#line(line));
    return Buffer.concat(lines).subarray(within, within + length);
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    if (into.length < largeRead) return void into.set(await this.read(offset, into.length));
    checkRange(offset, into.length, this.size, 'file system');
    for (let at = 0; at < into.length; at += pieceBytes) {
      await this.#pay();
      await this.#wait(this.#source.readInto(offset + at, into.subarray(at, at + pieceBytes)));
    }
  }

  head(length: number): Promise<Buffer> {
    return this.readAhead(0, Math.min(length, this.size));
  }

  /**
   * `length` bytes at `offset` in one read, with what belongs to the same lines. The lines share its memory, which is there
   * until the last of them goes: of heads of 256 KiB that is at most eight times the cache.
   */
  async readAhead(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'file system');
    await this.#pay();
    const start = Math.floor(offset / lineSize) * lineSize;
    const end = Math.min(Math.ceil((offset + length) / lineSize) * lineSize, this.size);
    const bytes = await this.#wait(this.#source.read(start, end - start));
    for (let at = 0; at < bytes.length; at += lineSize)
      this.#keep((start + at) / lineSize, Promise.resolve(bytes.subarray(at, at + lineSize)));
    return bytes.subarray(offset - start, offset - start + length);
  }

  /** `size` bytes from `start`, which lie inside it, as a reader of their own. */
  part(start: number, size: number): CachedReader {
    return new CachedPart(this, start, size);
  }

  #line(index: number): Promise<Buffer> {
    const known = this.#lines.get(index);
    this.#lines.delete(index);
    const line =
      known ?? this.#wait(this.#source.read(index * lineSize, Math.min(lineSize, this.size - index * lineSize)));
    if (known) {
      this.#lines.set(index, line);
      return known;
    }
    line.catch(() => this.#lines.delete(index)); // a failed read is tried again, not remembered
    this.#keep(index, line);
    return line;
  }

  #pay(): Promise<void> | undefined {
    this.#budget?.spend('reads');
    return this.#budget?.turn();
  }

  #wait<T>(read: Promise<T>): Promise<T> {
    return this.#budget === undefined ? read : this.#budget.wait(read);
  }

  #keep(index: number, line: Promise<Buffer>): void {
    this.#lines.delete(index);
    this.#lines.set(index, line);
    for (const oldest of this.#lines.keys()) {
      if (this.#lines.size <= this.#maxLines) break;
      this.#lines.delete(oldest);
    }
  }
}

class CachedPart implements CachedReader {
  readonly size: number;
  readonly #cache: BlockCache;
  readonly #start: number;

  constructor(cache: BlockCache, start: number, size: number) {
    this.#cache = cache;
    this.#start = start;
    this.size = size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'file system');
    return this.#cache.read(this.#start + offset, length);
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    checkRange(offset, into.length, this.size, 'file system');
    await this.#cache.readInto(this.#start + offset, into);
  }

  head(length: number): Promise<Buffer> {
    return this.#cache.readAhead(this.#start, Math.min(length, this.size));
  }
}
