/**
 * What metadata blocks of version 5 say of themselves: a checksum, where they are, which file system and which inode
 * they belong to (Linux Documentation/filesystems/xfs/xfs-self-describing-metadata.rst). Main thread.
 */
import { crc32c, crcStart } from '../crc32c.js';
import { readU64BE } from '../numbers.js';
import type { XfsVolume } from './volume.js';

/** Where a kind of block keeps what it says of itself. */
export interface HeaderLayout {
  readonly checksum: number;
  readonly block: number;
  readonly lsn: number;
  readonly uuid: number;
  readonly owner: number;
}

/** `struct xfs_btree_block` with 64-bit pointers. */
export const mapHeader: HeaderLayout = { checksum: 64, block: 24, lsn: 32, uuid: 40, owner: 56 };
/** `struct xfs_dir3_blk_hdr`. */
export const directoryHeader: HeaderLayout = { checksum: 4, block: 8, lsn: 16, uuid: 24, owner: 40 };
/** `struct xfs_dsymlink_hdr`. */
export const symlinkHeader: HeaderLayout = { checksum: 12, block: 40, lsn: 48, uuid: 16, owner: 32 };

/** Addresses in metadata and in the log are in units of 512 bytes, whatever the sector. */
export const basicBlock = 512;

const checksumSize = 4;
const zeros = Buffer.alloc(checksumSize);

/** Over `bytes` with the field itself taken as zero; kept little-endian and inverted. */
export function checksumOf(bytes: Buffer, at: number): number {
  const before = crc32c(crc32c(crcStart, bytes.subarray(0, at)), zeros);
  return (crc32c(before, bytes.subarray(at + checksumSize)) ^ 0xffffffff) >>> 0;
}

export const checksumMatches = (bytes: Buffer, at: number): boolean => checksumOf(bytes, at) === bytes.readUInt32LE(at);

/** Throws when `bytes`, read from block `block`, are not what a structure of inode `owner` should be there. Version 5 only. */
export function verifyHeader(
  volume: XfsVolume,
  bytes: Buffer,
  layout: HeaderLayout,
  at: { readonly block: number; readonly owner: number; readonly what: string },
): void {
  const { blockSize, metaUuid } = volume.superblock;
  const bad = (what: string) => volume.damaged(`${at.what}: block ${at.block} ${what}`);
  if (!checksumMatches(bytes, layout.checksum)) throw bad('has a wrong checksum');
  if (!bytes.subarray(layout.uuid, layout.uuid + metaUuid.length).equals(metaUuid))
    throw bad('belongs to another file system');
  if (readU64BE(bytes, layout.owner) !== at.owner) throw bad('belongs to another inode');
  if (readU64BE(bytes, layout.block) !== (at.block * blockSize) / basicBlock)
    throw bad('was written for another place');
}
