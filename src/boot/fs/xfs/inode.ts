/**
 * Inodes: located by their number, parsed, checksum verified (Linux fs/xfs/libxfs/xfs_format.h, `struct xfs_dinode`).
 * Main thread.
 */
import type { FileStat } from '../file-system.js';
import { readU64BE } from '../numbers.js';
import { checksumMatches } from './block-header.js';
import type { XfsVolume } from './volume.js';

export const inodeField = {
  magic: 0,
  mode: 2,
  version: 4,
  format: 5,
  /** Version 3 with the flag `largeExtentCounts`; in version 2 its last two bytes count flushes. */
  largeExtentCount: 24,
  flushCount: 30,
  size: 56,
  extentCount: 76,
  forkOffset: 82,
  flags: 90,
  generation: 92,
  nextUnlinked: 96,
  checksum: 100,
  lsn: 112,
  flags2: 120,
  number: 152,
  uuid: 160,
} as const;
const field = inodeField;

/** "IN" */
export const inodeMagic = 0x494e;
/** Bytes before the data fork. */
export const coreSize = { v2: 100, v3: 176 } as const;
export const forkFormat = { device: 0, local: 1, extents: 2, btree: 3 } as const;
/** `di_flags`: the data is on the realtime device. */
const flagRealtime = 1;
/** `di_flags2`. */
const flag2LargeExtentCounts = 0x10;
const forkOffsetUnit = 8;

const formatMask = 0xf000;
const kinds: Readonly<Record<number, FileStat['kind']>> = { 16384: 'directory', 32768: 'file', 40960: 'symlink' };

export interface Inode extends FileStat {
  readonly number: number;
  /** One of `forkFormat`; others hold no data that is read. */
  readonly format: number;
  /** The data fork: what the format says. */
  readonly fork: Buffer;
  /** Extents in the data fork. */
  readonly extentCount: number;
  readonly isRealtime: boolean;
}

/** The block that holds inode `number`, and the inode's place in it. */
export function locateInode(volume: XfsVolume, number: number): { block: number; offset: number } {
  const { agBlockLog, inodesPerBlockLog, inodeSize } = volume.superblock;
  const inGroup = number % 2 ** (agBlockLog + inodesPerBlockLog);
  const group = Math.floor(number / 2 ** (agBlockLog + inodesPerBlockLog));
  const block = volume.blockInGroup(group, Math.floor(inGroup / 2 ** inodesPerBlockLog), `inode ${number}`);
  return { block, offset: (inGroup % 2 ** inodesPerBlockLog) * inodeSize };
}

export async function readInode(volume: XfsVolume, number: number | undefined): Promise<Inode> {
  if (number === undefined) throw volume.damaged('a directory entry with an inode number beyond all inodes');
  const { inodeSize, version: fileSystemVersion, metaUuid } = volume.superblock;
  const { block, offset } = locateInode(volume, number);
  const bytes = await volume.readWithin(block, offset, inodeSize);
  const bad = (what: string) => volume.damaged(`inode ${number}: ${what}`);

  if (bytes.readUInt16BE(field.magic) !== inodeMagic) throw bad('there is none');
  const version = bytes.readUInt8(field.version);
  const isV3 = version === 3;
  if (version < 1 || version > 3 || isV3 !== (fileSystemVersion === 5)) throw bad(`version ${version}`);
  if (isV3) {
    if (!checksumMatches(bytes, field.checksum)) throw bad('its checksum is wrong');
    if (!bytes.subarray(field.uuid, field.uuid + metaUuid.length).equals(metaUuid))
      throw bad('it belongs to another file system');
    if (readU64BE(bytes, field.number) !== number) throw bad('it was written for another number');
  }
  const mode = bytes.readUInt16BE(field.mode);
  if (mode === 0) throw bad('it is used by a directory but not allocated');
  const range = forkRange(bytes, inodeSize);
  if (range === undefined) throw bad('attributes behind its end');
  const hasLargeCounts = isV3 && (bytes.readUInt32BE(field.flags2 + 4) & flag2LargeExtentCounts) !== 0;
  return {
    number,
    kind: kinds[mode & formatMask] ?? 'other',
    size: readU64BE(bytes, field.size) ?? Number.MAX_SAFE_INTEGER,
    format: bytes.readUInt8(field.format),
    fork: Buffer.from(bytes.subarray(range.from, range.to)),
    extentCount: hasLargeCounts
      ? (readU64BE(bytes, field.largeExtentCount) ?? Number.POSITIVE_INFINITY)
      : bytes.readUInt32BE(field.extentCount),
    isRealtime: (bytes.readUInt16BE(field.flags) & flagRealtime) !== 0,
  };
}

/** Where the data fork is: from the fields to the attributes, or to the end. Undefined when they lie outside the inode. */
export function forkRange(bytes: Buffer, inodeSize: number): { from: number; to: number } | undefined {
  const from = bytes.readUInt8(field.version) === 3 ? coreSize.v3 : coreSize.v2;
  const length = bytes.readUInt8(field.forkOffset) * forkOffsetUnit;
  const to = length === 0 ? inodeSize : from + length;
  return to <= inodeSize ? { from, to } : undefined;
}
