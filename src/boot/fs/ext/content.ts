/**
 * The bytes of a file, wherever the inode keeps them: extents, block map, or in the inode itself. Main thread.
 */
import { joinRuns, type Piece, type Run, readPieces, readRuns } from '../runs.js';
import { blockMapRuns } from './block-map.js';
import { extentRuns } from './extents.js';
import { inlineData } from './inline-data.js';
import { type Inode, inodeFlag, refuseUnreadable } from './inode.js';
import type { ExtVolume } from './volume.js';

/** The mapped parts of `inode` from byte `offset` up to `size` bytes, neighbours joined, in file order. */
export function runsOf(volume: ExtVolume, inode: Inode, size = inode.size, offset = 0): AsyncGenerator<Run> {
  const { blockSize } = volume.superblock;
  const [from, blocks] = [Math.floor(offset / blockSize), Math.ceil(size / blockSize)];
  return joinRuns(
    inode.flags & inodeFlag.extents
      ? extentRuns(volume, inode, from, blocks)
      : blockMapRuns(volume, inode, from, blocks),
  );
}

/** Mapped bytes of `inode` in pieces of at most `pieceBytes`. */
export function pieces(volume: ExtVolume, inode: Inode, pieceBytes: number): AsyncGenerator<Piece> {
  const read = (first: number, count: number) => volume.read(first, count, `inode ${inode.number}`);
  return readPieces(runsOf(volume, inode), volume.superblock.blockSize, pieceBytes, read);
}

/** The bytes of `inode` from `offset` into zeroed memory, which holes and unwritten extents leave as it is. */
export async function readContent(volume: ExtVolume, inode: Inode, offset: number, into: Uint8Array): Promise<void> {
  refuseUnreadable(volume, inode);
  if (inode.flags & inodeFlag.inlineData) {
    inlineData(volume, inode).copyTo(into, offset);
    return;
  }
  const readInto = (at: number, part: Uint8Array) => volume.readInto(at, part, `inode ${inode.number}`);
  await readRuns(
    runsOf(volume, inode, offset + into.length, offset),
    volume.superblock.blockSize,
    offset,
    into,
    readInto,
  );
}
