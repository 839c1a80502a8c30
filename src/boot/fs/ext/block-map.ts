/**
 * The block map of files without extents: twelve direct blocks, then one, two and three levels of indirect blocks
 * (Linux Documentation/filesystems/ext4/blockmap.rst). Main thread.
 *
 * The walk is in file order and ends at the file's size, so the number of blocks read is bounded by that size whatever
 * the pointers say; pointing back to the same block only reads it again from the cache. What lies before the first block
 * that is asked for is passed over without being read.
 */
import type { Run } from '../runs.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';

const directBlocks = 12;
const indirectLevels = 3;
const pointerSize = 4;

/** File blocks: the first one, and one past the last. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** The runs of `inode` from file block `from` on and below `blocks`, in file order. */
export async function* blockMapRuns(
  volume: ExtVolume,
  inode: Inode,
  from: number,
  blocks: number,
): AsyncGenerator<Run> {
  yield* pointerRuns(inode.block.subarray(0, directBlocks * pointerSize), 0, { from, to: blocks });
  const perBlock = volume.superblock.blockSize / pointerSize;
  let logical = directBlocks;
  for (let level = 1; level <= indirectLevels && logical < blocks; level++) {
    const pointer = inode.block.readUInt32LE((directBlocks + level - 1) * pointerSize);
    yield* indirectRuns(volume, inode, pointer, level, logical, { from, to: blocks });
    logical += perBlock ** level;
  }
  if (logical < blocks)
    throw volume.damaged(`inode ${inode.number}: ${inode.size} bytes are more than its block map can hold`);
}

async function* indirectRuns(
  volume: ExtVolume,
  inode: Inode,
  block: number,
  level: number,
  logical: number,
  asked: Span,
): AsyncGenerator<Run> {
  const perBlock = volume.superblock.blockSize / pointerSize;
  if (block === 0) return; // a hole as large as all that hangs below
  if (logical + perBlock ** level <= asked.from) return;
  const bytes = await volume.read(block, 1, `inode ${inode.number}: block map`);
  if (level === 1) {
    yield* pointerRuns(bytes, logical, asked);
    return;
  }
  const span = perBlock ** (level - 1);
  const first = Math.max(0, Math.floor((asked.from - logical) / span));
  for (let i = first; i < perBlock && logical + i * span < asked.to; i++) {
    yield* indirectRuns(volume, inode, bytes.readUInt32LE(i * pointerSize), level - 1, logical + i * span, asked);
  }
}

function* pointerRuns(pointers: Buffer, logical: number, asked: Span): Generator<Run> {
  const count = Math.min(pointers.length / pointerSize, asked.to - logical);
  for (let i = Math.max(0, asked.from - logical); i < count; ) {
    const physical = pointers.readUInt32LE(i * pointerSize);
    let length = 1;
    while (
      i + length < count &&
      physical !== 0 &&
      pointers.readUInt32LE((i + length) * pointerSize) === physical + length
    )
      length++;
    if (physical !== 0) yield { logical: logical + i, physical, count: length };
    i += length;
  }
}
