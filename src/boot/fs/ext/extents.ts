/**
 * Extent trees (Linux Documentation/filesystems/ext4/ifork.rst, "Extent Tree"). Main thread.
 *
 * Every node must start where its parent says and stay below its parent's next entry, and depths must count down. So no
 * block can be met twice on the way to different logical blocks, and a tree costs at most its own blocks to walk. What lies
 * before the first block that is asked for is passed over.
 */
import { crc32c } from '../crc32c.js';
import type { Run } from '../runs.js';
import { roCompat } from './features.js';
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';

const magic = 0xf30a;
const header = { magic: 0, entries: 2, max: 4, depth: 6, size: 12 } as const;
const entrySize = 12;
const index = { logical: 0, leafLow: 4, leafHigh: 8 } as const;
const extent = { logical: 0, length: 4, startHigh: 6, startLow: 8 } as const;
/** Lengths above this one mark an extent that is allocated but not written: it reads as zeros. */
const maxInitializedLength = 0x8000;
const maxDepth = 5;
const checksumSize = 4;

/** The runs of `inode` from about file block `from` on and below `blocks`, in file order. */
export async function* extentRuns(volume: ExtVolume, inode: Inode, from: number, blocks: number): AsyncGenerator<Run> {
  const depth = inode.block.readUInt16LE(header.depth);
  if (depth > maxDepth) throw volume.damaged(`inode ${inode.number}: an extent tree ${depth} levels deep`);
  yield* nodeRuns(volume, inode, inode.block, depth, { from: 0, to: blocks }, from);
}

interface Span {
  readonly from: number;
  readonly to: number;
}

async function* nodeRuns(
  volume: ExtVolume,
  inode: Inode,
  node: Buffer,
  depth: number,
  span: Span,
  first: number,
): AsyncGenerator<Run> {
  const what = `inode ${inode.number}: extent tree`;
  const entries = node.readUInt16LE(header.entries);
  const max = node.readUInt16LE(header.max);
  if (node.readUInt16LE(header.magic) !== magic) throw volume.damaged(`${what}: a node without magic`);
  if (node.readUInt16LE(header.depth) !== depth)
    throw volume.damaged(`${what}: a node of depth ${node.readUInt16LE(header.depth)} where ${depth} is due`);
  if (entries > max || header.size + max * entrySize > node.length)
    throw volume.damaged(`${what}: a node with ${entries} of ${max} entries`);

  let previousEnd = span.from;
  for (let i = 0; i < entries; i++) {
    const at = header.size + i * entrySize;
    const logical = node.readUInt32LE(at);
    if (logical < previousEnd) throw volume.damaged(`${what}: entries out of order at file block ${logical}`);
    if (logical >= span.to) return; // beyond the file's size, or in the range of the parent's next entry
    if (depth === 0) {
      const run = leafRun(node, at);
      if (run.count === 0) throw volume.damaged(`${what}: an extent without length at file block ${logical}`);
      previousEnd = logical + run.count;
      const count = Math.min(run.count, span.to - logical);
      if (run.written && logical + count > first) yield { logical, physical: run.physical, count };
    } else {
      const next = i + 1 < entries ? node.readUInt32LE(at + entrySize) : span.to;
      previousEnd = logical + 1;
      if (next <= first) continue;
      const child = node.readUInt32LE(at + index.leafLow) + node.readUInt16LE(at + index.leafHigh) * 2 ** 32;
      const below = { from: logical, to: Math.min(next, span.to) };
      yield* nodeRuns(volume, inode, await readNode(volume, inode, child, logical), depth - 1, below, first);
    }
  }
}

function leafRun(node: Buffer, at: number): { physical: number; count: number; written: boolean } {
  const length = node.readUInt16LE(at + extent.length);
  const written = length <= maxInitializedLength;
  return {
    physical: node.readUInt32LE(at + extent.startLow) + node.readUInt16LE(at + extent.startHigh) * 2 ** 32,
    count: written ? length : length - maxInitializedLength,
    written,
  };
}

/** A node below the root. It holds at least one entry, and its first one is where the parent's entry says. */
async function readNode(volume: ExtVolume, inode: Inode, block: number, logical: number): Promise<Buffer> {
  const what = `inode ${inode.number}: extent tree`;
  const node = await volume.read(block, 1, what);
  const tail = header.size + node.readUInt16LE(header.max) * entrySize;
  if (tail + checksumSize > node.length) throw volume.damaged(`${what}: block ${block} claims more entries than fit`);
  if (node.readUInt16LE(header.entries) === 0 || node.readUInt32LE(header.size) !== logical) {
    throw volume.damaged(`${what}: block ${block} does not start at file block ${logical}`);
  }
  if (
    volume.superblock.roCompat & roCompat.metadataCsum &&
    crc32c(inode.checksumSeed, node.subarray(0, tail)) !== node.readUInt32LE(tail)
  ) {
    throw volume.damaged(`${what}: block ${block} has a wrong checksum`);
  }
  return node;
}
