/**
 * The superblock of ext2, ext3 and ext4: parsed, checked against the size of the disk, its checksum verified (Linux
 * Documentation/filesystems/ext4/super.rst). Main thread.
 */
import { crc32c, crcStart } from '../crc32c.js';
import { damaged, notReadable } from '../damage.js';
import { joinU64 } from '../numbers.js';
import { incompat, roCompat, typeByFeatures, unknownIncompat } from './features.js';

/** Where the primary superblock is, whatever the block size. */
export const superblockOffset = 1024;
export const superblockSize = 1024;

const field = {
  inodesCount: 0x0,
  blocksCountLow: 0x4,
  firstDataBlock: 0x14,
  logBlockSize: 0x18,
  blocksPerGroup: 0x20,
  inodesPerGroup: 0x28,
  magic: 0x38,
  state: 0x3a,
  revision: 0x4c,
  inodeSize: 0x58,
  compat: 0x5c,
  incompat: 0x60,
  roCompat: 0x64,
  uuid: 0x68,
  volumeName: 0x78,
  volumeNameEnd: 0x88,
  journalInode: 0xe0,
  journalDevice: 0xe4,
  descriptorSize: 0xfe,
  firstMetaGroup: 0x104,
  blocksCountHigh: 0x150,
  checksumType: 0x175,
  backupGroups: 0x24c,
  checksumSeed: 0x270,
  checksum: 0x3fc,
} as const;

const magic = 0xef53;
const dynamicRevision = 1;
const revision0InodeSize = 128;
const maxLogBlockSize = 6; // 64 KiB
const minDescriptorSize = 32;
const minDescriptorSize64 = 64;
const checksumTypeCrc32c = 1;
const state = { cleanlyUnmounted: 1, errors: 2 } as const;

export interface Superblock {
  readonly type: 'ext2' | 'ext3' | 'ext4';
  readonly label: string;
  readonly uuid: string;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  readonly blockSize: number;
  readonly blocksCount: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly groupCount: number;
  readonly inodesCount: number;
  readonly inodesPerGroup: number;
  readonly inodeSize: number;
  readonly descriptorSize: number;
  readonly firstMetaGroup: number;
  /** Groups that carry superblock copies under sparse_super2. */
  readonly backupGroups: readonly [number, number];
  readonly uuidBytes: Buffer;
  /** What every metadata_csum checksum starts from. */
  readonly checksumSeed: number;
  readonly journalInode: number;
  readonly hasExternalJournal: boolean;
  readonly cleanlyUnmounted: boolean;
  readonly markedWithErrors: boolean;
}

export const hasExtMagic = (bytes: Buffer): boolean => bytes.readUInt16LE(field.magic) === magic;

const isPowerOfTwo = (value: number) => value > 0 && (value & (value - 1)) === 0;

/** `bytes` are the 1024 bytes of the superblock; `size` is what there is of the disk; `check` is the hint's command. */
export function parseSuperblock(bytes: Buffer, size: number, check: string): Superblock {
  const bad = (what: string) => damaged(`ext superblock: ${what}`, check);
  const u32 = (at: number) => bytes.readUInt32LE(at);
  const features = { compat: u32(field.compat), incompat: u32(field.incompat), roCompat: u32(field.roCompat) };
  const type = typeByFeatures(features);
  const has = (bit: number) => (features.incompat & bit) !== 0;

  const unknown = unknownIncompat(features.incompat);
  if (unknown.length > 0) {
    throw notReadable(
      `this ${type} file system uses ${unknown.join(', ')}, which tsvmm does not read`,
      'Give the kernel directly, boot: { kernel, initrd, cmdline }.',
    );
  }
  if (u32(field.revision) > dynamicRevision) throw bad(`revision ${u32(field.revision)} is not known`);
  if (features.roCompat & roCompat.metadataCsum) verifyChecksum(bytes, bad);

  const logBlockSize = u32(field.logBlockSize);
  if (logBlockSize > maxLogBlockSize) throw bad(`a block size of 2^${logBlockSize} KiB`);
  const blockSize = 1024 << logBlockSize;
  const blocksCount =
    joinU64(u32(field.blocksCountLow), has(incompat.sixtyFourBit) ? u32(field.blocksCountHigh) : 0) ??
    Number.POSITIVE_INFINITY;
  const firstDataBlock = u32(field.firstDataBlock);
  if (firstDataBlock > 1 || blocksCount <= firstDataBlock)
    throw bad(`${blocksCount} blocks, the first one being ${firstDataBlock}`);
  if (blocksCount * blockSize > size) {
    throw bad(`the file system has ${blocksCount * blockSize} bytes, but the disk or partition ends after ${size}`);
  }
  const blocksPerGroup = u32(field.blocksPerGroup);
  const inodesPerGroup = u32(field.inodesPerGroup);
  if (blocksPerGroup === 0 || inodesPerGroup === 0 || inodesPerGroup > blockSize * 8)
    throw bad(`groups of ${blocksPerGroup} blocks and ${inodesPerGroup} inodes`);
  const groupCount = Math.ceil((blocksCount - firstDataBlock) / blocksPerGroup);
  const inodesCount = u32(field.inodesCount);
  if (inodesCount > groupCount * inodesPerGroup)
    throw bad(`${inodesCount} inodes in ${groupCount} groups of ${inodesPerGroup}`);
  const inodeSize = u32(field.revision) === 0 ? revision0InodeSize : bytes.readUInt16LE(field.inodeSize);
  if (!isPowerOfTwo(inodeSize) || inodeSize < revision0InodeSize || inodeSize > blockSize)
    throw bad(`inodes of ${inodeSize} bytes`);
  const descriptorSize = has(incompat.sixtyFourBit) ? bytes.readUInt16LE(field.descriptorSize) : minDescriptorSize;
  if (
    !isPowerOfTwo(descriptorSize) ||
    descriptorSize > blockSize ||
    (has(incompat.sixtyFourBit) && descriptorSize < minDescriptorSize64)
  ) {
    throw bad(`group descriptors of ${descriptorSize} bytes`);
  }

  const uuidBytes = Buffer.from(bytes.subarray(field.uuid, field.uuid + 16));
  return {
    type,
    label: bytes.toString('utf8', field.volumeName, field.volumeNameEnd).replace(/\0.*$/s, ''),
    uuid: uuidBytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    ...features,
    blockSize,
    blocksCount,
    firstDataBlock,
    blocksPerGroup,
    groupCount,
    inodesCount,
    inodesPerGroup,
    inodeSize,
    descriptorSize,
    firstMetaGroup: u32(field.firstMetaGroup),
    backupGroups: [u32(field.backupGroups), u32(field.backupGroups + 4)],
    uuidBytes,
    checksumSeed: has(incompat.csumSeed) ? u32(field.checksumSeed) : crc32c(crcStart, uuidBytes),
    journalInode: u32(field.journalInode),
    hasExternalJournal: u32(field.journalInode) === 0 && u32(field.journalDevice) !== 0,
    cleanlyUnmounted: (bytes.readUInt16LE(field.state) & state.cleanlyUnmounted) !== 0,
    markedWithErrors: (bytes.readUInt16LE(field.state) & state.errors) !== 0,
  };
}

function verifyChecksum(bytes: Buffer, bad: (what: string) => Error): void {
  const kind = bytes.readUInt8(field.checksumType);
  if (kind !== checksumTypeCrc32c) throw bad(`checksum type ${kind} is not known`);
  if (crc32c(crcStart, bytes.subarray(0, field.checksum)) !== bytes.readUInt32LE(field.checksum))
    throw bad('its checksum is wrong');
}
