/**
 * The bytes of a file, wherever the inode keeps them: extents, block map, or in the inode itself. Main thread.
 */
import { blockMapRuns } from './block-map.js';
import { extentRuns, type Run } from './extents.js';
import { inlineData } from './inline-data.js';
import { type Inode, inodeFlag, refuseUnreadable } from './inode.js';
import type { ExtVolume } from './volume.js';

/** The largest single read. Larger runs are read in parts, so that content is held at most once and a bit. */
const maxReadBytes = 8 * 1024 * 1024;

/** The mapped parts of `inode` up to `size` bytes, neighbours joined, in file order. */
export async function* runsOf(volume: ExtVolume, inode: Inode, size = inode.size): AsyncGenerator<Run> {
  const blocks = Math.ceil(size / volume.superblock.blockSize);
  const source =
    inode.flags & inodeFlag.extents ? extentRuns(volume, inode, blocks) : blockMapRuns(volume, inode, blocks);
  let joined: Run | undefined;
  for await (const run of source) {
    if (joined && joined.logical + joined.count === run.logical && joined.physical + joined.count === run.physical) {
      joined = { ...joined, count: joined.count + run.count };
    } else {
      if (joined) yield joined;
      joined = run;
    }
  }
  if (joined) yield joined;
}

/** Mapped blocks of `inode` from byte `from` to byte `to` in pieces of about `pieceBytes`, each with its offset in the file. */
export async function* pieces(
  volume: ExtVolume,
  inode: Inode,
  pieceBytes: number,
  from = 0,
  to = inode.size,
): AsyncGenerator<{ offset: number; bytes: Buffer }> {
  const { blockSize } = volume.superblock;
  const step = Math.max(1, Math.floor(pieceBytes / blockSize));
  const first = Math.floor(from / blockSize);
  for await (const run of runsOf(volume, inode, to)) {
    for (let done = Math.max(0, first - run.logical); done < run.count; done += step) {
      const count = Math.min(step, run.count - done);
      yield {
        offset: (run.logical + done) * blockSize,
        bytes: await volume.read(run.physical + done, count, `inode ${inode.number}`),
      };
    }
  }
}

/** `length` bytes from `offset`, holes and unwritten extents as zeros. The caller has compared both with the size. */
export async function contentOf(volume: ExtVolume, inode: Inode, offset = 0, length = inode.size): Promise<Buffer> {
  refuseUnreadable(volume, inode);
  if (inode.flags & inodeFlag.inlineData)
    return inlineData(volume, inode)
      .whole()
      .subarray(offset, offset + length);
  const content = Buffer.alloc(length);
  if (length === 0) return content;
  for await (const piece of pieces(volume, inode, maxReadBytes, offset, offset + length)) {
    piece.bytes.copy(content, Math.max(0, piece.offset - offset), Math.max(0, offset - piece.offset));
  }
  return content;
}
