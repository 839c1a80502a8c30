/**
 * Inodes in the log: their fields in the machine's byte order, and the data fork if it changed (as Linux
 * fs/xfs/xfs_inode_item_recover.c and xfs_icreate_item.c). Main thread.
 */
import { basicBlock, checksumOf } from './block-header.js';
import type { CancelledBuffers } from './cancelled-buffers.js';
import { blockHeader, keySize, pointerSize, rootHeaderSize } from './extents.js';
import { coreSize, forkRange, inodeField, inodeMagic, locateInode } from './inode.js';
import { readLsn, type XfsLog } from './log.js';
import type { LogItem } from './log-transactions.js';
import type { ReplayedBlocks } from './replayed-blocks.js';

/** `struct xfs_inode_log_format`; machines of 32 bits have no padding before the number. */
const format = { fields: 4, number: 16, block: 40, length: 48, offset: 52, size: 56, size32: 52 } as const;
const fieldsFlag = { local: 0x2, extents: 0x4, root: 0x8, ownerChange: 0x200 } as const;
const maxFlushCount = 0xffff;

/** Where the numbers of an inode are and how wide; not its times, which nobody asks for. */
const numbers: readonly (readonly [width: number, ...at: number[]])[] = [
  [2, 0, 2, 20, 22, 80, 88, 90],
  [4, 8, 12, 16, 72, 76, 84, 92],
  [8, 56, 64],
];
const numbers3: readonly (readonly [width: number, ...at: number[]])[] = [
  [4, 128],
  [8, 24, 104, 120, 152],
];
const singleBytes = [4, 5, 82, 83] as const;
const uuidSize = 16;
/** Version 2 is logged up to the list of unlinked inodes. */
const loggedCore2 = 96;

export async function replayInode(
  log: XfsLog,
  blocks: ReplayedBlocks,
  cancelled: CancelledBuffers,
  item: LogItem,
  lsn: number,
): Promise<void> {
  const [what, core, data] = item.regions;
  if (what === undefined || core === undefined || (what.length !== format.size && what.length !== format.size32))
    throw log.refused('an inode that is cut off');
  const shift = format.size - what.length;
  const at = (field: number) => field - shift;
  const fields = what.readUInt32LE(format.fields);
  const number = what.readUInt32LE(at(format.number)) + what.readUInt32LE(at(format.number) + 4) * 2 ** 32;
  const block = what.readUInt32LE(at(format.block)) + what.readUInt32LE(at(format.block) + 4) * 2 ** 32;
  if (cancelled.has(block, what.readInt32LE(at(format.length)))) return;

  const { version, inodeSize, blockSize } = log.volume.superblock;
  const place = locateInode(log.volume, number);
  const offset = place.block * blockSize + place.offset;
  if (offset !== block * basicBlock + what.readInt32LE(at(format.offset)))
    throw log.refused(`inode ${number} at another place`);
  const bytes = await blocks.read(offset, inodeSize);
  if (bytes.readUInt16BE(inodeField.magic) !== inodeMagic) throw log.refused(`there is no inode ${number}`);
  if (core.length < (version === 5 ? coreSize.v3 : loggedCore2) || core.readUInt16LE(0) !== inodeMagic)
    throw log.refused(`inode ${number} is cut off`);
  if (fields & fieldsFlag.ownerChange) throw log.refused(`inode ${number} took over the extents of another`);
  if (version === 5 ? isNewer5(bytes, lsn) : isNewer4(bytes, core)) return;

  fillCore(bytes, core, version, lsn);
  const range = forkRange(bytes, inodeSize);
  if (range === undefined) throw log.refused(`inode ${number} has attributes behind its end`);
  const fork = bytes.subarray(range.from, range.to);
  if (fields & (fieldsFlag.local | fieldsFlag.extents | fieldsFlag.root)) {
    if (data === undefined) throw log.refused(`inode ${number} without its data`);
    if (fields & fieldsFlag.root) fillRoot(log, fork, data);
    else if (data.length > fork.length) throw log.refused(`inode ${number} with ${data.length} bytes in itself`);
    else data.copy(fork);
  }
  if (version === 5) bytes.writeUInt32LE(checksumOf(bytes, inodeField.checksum), inodeField.checksum);
  await blocks.write(offset, bytes);
}

/** Several checkpoints may have one LSN, so the same one is replayed. */
function isNewer5(bytes: Buffer, lsn: number): boolean {
  const onDisk = readLsn(bytes, inodeField.lsn);
  return Number.isFinite(onDisk) && onDisk > lsn;
}

/** Version 2 counts how often it was written, up to a number after which it begins again. */
function isNewer4(bytes: Buffer, core: Buffer): boolean {
  const onDisk = bytes.readUInt16BE(inodeField.flushCount);
  const logged = core.readUInt16LE(inodeField.flushCount);
  return logged < onDisk && !(onDisk === maxFlushCount && logged < maxFlushCount >>> 1);
}

function fillCore(bytes: Buffer, core: Buffer, version: 4 | 5, lsn: number): void {
  for (const [width, ...places] of version === 5 ? [...numbers, ...numbers3] : numbers)
    for (const at of places) for (let i = 0; i < width; i++) bytes[at + i] = core[at + width - 1 - i]!;
  for (const at of singleBytes) bytes[at] = core[at]!;
  if (version === 5) {
    core.copy(bytes, inodeField.uuid, inodeField.uuid, inodeField.uuid + uuidSize);
    bytes.writeUInt32BE(Math.floor(lsn / 2 ** 32), inodeField.lsn);
    bytes.writeUInt32BE(lsn % 2 ** 32, inodeField.lsn + 4);
  } else bytes.writeUInt16BE(0, inodeField.flushCount);
}

/** The root of an extent tree is logged with the header of a block, and as wide as it was in memory. */
function fillRoot(log: XfsLog, fork: Buffer, root: Buffer): void {
  const headerSize = log.volume.superblock.version === 5 ? blockHeader.size5 : blockHeader.size4;
  const logged = Math.floor((root.length - headerSize) / (keySize + pointerSize));
  const room = Math.floor((fork.length - rootHeaderSize) / (keySize + pointerSize));
  const records = root.length < headerSize ? 0 : root.readUInt16BE(blockHeader.records);
  if (records < 1 || records > logged || records > room) throw log.refused(`an extent tree of ${records} entries`);
  root.copy(fork, 0, blockHeader.level, blockHeader.level + rootHeaderSize);
  root.copy(fork, rootHeaderSize, headerSize, headerSize + records * keySize);
  const pointers = headerSize + logged * keySize;
  root.copy(fork, rootHeaderSize + room * keySize, pointers, pointers + records * pointerSize);
}

/** `struct xfs_icreate_log`: a type and a size, then big-endian numbers. */
const newInodes = { group: 4, block: 8, count: 12, inodeSize: 16, blocks: 20, generation: 24, end: 28 } as const;
const inodesPerChunk = 64;
const unlinkedNone = 0xffffffff;

/** A chunk of inodes was made; version 5 only. Whatever is on the disk there is from before. */
export async function replayNewInodes(
  log: XfsLog,
  blocks: ReplayedBlocks,
  cancelled: CancelledBuffers,
  item: LogItem,
): Promise<void> {
  const what = item.regions[0]!;
  if (what.length < newInodes.end) throw log.refused('new inodes that are cut off');
  const u32 = (at: number) => what.readUInt32BE(at);
  const { inodeSize, blockSize, agBlockLog, inodesPerBlockLog, metaUuid } = log.volume.superblock;
  const perBlock = 2 ** inodesPerBlockLog;
  const count = u32(newInodes.blocks) * perBlock;
  if (u32(newInodes.inodeSize) !== inodeSize || u32(newInodes.count) !== count || count < 1)
    throw log.refused(`${u32(newInodes.count)} new inodes of ${u32(newInodes.inodeSize)} bytes`);
  if (count > Math.max(inodesPerChunk, perBlock)) throw log.refused(`${count} new inodes at once`);
  const first = log.volume.blockInGroup(
    u32(newInodes.group),
    u32(newInodes.block),
    'new inodes',
    u32(newInodes.blocks),
  );
  const step = blockSize / basicBlock;
  for (let i = 0; i < u32(newInodes.blocks); i++) if (cancelled.hasAt((first + i) * step)) return;

  const bytes = Buffer.alloc(count * inodeSize);
  const firstNumber = u32(newInodes.group) * 2 ** (agBlockLog + inodesPerBlockLog) + u32(newInodes.block) * perBlock;
  for (let i = 0; i < count; i++) {
    const inode = bytes.subarray(i * inodeSize, (i + 1) * inodeSize);
    inode.writeUInt16BE(inodeMagic, inodeField.magic);
    inode.writeUInt8(3, inodeField.version);
    inode.writeUInt32BE(u32(newInodes.generation), inodeField.generation);
    inode.writeUInt32BE(unlinkedNone, inodeField.nextUnlinked);
    inode.writeUInt32BE(Math.floor((firstNumber + i) / 2 ** 32), inodeField.number);
    inode.writeUInt32BE((firstNumber + i) % 2 ** 32, inodeField.number + 4);
    metaUuid.copy(inode, inodeField.uuid);
    inode.writeUInt32LE(checksumOf(inode, inodeField.checksum), inodeField.checksum);
  }
  await blocks.write(first * blockSize, bytes);
}
