/**
 * Block group descriptors: where they are (plain, meta_bg), their checksums, and where a group's inode table is (Linux
 * Documentation/filesystems/ext4/group_descr.rst). Main thread. Read one at a time: a claimed number of groups costs nothing.
 */
import { crc32cOfU32, crc32cWithout } from '../crc32c.js';
import { joinU64 } from '../numbers.js';
import { crc16, crc16Start } from './checksums.js';
import { compat, incompat, roCompat } from './features.js';
import { type Superblock, superblockOffset } from './superblock.js';
import type { ExtVolume } from './volume.js';

const field = { inodeTableLow: 0x8, flags: 0x12, checksum: 0x1e, checksumEnd: 0x20, inodeTableHigh: 0x28 } as const;
const flagInodeTableUnused = 1;
const size64 = 64;

/** The first block of the inode table of `group`. */
export async function inodeTableOf(volume: ExtVolume, group: number): Promise<number> {
  const { superblock } = volume;
  const perBlock = superblock.blockSize / superblock.descriptorSize;
  const what = `group descriptor ${group}`;
  const bytes = await volume.readWithin(
    descriptorBlock(superblock, Math.floor(group / perBlock)),
    (group % perBlock) * superblock.descriptorSize,
    superblock.descriptorSize,
    what,
  );
  if (!checksumMatches(superblock, group, bytes)) throw volume.damaged(`${what}: its checksum is wrong`);
  if (
    superblock.roCompat & (roCompat.gdtCsum | roCompat.metadataCsum) &&
    bytes.readUInt16LE(field.flags) & flagInodeTableUnused
  ) {
    throw volume.damaged(`${what}: an inode is used in a group whose inode table is not`);
  }
  const high = superblock.descriptorSize >= size64 ? bytes.readUInt32LE(field.inodeTableHigh) : 0;
  return joinU64(bytes.readUInt32LE(field.inodeTableLow), high) ?? Number.POSITIVE_INFINITY;
}

/** The block that holds the `index`-th block of descriptors. With meta_bg they are spread over the groups they describe. */
function descriptorBlock(superblock: Superblock, index: number): number {
  const superblockBlock = Math.floor(superblockOffset / superblock.blockSize);
  if (!(superblock.incompat & incompat.metaBg) || index < superblock.firstMetaGroup) return superblockBlock + 1 + index;
  const group = index * (superblock.blockSize / superblock.descriptorSize);
  const first = superblock.firstDataBlock + group * superblock.blocksPerGroup;
  // With 1 KiB blocks and first data block 0 (bigalloc) block 0 is the boot sector's, so the superblock is at block 1.
  const shifted = index === 0 && superblock.blockSize === 1024 && superblock.firstDataBlock === 0 ? 1 : 0;
  return first + shifted + (hasSuperblockCopy(superblock, group) ? 1 : 0);
}

function hasSuperblockCopy(superblock: Superblock, group: number): boolean {
  if (group === 0) return true;
  if (superblock.compat & compat.sparseSuper2) return superblock.backupGroups.includes(group);
  if (group === 1 || !(superblock.roCompat & roCompat.sparseSuper)) return true;
  return [3, 5, 7].some((base) => isPowerOf(base, group));
}

function isPowerOf(base: number, value: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

function checksumMatches(superblock: Superblock, group: number, bytes: Buffer): boolean {
  const stored = bytes.readUInt16LE(field.checksum);
  if (superblock.roCompat & roCompat.metadataCsum) {
    const crc = crc32cWithout(crc32cOfU32(superblock.checksumSeed, group), bytes, { at: field.checksum, length: 2 });
    return (crc & 0xffff) === stored;
  }
  if (superblock.roCompat & roCompat.gdtCsum) {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(group);
    let crc = crc16(crc16(crc16Start, superblock.uuidBytes), number);
    crc = crc16(crc, bytes.subarray(0, field.checksum));
    if (superblock.incompat & incompat.sixtyFourBit) crc = crc16(crc, bytes.subarray(field.checksumEnd));
    return crc === stored;
  }
  return true;
}
