/**
 * The blocks of an XFS file system as they are after log replay. Main thread.
 *
 * On the disk a block's address is its allocation group and its number in there, as one number with a gap where a group
 * is no power of two; here blocks are counted through from the start of the file system.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { repairCommand } from '../../disk/slice.js';
import { damaged, notReadable } from '../damage.js';
import { basicBlock } from './block-header.js';
import type { Superblock } from './superblock.js';

/** Newer contents of basic blocks, by their number: what log replay found. */
export type Overlay = ReadonlyMap<number, Buffer>;

/** xfs_repair(8) without writing. */
export const checkCommand = (image: BlockReader): string => repairCommand(image, 'xfs_repair -n');

export class XfsVolume {
  readonly superblock: Superblock;
  /** What the user knows this file system by, for commands in hints. */
  readonly image: BlockReader;
  readonly #reader: BlockReader;
  readonly #overlay: Overlay;

  constructor(reader: BlockReader, superblock: Superblock, image: BlockReader, overlay: Overlay = new Map()) {
    this.#reader = reader;
    this.superblock = superblock;
    this.image = image;
    this.#overlay = overlay;
  }

  get size(): number {
    return this.#reader.size;
  }

  /** The same file system with what was found in its log. */
  with(superblock: Superblock, overlay: Overlay): XfsVolume {
    return new XfsVolume(this.#reader, superblock, this.image, overlay);
  }

  /** Damage in a structure of this file system. */
  damaged(what: string): Error {
    return damaged(`xfs: ${what}`, checkCommand(this.image));
  }

  /** Something valid that is not read here. */
  unreadable(what: string): Error {
    return notReadable(`xfs: ${what}`, 'Give the kernel directly, boot: { kernel, initrd, cmdline }.');
  }

  /** The number, counted through, of the block with this address (`xfs_fsblock_t`), which `count` - 1 more follow. */
  blockAt(address: number, what: string, count = 1): number {
    const { agBlockLog } = this.superblock;
    return this.blockInGroup(Math.floor(address / 2 ** agBlockLog), address % 2 ** agBlockLog, what, count);
  }

  /** The same, for block `block` of group `group`. Neither a file's extents nor anything else crosses groups. */
  blockInGroup(group: number, block: number, what: string, count = 1): number {
    const { agBlocks, agCount, blocksCount } = this.superblock;
    const number = group * agBlocks + block;
    if (group < agCount && block + count <= agBlocks && number + count <= blocksCount) return number;
    const more = count > 1 ? ` and ${count - 1} more` : '';
    throw this.damaged(`${what} points to block ${block}${more} of group ${group}, outside the file system`);
  }

  /** `count` blocks from `first`, which are known to lie in the file system. The result is not to be written to. */
  read(first: number, count: number): Promise<Buffer> {
    const { blockSize } = this.superblock;
    return this.readBytes(first * blockSize, count * blockSize);
  }

  /** `length` bytes at `offset` inside block `block`. */
  readWithin(block: number, offset: number, length: number): Promise<Buffer> {
    return this.readBytes(block * this.superblock.blockSize + offset, length);
  }

  async readBytes(offset: number, length: number): Promise<Buffer> {
    const plain = await this.#reader.read(offset, length);
    const newer = this.#newerWithin(offset, length);
    if (newer.length === 0) return plain;
    const bytes = Buffer.from(plain);
    patch(bytes, offset, newer);
    return bytes;
  }

  /** The bytes at `offset` of the file system, which are known to lie in it. */
  async readInto(offset: number, into: Uint8Array): Promise<void> {
    await this.#reader.readInto(offset, into);
    patch(into, offset, this.#newerWithin(offset, into.length));
  }

  #newerWithin(offset: number, length: number): [number, Buffer][] {
    const from = Math.floor(offset / basicBlock);
    const to = Math.ceil((offset + length) / basicBlock);
    const found: [number, Buffer][] = [];
    if (this.#overlay.size < to - from) {
      for (const entry of this.#overlay) if (entry[0] >= from && entry[0] < to) found.push(entry);
    } else {
      for (let number = from; number < to; number++) {
        const content = this.#overlay.get(number);
        if (content) found.push([number, content]);
      }
    }
    return found;
  }
}

/** Puts newer basic blocks into what was read at `offset`, which may begin and end within one. */
function patch(bytes: Uint8Array, offset: number, newer: readonly (readonly [number, Buffer])[]): void {
  for (const [number, content] of newer) {
    const at = number * basicBlock - offset;
    bytes.set(content.subarray(Math.max(0, -at), Math.min(basicBlock, bytes.length - at)), Math.max(0, at));
  }
}
