/**
 * Directories: short ones in the inode, others in directory blocks of which only those with entries are read. What is
 * behind them in the file (hash leaves, tree nodes, free space) serves look-ups by hash (Linux
 * fs/xfs/libxfs/xfs_da_format.h). Main thread.
 */
import { maxDirectoryBytes, type ScanBudget } from '../damage.js';
import { readU64BE } from '../numbers.js';
import { directoryHeader, verifyHeader } from './block-header.js';
import { pieces } from './content.js';
import { checkedName, type DirectoryRecord, kindOf } from './directory-record.js';
import { forkFormat, type Inode } from './inode.js';
import { shortFormRecords } from './short-form.js';
import type { XfsVolume } from './volume.js';

/** One block with entries and their hashes ("XD2B", "XDB3"), or one of several with entries only ("XD2D", "XDD3"). */
export const directoryMagics5 = { whole: 0x58444233, data: 0x58444433 } as const;
const magics = { 4: { whole: 0x58443242, data: 0x58443244 }, 5: directoryMagics5 } as const;
const headerSize = { 4: 16, 5: 64 } as const;
const entry = { inode: 0, nameLength: 8, name: 9, alignment: 8, tagSize: 2 } as const;
const unused = { tag: 0xffff, length: 2 } as const;
/** At the end of a whole block: a hash and an offset for each entry, then two counts. */
const tail = { size: 8, entrySize: 8 } as const;
const pieceBytes = 256 * 1024;

/**
 * The entries of `directory` in disk order, `.` and `..` left out. With `name` given, blocks that do not contain its
 * bytes anywhere are passed over: no entry in them can have it, and a look-up stays cheap in a large directory.
 */
export async function* records(
  volume: XfsVolume,
  directory: Inode,
  budget: ScanBudget,
  name?: Buffer,
): AsyncGenerator<DirectoryRecord[]> {
  if (directory.size > maxDirectoryBytes)
    throw volume.damaged(`directory ${directory.number} has ${directory.size} bytes`);
  if (directory.format === forkFormat.local) {
    budget.spend(volume.superblock.inodeSize);
    yield shortFormRecords(volume, directory);
    return;
  }
  for await (const { block, bytes } of directoryBlocks(volume, directory)) {
    budget.spend(bytes.length);
    if (name === undefined || bytes.includes(name)) yield parse(volume, directory, block, bytes);
  }
}

/** Directory blocks, which may consist of several blocks that need not lie together. */
async function* directoryBlocks(volume: XfsVolume, directory: Inode): AsyncGenerator<{ block: number; bytes: Buffer }> {
  const { blockSize, directoryBlockSize } = volume.superblock;
  const torn = () => volume.damaged(`directory ${directory.number}: a directory block is not whole`);
  let begun: { offset: number; block: number; parts: Buffer[] } | undefined;
  for await (const { offset, physical, bytes } of pieces(volume, directory, pieceBytes)) {
    for (let at = 0; at < bytes.length; ) {
      const within = (offset + at) % directoryBlockSize;
      const part = bytes.subarray(at, at + directoryBlockSize - within);
      const start = offset + at - within;
      if (within === 0 && begun === undefined) begun = { offset: start, block: physical + at / blockSize, parts: [] };
      if (begun?.offset !== start || begun.parts.length * blockSize > within) throw torn();
      begun.parts.push(part);
      at += part.length;
      if (within + part.length < directoryBlockSize) continue;
      const whole = begun.parts.length === 1 ? part : Buffer.concat(begun.parts);
      if (whole.length !== directoryBlockSize) throw torn();
      yield { block: begun.block, bytes: whole };
      begun = undefined;
    }
  }
  if (begun !== undefined) throw torn();
}

function parse(volume: XfsVolume, directory: Inode, block: number, bytes: Buffer): DirectoryRecord[] {
  const { version, hasFileTypes, directoryBlockSize } = volume.superblock;
  const what = `directory ${directory.number}`;
  const magic = bytes.readUInt32BE(0);
  const isWhole = magic === magics[version].whole && directory.size === directoryBlockSize;
  if (!isWhole && magic !== magics[version].data) throw volume.damaged(`${what}: block ${block} holds no entries`);
  if (version === 5) verifyHeader(volume, bytes, directoryHeader, { block, owner: directory.number, what });
  const end = isWhole
    ? bytes.length - tail.size - bytes.readUInt32BE(bytes.length - tail.size) * tail.entrySize
    : bytes.length;
  if (end < headerSize[version]) throw volume.damaged(`${what}: block ${block} has more hashes than fit`);

  const typeSize = hasFileTypes ? 1 : 0;
  const found: DirectoryRecord[] = [];
  for (let at: number = headerSize[version]; at < end; ) {
    const isUnused = bytes.readUInt16BE(at) === unused.tag;
    const nameEnd = at + entry.name + (isUnused ? 0 : bytes.readUInt8(at + entry.nameLength));
    const length = isUnused
      ? bytes.readUInt16BE(at + unused.length)
      : Math.ceil((nameEnd + typeSize + entry.tagSize - at) / entry.alignment) * entry.alignment;
    // Whatever it is, it ends with its own offset.
    if (
      length === 0 ||
      length % entry.alignment !== 0 ||
      at + length > end ||
      bytes.readUInt16BE(at + length - entry.tagSize) !== at
    )
      throw volume.damaged(`${what}: an entry of ${length} bytes at ${at} of block ${block}`);
    if (!isUnused) {
      const name = checkedName(volume, directory, bytes.subarray(at + entry.name, nameEnd));
      if (!isDots(name)) {
        const kind = hasFileTypes ? kindOf(bytes.readUInt8(nameEnd)) : undefined;
        found.push({ inode: readU64BE(bytes, at + entry.inode), name, kind });
      }
    }
    at += length;
  }
  return found;
}

const dot = 0x2e;
const isDots = (name: Buffer) => name[0] === dot && (name.length === 1 || (name.length === 2 && name[1] === dot));
