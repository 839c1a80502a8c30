/**
 * Where a file's blocks are: extents in the inode, or a B+tree of them whose root is in the inode (Linux
 * fs/xfs/libxfs/xfs_format.h, `struct xfs_bmbt_rec`, `struct xfs_bmdr_block`, `struct xfs_btree_block`). Main thread.
 *
 * A node's first entry must lie in the range that its parent gives it, entries must ascend and levels count down. So no
 * block can be taken twice on the way to different file blocks, and a tree costs at most its own blocks to walk.
 */
import { readU64BE } from '../numbers.js';
import type { Run } from '../runs.js';
import { mapHeader, verifyHeader } from './block-header.js';
import { forkFormat, type Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

const recordSize = 16;
export const keySize = 8;
export const pointerSize = 8;
/** The root in the inode has only a level and a number of records. */
export const rootHeaderSize = 4;
export const blockHeader = { magic: 0, level: 4, records: 6, size4: 24, size5: 72 } as const;
const magic4 = 0x424d4150; // "BMAP"
export const mapMagic5 = 0x424d4133; // "BMA3"
/** XFS_BM_MAXLEVELS for the smallest blocks and the most extents stays below. */
const maxLevels = 20;

/** File blocks that may lie below a node: the first one, and one past the last. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** What a caller wants: from `first` on, which may be taken as 0, below `blocks`. */
interface Asked {
  readonly first: number;
  readonly blocks: number;
}

/**
 * The runs of `inode` below file block `blocks`, in file order; what lies before block `first` may be left out. Extents that
 * were never written are left out: they are zeros.
 */
export async function* extentRuns(volume: XfsVolume, inode: Inode, blocks: number, first = 0): AsyncGenerator<Run> {
  const { fork, format, extentCount } = inode;
  const what = `inode ${inode.number}: extents`;
  const span = { from: 0, to: Number.POSITIVE_INFINITY };
  if (inode.isRealtime) throw volume.unreadable(`inode ${inode.number} has its data on a realtime device`);
  if (format === forkFormat.extents) {
    if (extentCount * recordSize > fork.length)
      throw volume.damaged(`${what}: ${extentCount} of them in ${fork.length} bytes`);
    yield* recordRuns(volume, what, fork.subarray(0, extentCount * recordSize), span, blocks);
    return;
  }
  if (format !== forkFormat.btree) throw volume.damaged(`inode ${inode.number}: a data fork of format ${format}`);
  const level = fork.readUInt16BE(0);
  const records = fork.readUInt16BE(2);
  const room = Math.floor((fork.length - rootHeaderSize) / (keySize + pointerSize));
  if (level < 1 || level > maxLevels) throw volume.damaged(`${what}: a tree ${level} levels deep`);
  if (records < 1 || records > room) throw volume.damaged(`${what}: a root with ${records} of ${room} entries`);
  yield* nodeRuns(volume, inode, { bytes: fork.subarray(rootHeaderSize), level, records, room }, span, {
    first,
    blocks,
  });
}

/** Keys, room for more of them, then pointers. */
interface Node {
  readonly bytes: Buffer;
  readonly level: number;
  readonly records: number;
  readonly room: number;
}

async function* nodeRuns(volume: XfsVolume, inode: Inode, node: Node, span: Span, asked: Asked): AsyncGenerator<Run> {
  const what = `inode ${inode.number}: extents`;
  const key = (i: number) => readU64BE(node.bytes, i * keySize) ?? Number.POSITIVE_INFINITY;
  for (let i = 0; i < node.records; i++) {
    const from = key(i);
    const to = i + 1 < node.records ? key(i + 1) : span.to;
    if (!(from >= span.from && from < to))
      throw volume.damaged(`${what}: tree entries out of order at file block ${from}`);
    if (from >= asked.blocks) return;
    if (to <= asked.first) continue;
    const address = readU64BE(node.bytes, node.room * keySize + i * pointerSize) ?? Number.POSITIVE_INFINITY;
    const block = volume.blockAt(address, `${what}: a tree entry`);
    yield* blockRuns(volume, inode, block, node.level - 1, { from, to }, asked);
  }
}

async function* blockRuns(
  volume: XfsVolume,
  inode: Inode,
  block: number,
  level: number,
  span: Span,
  asked: Asked,
): AsyncGenerator<Run> {
  const what = `inode ${inode.number}: extents`;
  const isV5 = volume.superblock.version === 5;
  const bytes = await volume.read(block, 1);
  if (bytes.readUInt32BE(blockHeader.magic) !== (isV5 ? mapMagic5 : magic4))
    throw volume.damaged(`${what}: block ${block} is no part of the tree`);
  if (isV5) verifyHeader(volume, bytes, mapHeader, { block, owner: inode.number, what });
  if (bytes.readUInt16BE(blockHeader.level) !== level) {
    throw volume.damaged(
      `${what}: block ${block} of level ${bytes.readUInt16BE(blockHeader.level)} where ${level} is due`,
    );
  }
  const content = bytes.subarray(isV5 ? blockHeader.size5 : blockHeader.size4);
  const records = bytes.readUInt16BE(blockHeader.records);
  const room = Math.floor(content.length / (level === 0 ? recordSize : keySize + pointerSize));
  if (records < 1 || records > room) throw volume.damaged(`${what}: block ${block} with ${records} of ${room} entries`);
  if (level === 0) yield* recordRuns(volume, what, content.subarray(0, records * recordSize), span, asked.blocks);
  else yield* nodeRuns(volume, inode, { bytes: content, level, records, room }, span, asked);
}

function* recordRuns(volume: XfsVolume, what: string, records: Buffer, span: Span, blocks: number): Generator<Run> {
  let end = span.from;
  for (let at = 0; at < records.length; at += recordSize) {
    const { logical, address, count, written } = unpackExtent(records, at);
    if (count === 0) throw volume.damaged(`${what}: one without length at file block ${logical}`);
    if (logical < end || logical >= span.to) throw volume.damaged(`${what}: out of order at file block ${logical}`);
    end = logical + count;
    if (logical >= blocks) return; // allocated ahead of the end of the file
    if (!written) continue;
    const physical = volume.blockAt(address, what, count);
    yield { logical, physical, count: Math.min(count, blocks - logical) };
  }
}

/** 128 bits from the highest: 1 unwritten, 54 file block, 52 address, 21 count. */
export function unpackExtent(
  bytes: Buffer,
  at: number,
): { logical: number; address: number; count: number; written: boolean } {
  const [a, b, c, d] = [0, 4, 8, 12].map((word) => bytes.readUInt32BE(at + word)) as [number, number, number, number];
  return {
    written: a < 2 ** 31,
    logical: (a % 2 ** 31) * 2 ** 23 + (b >>> 9),
    address: (b & 0x1ff) * 2 ** 43 + c * 2 ** 11 + (d >>> 21),
    count: d & 0x1fffff,
  };
}
