/**
 * The bytes of a file or a directory. Main thread.
 */
import { joinRuns, type Piece, type Run, readPieces, readRuns } from '../runs.js';
import { extentRuns } from './extents.js';
import type { Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

/** The mapped parts of `inode` from byte `offset` up to `size` bytes, neighbours joined, in file order. */
function runsOf(volume: XfsVolume, inode: Inode, size = inode.size, offset = 0): AsyncGenerator<Run> {
  const { blockSize } = volume.superblock;
  return joinRuns(extentRuns(volume, inode, Math.ceil(size / blockSize), Math.floor(offset / blockSize)));
}

/** Mapped bytes of `inode` in pieces of at most `pieceBytes`. */
export function pieces(volume: XfsVolume, inode: Inode, pieceBytes: number): AsyncGenerator<Piece> {
  const read = (first: number, count: number) => volume.read(first, count);
  return readPieces(runsOf(volume, inode), volume.superblock.blockSize, pieceBytes, read);
}

/** The bytes of `inode` from `offset` into zeroed memory, which holes and unwritten extents leave as it is. */
export async function readContent(volume: XfsVolume, inode: Inode, offset: number, into: Uint8Array): Promise<void> {
  const { blockSize } = volume.superblock;
  const readInto = (at: number, part: Uint8Array) => volume.readInto(at, part);
  await readRuns(runsOf(volume, inode, offset + into.length, offset), blockSize, offset, into, readInto);
}
