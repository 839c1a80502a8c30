/**
 * The superblock of XFS, versions 4 and 5: parsed, checked against the size of the disk, its checksum verified (Linux
 * fs/xfs/libxfs/xfs_format.h, `struct xfs_dsb`; the checks are those of xfs_sb.c). Big-endian. Main thread.
 */
import { damaged, notReadable } from '../damage.js';
import { joinU64, readU64BE } from '../numbers.js';
import { checksumMatches } from './block-header.js';
import { features2, incompat, unknownFeatures2, unknownIncompat, versionBits } from './features.js';

/** All fields lie below this, and no sector is smaller. */
export const superblockSize = 512;

export const superblockField = {
  magic: 0,
  blockSize: 4,
  dataBlocks: 8,
  uuid: 32,
  logStart: 48,
  rootInode: 56,
  agBlocks: 84,
  agCount: 88,
  logBlocks: 96,
  version: 100,
  sectorSize: 102,
  inodeSize: 104,
  inodesPerBlock: 106,
  name: 108,
  nameEnd: 120,
  blockLog: 120,
  sectorLog: 121,
  inodeLog: 122,
  inodesPerBlockLog: 123,
  agBlockLog: 124,
  inProgress: 126,
  directoryBlockLog: 192,
  features2: 200,
  badFeatures2: 204,
  incompat: 216,
  logIncompat: 220,
  checksum: 224,
  lsn: 240,
  metaUuid: 248,
} as const;
const field = superblockField;

export const superblockMagic = 0x58465342; // "XFSB"
const uuidSize = 16;
const minSectorLog = 9;
const maxSectorLog = 15;
const maxBlockLog = 16;
const minInodeLog = 8;
const maxInodeLog = 11;
/** `struct xfs_dinode` of version 3 leaves nothing for data in less. */
const minInodeLog5 = 9;
const maxDirectoryBlock = 65536;

export interface Superblock {
  readonly version: 4 | 5;
  readonly label: string;
  readonly uuid: string;
  /** What users see and the log carries. */
  readonly uuidBytes: Buffer;
  /** What metadata of version 5 carries: differs once a user has changed the UUID. */
  readonly metaUuid: Buffer;
  readonly blockSize: number;
  readonly sectorSize: number;
  readonly blocksCount: number;
  readonly agBlocks: number;
  readonly agBlockLog: number;
  readonly agCount: number;
  readonly inodeSize: number;
  readonly inodesPerBlockLog: number;
  readonly rootInode: number;
  readonly directoryBlockSize: number;
  /** Directory entries say what kind of file they lead to. */
  readonly hasFileTypes: boolean;
  /** The log's first block, as an address in groups; 0: the log is on another device. */
  readonly logStart: number;
  readonly logBlocks: number;
  /** Features of version 5 that concern only what is in a dirty log. */
  readonly logFeatures: number;
}

/** What the caller knows that hints need: commands that check and that repair. */
export interface Remedies {
  readonly check: string;
  readonly repair: string;
}

export const hasXfsMagic = (bytes: Buffer): boolean => bytes.readUInt32BE(field.magic) === superblockMagic;

/** How many bytes of the sector that starts with `bytes` the checksum covers; at least what fields need. */
export const sectorSizeOf = (bytes: Buffer): number => Math.max(superblockSize, bytes.readUInt16BE(field.sectorSize));

/** `bytes` are the first sector; `size` is what there is of the disk. */
export function parseSuperblock(bytes: Buffer, size: number, remedies: Remedies): Superblock {
  const bad = (what: string) => damaged(`xfs superblock: ${what}`, remedies.check);
  const u8 = (at: number) => bytes.readUInt8(at);
  const u32 = (at: number) => bytes.readUInt32BE(at);
  const versionNumber = bytes.readUInt16BE(field.version);
  const version = versionNumber & versionBits.number;
  if (version !== 4 && version !== 5) throw bad(`version ${version} is not known`);
  const isV5 = version === 5;
  // A reader that does not know a feature need not understand the checksum either: features come first.
  refuseUnknown(bytes, versionNumber, isV5, remedies);
  const sectorLog = u8(field.sectorLog);
  const sectorSize = bytes.readUInt16BE(field.sectorSize);
  if (sectorLog < minSectorLog || sectorLog > maxSectorLog || sectorSize !== 1 << sectorLog)
    throw bad(`sectors of ${sectorSize} bytes`);
  if (bytes.length < sectorSize) throw bad('its sector is cut off');
  if (isV5 && !checksumMatches(bytes.subarray(0, sectorSize), field.checksum)) throw bad('its checksum is wrong');
  if (u8(field.inProgress) !== 0) throw bad('mkfs.xfs did not finish');

  const blockLog = u8(field.blockLog);
  const blockSize = u32(field.blockSize);
  if (blockLog < minSectorLog || blockLog > maxBlockLog || blockSize !== 1 << blockLog || blockSize < sectorSize)
    throw bad(`blocks of ${blockSize} bytes`);
  const inodeLog = u8(field.inodeLog);
  const inodeSize = bytes.readUInt16BE(field.inodeSize);
  const inodesPerBlockLog = u8(field.inodesPerBlockLog);
  if (
    inodeLog < (isV5 ? minInodeLog5 : minInodeLog) ||
    inodeLog > Math.min(maxInodeLog, blockLog) ||
    inodeSize !== 1 << inodeLog ||
    inodesPerBlockLog !== blockLog - inodeLog ||
    bytes.readUInt16BE(field.inodesPerBlock) !== 1 << inodesPerBlockLog
  )
    throw bad(`inodes of ${inodeSize} bytes`);
  const directoryBlockSize = blockSize * 2 ** u8(field.directoryBlockLog);
  if (directoryBlockSize > maxDirectoryBlock) throw bad(`directory blocks of ${directoryBlockSize} bytes`);

  const blocksCount = readU64BE(bytes, field.dataBlocks) ?? Number.POSITIVE_INFINITY;
  if (blocksCount * blockSize > size)
    throw bad(`the file system has ${blocksCount * blockSize} bytes, but the disk or partition ends after ${size}`);
  const agBlocks = u32(field.agBlocks);
  const agCount = u32(field.agCount);
  const agBlockLog = u8(field.agBlockLog);
  if (
    agBlocks === 0 ||
    agCount === 0 ||
    agBlockLog !== 32 - Math.clz32(agBlocks - 1) ||
    blocksCount > agBlocks * agCount ||
    blocksCount <= agBlocks * (agCount - 1)
  )
    throw bad(`${agCount} groups of ${agBlocks} blocks for ${blocksCount} blocks`);

  const uuidBytes = uuidAt(bytes, field.uuid);
  const hasMetaUuid = isV5 && (u32(field.incompat) & incompat.metaUuid) !== 0;
  const extra = versionNumber & versionBits.moreBits ? u32(field.features2) | u32(field.badFeatures2) : 0;
  return {
    version,
    label: bytes.toString('utf8', field.name, field.nameEnd).replace(/\0.*$/s, ''),
    uuid: uuidBytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    uuidBytes,
    metaUuid: hasMetaUuid ? uuidAt(bytes, field.metaUuid) : uuidBytes,
    blockSize,
    sectorSize,
    blocksCount,
    agBlocks,
    agBlockLog,
    agCount,
    inodeSize,
    inodesPerBlockLog,
    rootInode: readU64BE(bytes, field.rootInode) ?? Number.POSITIVE_INFINITY,
    directoryBlockSize,
    hasFileTypes: isV5 ? (u32(field.incompat) & incompat.fileType) !== 0 : (extra & features2.fileType) !== 0,
    logStart: joinU64(u32(field.logStart + 4), u32(field.logStart)) ?? Number.POSITIVE_INFINITY,
    logBlocks: u32(field.logBlocks),
    logFeatures: isV5 ? u32(field.logIncompat) : 0,
  };
}

const uuidAt = (bytes: Buffer, at: number): Buffer => Buffer.from(bytes.subarray(at, at + uuidSize));

function refuseUnknown(bytes: Buffer, versionNumber: number, isV5: boolean, remedies: Remedies): void {
  const extra = bytes.readUInt32BE(field.features2) | bytes.readUInt32BE(field.badFeatures2);
  const found = isV5
    ? unknownIncompat(bytes.readUInt32BE(field.incompat))
    : versionNumber & versionBits.moreBits
      ? unknownFeatures2(extra)
      : [];
  if (!isV5 && !(versionNumber & versionBits.directoryV2)) found.push('directories of version 1');
  if (found.length > 0) {
    throw notReadable(
      `this xfs file system uses ${found.join(', ')}, which tsvmm does not read`,
      'Give the kernel directly, boot: { kernel, initrd, cmdline }.',
    );
  }
  if (isV5 && bytes.readUInt32BE(field.incompat) & incompat.needsRepair)
    throw notReadable('xfs: the file system is marked as needing repair', `Repair it: ${remedies.repair}`);
}
