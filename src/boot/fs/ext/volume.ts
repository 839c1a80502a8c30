/**
 * The blocks of an ext file system as they are after journal replay. Main thread.
 *
 * A replayed journal is not copied: `replayed` says for a block where in the journal its newest copy lies, so that even
 * a large dirty journal costs a few bytes for each block in it.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { checkCommand, repairCommand } from '../../disk/slice.js';
import { damaged, notReadable } from '../damage.js';
import { type Superblock, superblockOffset, superblockSize } from './superblock.js';

export interface JournalCopy {
  /** The file system block that holds the copy. */
  readonly block: number;
  /** The copy's first four bytes were set to zero because they looked like a journal header (jbd2 "escape"). */
  readonly escaped: boolean;
}

/** "jbd2 magic": what a journal block starts with, and what an escaped block gets back. */
export const journalMagic = 0xc03b3998;

export class ExtVolume {
  readonly superblock: Superblock;
  /** What the user knows this file system by, for commands in hints. */
  readonly image: BlockReader;
  readonly #reader: BlockReader;
  readonly #replayed: ReadonlyMap<number, JournalCopy>;

  constructor(
    reader: BlockReader,
    superblock: Superblock,
    image: BlockReader,
    replayed: ReadonlyMap<number, JournalCopy> = new Map(),
  ) {
    this.#reader = reader;
    this.superblock = superblock;
    this.image = image;
    this.#replayed = replayed;
  }

  /** Damage in a structure of this file system. */
  damaged(what: string): Error {
    return damaged(`${this.superblock.type}: ${what}`, checkCommand(this.image));
  }

  /** A state that `command` mends. */
  needsRepair(what: string, command: string): Error {
    return notReadable(`${this.superblock.type}: ${what}`, `Repair it: ${repairCommand(this.image, command)}`);
  }

  /** Something valid that is not read here. */
  unreadable(what: string): Error {
    return notReadable(
      `${this.superblock.type}: ${what}`,
      'Give the kernel directly, boot: { kernel, initrd, cmdline }.',
    );
  }

  readSuperblock(): Promise<Buffer> {
    const { blockSize } = this.superblock;
    return this.readWithin(
      Math.floor(superblockOffset / blockSize),
      superblockOffset % blockSize,
      superblockSize,
      'superblock',
    );
  }

  /** `count` blocks from `first`. The result is not to be written to. */
  async read(first: number, count: number, what: string): Promise<Buffer> {
    this.#check(first, count, what);
    const { blockSize } = this.superblock;
    const plain = await this.#reader.read(first * blockSize, count * blockSize);
    const replaced = this.#replacedWithin(first, count);
    if (replaced.length === 0) return plain;
    const bytes = Buffer.from(plain);
    for (const [block, copy] of replaced) (await this.#copyOf(copy)).copy(bytes, (block - first) * blockSize);
    return bytes;
  }

  /** The bytes at `offset` of the file system, in blocks that lie side by side. */
  async readInto(offset: number, into: Uint8Array, what: string): Promise<void> {
    const { blockSize } = this.superblock;
    const first = Math.floor(offset / blockSize);
    const count = Math.ceil((offset + into.length) / blockSize) - first;
    this.#check(first, count, what);
    await this.#reader.readInto(offset, into);
    for (const [block, copy] of this.#replacedWithin(first, count)) {
      const at = block * blockSize - offset;
      const bytes = await this.#copyOf(copy);
      into.set(bytes.subarray(Math.max(0, -at), Math.min(blockSize, into.length - at)), Math.max(0, at));
    }
  }

  /** `length` bytes at `offset` inside one block. */
  async readWithin(block: number, offset: number, length: number, what: string): Promise<Buffer> {
    const copy = this.#replayed.get(block);
    if (copy) return (await this.read(block, 1, what)).subarray(offset, offset + length);
    this.#check(block, 1, what);
    return this.#reader.read(block * this.superblock.blockSize + offset, length);
  }

  #check(first: number, count: number, what: string): void {
    const { firstDataBlock, blocksCount } = this.superblock;
    if (first >= firstDataBlock && count >= 1 && first <= blocksCount - count) return;
    throw this.damaged(
      `${what} points to block ${first}${count > 1 ? ` and ${count - 1} more` : ''}, outside the file system's ${blocksCount} blocks`,
    );
  }

  #replacedWithin(first: number, count: number): [number, JournalCopy][] {
    const found: [number, JournalCopy][] = [];
    if (this.#replayed.size < count) {
      for (const entry of this.#replayed) if (entry[0] >= first && entry[0] < first + count) found.push(entry);
    } else {
      for (let block = first; block < first + count; block++) {
        const copy = this.#replayed.get(block);
        if (copy) found.push([block, copy]);
      }
    }
    return found;
  }

  async #copyOf(copy: JournalCopy): Promise<Buffer> {
    const { blockSize } = this.superblock;
    const bytes = await this.#reader.read(copy.block * blockSize, blockSize);
    if (!copy.escaped) return bytes;
    const restored = Buffer.from(bytes);
    restored.writeUInt32BE(journalMagic, 0);
    return restored;
  }
}
