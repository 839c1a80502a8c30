/**
 * Directories: linear entries in blocks, in the inode, and under a hash tree, whose inner blocks look like unused
 * entries to a linear scan (Linux Documentation/filesystems/ext4/directory.rst). Main thread.
 */
import { crc32c } from '../crc32c.js';
import { maxDirectoryBytes, type ScanBudget } from '../damage.js';
import type { FileStat } from '../file-system.js';
import { pieces } from './content.js';
import { incompat, roCompat } from './features.js';
import { inlineData } from './inline-data.js';
import { type Inode, inodeFlag, refuseUnreadable } from './inode.js';
import type { ExtVolume } from './volume.js';

export interface DirectoryRecord {
  readonly inode: number;
  readonly name: Buffer;
  /** As the entry says; undefined where the file system keeps no types in entries. */
  readonly kind: FileStat['kind'] | undefined;
}

const field = { inode: 0, recordLength: 4, nameLength: 6, fileType: 7, name: 8 } as const;
const kinds: Readonly<Record<number, FileStat['kind']>> = {
  1: 'file',
  2: 'directory',
  3: 'other',
  4: 'other',
  5: 'other',
  6: 'other',
  7: 'symlink',
};
/** `ext4_dir_entry_tail`: an unused entry at the end of a leaf block that holds its checksum. */
const tail = { size: 12, fileType: 0xde, checksum: 8 } as const;
const pieceBytes = 256 * 1024;
/** In an inline directory the first four bytes are the parent's inode number. */
const inlineParentSize = 4;

/**
 * The used entries of `directory` in disk order, `.` and `..` left out. With `name` given, blocks that do not contain its
 * bytes anywhere are passed over: no entry in them can have it, and a look-up stays cheap in a large directory.
 */
export async function* records(
  volume: ExtVolume,
  directory: Inode,
  budget: ScanBudget,
  name?: Buffer,
): AsyncGenerator<DirectoryRecord[]> {
  refuseUnreadable(volume, directory);
  if (directory.size > maxDirectoryBytes)
    throw volume.damaged(`inode ${directory.number}: a directory of ${directory.size} bytes`);
  if (directory.flags & inodeFlag.inlineData) {
    const { inBlock, inAttribute } = inlineData(volume, directory);
    budget.spend(volume.superblock.blockSize);
    yield parse(volume, directory, inBlock.subarray(inlineParentSize));
    yield parse(volume, directory, inAttribute);
    return;
  }
  const { blockSize } = volume.superblock;
  for await (const { offset, bytes } of pieces(volume, directory, pieceBytes)) {
    budget.spend(bytes.length);
    for (let at = 0; at < bytes.length; at += blockSize) {
      const block = bytes.subarray(at, at + blockSize);
      if (name && !block.includes(name)) continue;
      if (!isHashTreeBlock(volume, directory, block, offset + at)) verifyChecksum(volume, directory, block);
      yield parse(volume, directory, block);
    }
  }
}

function parse(volume: ExtVolume, directory: Inode, block: Buffer): DirectoryRecord[] {
  const typed = (volume.superblock.incompat & incompat.fileType) !== 0;
  const found: DirectoryRecord[] = [];
  for (let at = 0; at < block.length; ) {
    if (at + field.name > block.length) throw volume.damaged(`directory ${directory.number}: an entry is cut off`);
    const length = recordLength(block.readUInt16LE(at + field.recordLength), volume.superblock.blockSize);
    const inode = block.readUInt32LE(at + field.inode);
    // Without types in entries the name's length has both bytes, though no name is longer than 255.
    const stored = typed ? block.readUInt8(at + field.nameLength) : block.readUInt16LE(at + field.nameLength);
    const nameLength = inode === 0 ? 0 : stored; // in the checksum's entry these bytes say what it is
    if (length < field.name || length % 4 !== 0 || at + length > block.length || field.name + nameLength > length) {
      throw volume.damaged(`directory ${directory.number}: an entry of ${length} bytes with a name of ${nameLength}`);
    }
    if (inode !== 0) {
      const name = block.subarray(at + field.name, at + field.name + nameLength);
      if (nameLength === 0 || name.includes(0) || name.includes(0x2f))
        throw volume.damaged(`directory ${directory.number}: an entry whose name is not one`);
      if (!isDots(name))
        found.push({ inode, name, kind: typed ? kinds[block.readUInt8(at + field.fileType)] : undefined });
    }
    at += length;
  }
  return found;
}

/** With 64 KiB blocks a whole block does not fit 16 bits: 65535 and 0 stand for it, and two low bits hold higher ones. */
function recordLength(stored: number, blockSize: number): number {
  if (blockSize < 65536) return stored;
  return stored === 65535 || stored === 0 ? blockSize : (stored & 0xfffc) | ((stored & 3) << 16);
}

const dot = 0x2e;
const isDots = (name: Buffer) => name[0] === dot && (name.length === 1 || (name.length === 2 && name[1] === dot));

/** Inner blocks of a hash tree: the first block, and those that look like one unused entry. They may end in an old leaf's tail. */
function isHashTreeBlock(volume: ExtVolume, directory: Inode, block: Buffer, offset: number): boolean {
  const isOneEntry =
    block.readUInt32LE(field.inode) === 0 &&
    recordLength(block.readUInt16LE(field.recordLength), volume.superblock.blockSize) === block.length;
  return (directory.flags & inodeFlag.index) !== 0 && (offset === 0 || isOneEntry);
}

/** Leaf blocks end in a tail with their checksum. */
function verifyChecksum(volume: ExtVolume, directory: Inode, block: Buffer): void {
  if (!(volume.superblock.roCompat & roCompat.metadataCsum)) return;
  const at = block.length - tail.size;
  const isTail =
    block.readUInt32LE(at + field.inode) === 0 &&
    block.readUInt16LE(at + field.recordLength) === tail.size &&
    block.readUInt8(at + field.nameLength) === 0 &&
    block.readUInt8(at + field.fileType) === tail.fileType;
  if (isTail && crc32c(directory.checksumSeed, block.subarray(0, at)) !== block.readUInt32LE(at + tail.checksum)) {
    throw volume.damaged(`directory ${directory.number}: a block has a wrong checksum`);
  }
}
