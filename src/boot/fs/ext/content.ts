/**
 * The bytes of a file, wherever the inode keeps them: extents, block map, or in the inode itself. Main thread.
 */
import { blockMapRuns } from './block-map.js';
import { extentRuns, type Run } from './extents.js';
import { inlineData } from './inline-data.js';
import { type Inode, inodeFlag, refuseUnreadable } from './inode.js';
import type { ExtVolume } from './volume.js';

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

/** Mapped bytes of `inode` in pieces of at most `pieceBytes`, each with its offset in the file. */
export async function* pieces(
  volume: ExtVolume,
  inode: Inode,
  pieceBytes: number,
): AsyncGenerator<{ offset: number; bytes: Buffer }> {
  const { blockSize } = volume.superblock;
  const step = Math.max(1, Math.floor(pieceBytes / blockSize));
  for await (const run of runsOf(volume, inode)) {
    for (let done = 0; done < run.count; done += step) {
      const count = Math.min(step, run.count - done);
      yield {
        offset: (run.logical + done) * blockSize,
        bytes: await volume.read(run.physical + done, count, `inode ${inode.number}`),
      };
    }
  }
}

/** The bytes of `inode` from `offset` into zeroed memory, which holes and unwritten extents leave as it is. */
export async function readContent(volume: ExtVolume, inode: Inode, offset: number, into: Uint8Array): Promise<void> {
  refuseUnreadable(volume, inode);
  if (inode.flags & inodeFlag.inlineData) {
    into.set(
      inlineData(volume, inode)
        .whole()
        .subarray(offset, offset + into.length),
    );
    return;
  }
  const { blockSize } = volume.superblock;
  const end = offset + into.length;
  for await (const { logical, physical, count } of runsOf(volume, inode, end)) {
    const start = logical * blockSize;
    const from = Math.max(start, offset);
    const to = Math.min(start + count * blockSize, end);
    if (from >= to) continue;
    const part = into.subarray(from - offset, to - offset);
    await volume.readInto(physical * blockSize + from - start, part, `inode ${inode.number}`);
  }
}
