/**
 * Inodes: located, parsed, checksum verified (Linux Documentation/filesystems/ext4/inodes.rst). Main thread.
 */
import { crc32c, crc32cOfU32, crc32cWithout } from '../crc32c.js';
import type { FileStat } from '../file-system.js';
import { joinU64 } from '../numbers.js';
import { incompat, roCompat } from './features.js';
import { inodeTableOf } from './groups.js';
import type { ExtVolume } from './volume.js';

export const rootInode = 2;

const field = {
  mode: 0x0,
  sizeLow: 0x4,
  linksCount: 0x1a,
  blocksLow: 0x1c,
  flags: 0x20,
  block: 0x28,
  blockEnd: 0x64,
  generation: 0x64,
  fileAclLow: 0x68,
  sizeHigh: 0x6c,
  blocksHigh: 0x74,
  fileAclHigh: 0x76,
  checksumLow: 0x7c,
  extraSize: 0x80,
  checksumHigh: 0x82,
} as const;

const goodOldSize = 128;
const formatMask = 0xf000;
const kinds: Readonly<Record<number, FileStat['kind']>> = { 16384: 'directory', 32768: 'file', 40960: 'symlink' };

export const inodeFlag = {
  compressed: 0x4 | 0x200,
  encrypted: 0x800,
  /** The directory has a hash tree. */
  index: 0x1000,
  hugeFile: 0x40000,
  extents: 0x80000,
  extendedAttribute: 0x200000,
  inlineData: 0x10000000,
  casefold: 0x40000000,
} as const;

export interface Inode extends FileStat {
  readonly number: number;
  readonly flags: number;
  /** `i_block`: block map, extent tree root, short symbolic link, or the start of inline data. */
  readonly block: Buffer;
  /** What follows the fixed fields: extended attributes. Empty in 128-byte inodes. */
  readonly extra: Buffer;
  /** Whether data blocks are charged to it; a symbolic link without any is a fast one. */
  readonly hasBlocks: boolean;
  /** What checksums of this inode's extent and directory blocks start from. */
  readonly checksumSeed: number;
}

export async function readInode(volume: ExtVolume, number: number): Promise<Inode> {
  const { superblock } = volume;
  if (number < 1 || number > superblock.inodesCount)
    throw volume.damaged(`inode ${number} is outside the ${superblock.inodesCount} inodes`);
  const what = `inode ${number}`;
  const table = await inodeTableOf(volume, Math.floor((number - 1) / superblock.inodesPerGroup));
  const at = ((number - 1) % superblock.inodesPerGroup) * superblock.inodeSize;
  const block = table + Math.floor(at / superblock.blockSize);
  const bytes = await volume.readWithin(
    block,
    at % superblock.blockSize,
    superblock.inodeSize,
    `the inode table of ${what}`,
  );

  const mode = bytes.readUInt16LE(field.mode);
  if (mode === 0 || bytes.readUInt16LE(field.linksCount) === 0)
    throw volume.damaged(`${what} is used by a directory but not allocated`);
  const extraSize = superblock.inodeSize > goodOldSize ? bytes.readUInt16LE(field.extraSize) : 0;
  if (goodOldSize + extraSize > superblock.inodeSize || extraSize % 4 !== 0)
    throw volume.damaged(`${what}: ${extraSize} bytes of extra fields`);
  const checksumSeed = crc32c(
    crc32cOfU32(superblock.checksumSeed, number),
    bytes.subarray(field.generation, field.generation + 4),
  );
  if (superblock.roCompat & roCompat.metadataCsum && !checksumMatches(bytes, checksumSeed, extraSize))
    throw volume.damaged(`${what}: its checksum is wrong`);

  const kind = kinds[mode & formatMask] ?? 'other';
  const flags = bytes.readUInt32LE(field.flags);
  // For other kinds the high half is `i_dir_acl`, unless the file system may have large directories.
  const sizeIsWide = kind === 'file' || (superblock.incompat & incompat.largeDirectory && kind === 'directory');
  return {
    number,
    kind,
    size:
      joinU64(bytes.readUInt32LE(field.sizeLow), sizeIsWide ? bytes.readUInt32LE(field.sizeHigh) : 0) ??
      Number.MAX_SAFE_INTEGER,
    flags,
    block: Buffer.from(bytes.subarray(field.block, field.blockEnd)),
    extra: superblock.inodeSize > goodOldSize ? Buffer.from(bytes.subarray(goodOldSize + extraSize)) : Buffer.alloc(0),
    hasBlocks: chargedBytes(bytes, flags, superblock.blockSize) > attributeBytes(bytes, superblock.blockSize),
    checksumSeed,
  };
}

/** `i_blocks` in bytes: 512-byte units, or blocks when the huge_file flag is set. */
function chargedBytes(bytes: Buffer, flags: number, blockSize: number): number {
  return (
    (bytes.readUInt16LE(field.blocksHigh) * 2 ** 32 + bytes.readUInt32LE(field.blocksLow)) *
    (flags & inodeFlag.hugeFile ? blockSize : 512)
  );
}

/** An external extended attribute block is charged to the inode too. */
function attributeBytes(bytes: Buffer, blockSize: number): number {
  return bytes.readUInt32LE(field.fileAclLow) !== 0 || bytes.readUInt16LE(field.fileAclHigh) !== 0 ? blockSize : 0;
}

function checksumMatches(bytes: Buffer, seed: number, extraSize: number): boolean {
  const low = bytes.readUInt16LE(field.checksumLow);
  const lowHole = { at: field.checksumLow, length: 2 };
  if (bytes.length === goodOldSize || extraSize < field.checksumHigh + 2 - goodOldSize)
    return (crc32cWithout(seed, bytes, lowHole) & 0xffff) === low;
  const crc = crc32cWithout(seed, bytes, lowHole, { at: field.checksumHigh, length: 2 });
  return crc === bytes.readUInt16LE(field.checksumHigh) * 0x10000 + low;
}

/** Throws when the content of `inode` is stored in a way that is not read here. */
export function refuseUnreadable(volume: ExtVolume, inode: Inode): void {
  const { incompat: bits } = volume.superblock;
  const refused: [boolean, string][] = [
    [(inode.flags & inodeFlag.encrypted) !== 0, 'encrypted (fscrypt)'],
    [(inode.flags & inodeFlag.compressed) !== 0 && (bits & incompat.compression) !== 0, 'compressed (e2compr)'],
    [(inode.flags & inodeFlag.extendedAttribute) !== 0, 'the value of an extended attribute (ea_inode)'],
    [(inode.flags & inodeFlag.casefold) !== 0 && inode.kind === 'directory', 'a case-insensitive directory (casefold)'],
  ];
  const found = refused.find(([met]) => met);
  if (found) throw volume.unreadable(`inode ${inode.number} is ${found[1]}, which tsvmm does not read`);
}
