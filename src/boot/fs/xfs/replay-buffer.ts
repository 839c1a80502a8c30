/**
 * Buffers in the log: pieces of 128 bytes of a structure that changed (as Linux fs/xfs/xfs_buf_item_recover.c,
 * xlog_recover_do_reg_buffer()). Main thread.
 */
import {
  basicBlock,
  checksumOf,
  directoryHeader,
  type HeaderLayout,
  mapHeader,
  symlinkHeader,
} from './block-header.js';
import { directoryMagics5 } from './directory.js';
import { mapMagic5 } from './extents.js';
import { readLsn, type XfsLog } from './log.js';
import type { LogItem } from './log-transactions.js';
import type { ReplayedBlocks } from './replayed-blocks.js';
import { superblockField, superblockMagic } from './superblock.js';
import { symlinkMagic } from './symlink.js';

/** `struct xfs_buf_log_format`, little-endian. */
const field = { flags: 4, length: 6, block: 8, mapWords: 16, map: 20 } as const;
const flag = { inodes: 0x1, cancel: 0x2, typeShift: 11 } as const;
const chunk = 128;
/** 64 KiB, the largest block. */
const maxLength = 65536 / basicBlock;
const maxMapWords = (maxLength * (basicBlock / chunk)) / 32 + 1;
/** XFS_BLFT_*: kinds of buffers whose content is read here. Free space, quotas, hashes and attributes are not. */
const types = {
  unknown: 0,
  btree: 4,
  inodes: 8,
  symlink: 9,
  directoryBlock: 10,
  directoryData: 11,
  superblock: 18,
} as const;
const readTypes: ReadonlySet<number> = new Set(Object.values(types));

export interface BufferItem {
  /** Basic blocks. */
  readonly block: number;
  readonly length: number;
  readonly isCancel: boolean;
  readonly isRead: boolean;
  readonly map: Buffer;
  readonly regions: readonly Buffer[];
}

export function parseBufferItem(log: XfsLog, item: LogItem): BufferItem {
  const [format, ...regions] = item.regions;
  if (format === undefined || format.length < field.map) throw log.refused('a buffer that is cut off');
  const flags = format.readUInt16LE(field.flags);
  const length = format.readUInt16LE(field.length);
  const words = format.readUInt32LE(field.mapWords);
  const map = format.subarray(field.map, field.map + words * 4);
  const high = format.readInt32LE(field.block + 4);
  const block = high * 2 ** 32 + format.readUInt32LE(field.block);
  if (!Number.isSafeInteger(block) || length > maxLength || words > maxMapWords || map.length < words * 4)
    throw log.refused(`a buffer of ${length} blocks at ${block}`);
  return {
    block,
    length,
    isCancel: (flags & flag.cancel) !== 0,
    // Of buffers of inodes only the list of unlinked ones is replayed; the inodes are items of their own.
    isRead: (flags & flag.inodes) === 0 && readTypes.has(flags >>> flag.typeShift),
    map,
    regions,
  };
}

export async function replayBuffer(
  log: XfsLog,
  blocks: ReplayedBlocks,
  buffer: BufferItem,
  lsn: number,
): Promise<void> {
  if (!buffer.isRead || buffer.length === 0) return;
  const isV5 = log.volume.superblock.version === 5;
  const offset = buffer.block * basicBlock;
  const bytes = await blocks.read(offset, buffer.length * basicBlock);
  if (isV5 && isNewer(log, bytes, lsn)) return;
  for (const [i, at] of placesOf(log, buffer).entries()) buffer.regions[i]!.copy(bytes, at);
  const layout = isV5 ? layoutOf(bytes) : undefined;
  if (layout !== undefined) {
    bytes.writeUInt32BE(Math.floor(lsn / 2 ** 32), layout.lsn);
    bytes.writeUInt32BE(lsn % 2 ** 32, layout.lsn + 4);
    bytes.writeUInt32LE(checksumOf(bytes, layout.checksum), layout.checksum);
  }
  await blocks.write(offset, bytes);
}

/** Where each region goes: one for each run of set bits, or several where a run was logged in parts. */
function placesOf(log: XfsLog, { map, regions, length }: BufferItem): number[] {
  const isSet = (bit: number) => bit < map.length * 8 && (map[bit >>> 3]! & (1 << (bit & 7))) !== 0;
  const places: number[] = [];
  let bit = 0;
  for (const region of regions) {
    while (bit < map.length * 8 && !isSet(bit)) bit++;
    const chunks = region.length / chunk;
    for (let i = 0; i < chunks; i++)
      if (!isSet(bit + i)) throw log.refused('a buffer with a region that its map does not have');
    places.push(bit * chunk);
    bit += chunks;
    if (bit * chunk > length * basicBlock) throw log.refused('a buffer with a region behind its end');
  }
  return places;
}

/** What is on the disk may be from after this transaction: then nothing of it is to be replayed. */
function isNewer(log: XfsLog, bytes: Buffer, lsn: number): boolean {
  const layout = layoutOf(bytes);
  if (layout === undefined) return false;
  const { metaUuid, uuidBytes } = log.volume.superblock;
  const uuid = bytes.subarray(layout.uuid, layout.uuid + metaUuid.length);
  const onDisk = readLsn(bytes, layout.lsn);
  // An LSN of all ones says that there is none.
  return (uuid.equals(metaUuid) || uuid.equals(uuidBytes)) && Number.isFinite(onDisk) && onDisk >= lsn;
}

const superblockHeader: HeaderLayout = {
  checksum: superblockField.checksum,
  block: superblockField.dataBlocks,
  lsn: superblockField.lsn,
  uuid: superblockField.uuid,
  owner: superblockField.rootInode,
};

function layoutOf(bytes: Buffer): HeaderLayout | undefined {
  switch (bytes.readUInt32BE(0)) {
    case mapMagic5:
      return mapHeader;
    case directoryMagics5.whole:
    case directoryMagics5.data:
      return directoryHeader;
    case symlinkMagic:
      return symlinkHeader;
    case superblockMagic:
      return superblockHeader;
    default:
      return undefined;
  }
}
