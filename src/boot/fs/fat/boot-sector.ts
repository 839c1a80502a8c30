/**
 * The FAT boot sector: BIOS parameter block, checked against the size of the disk (Microsoft, "FAT: General Overview of
 * On-Disk Format" 1.03; also in ECMA-107). Main thread.
 */
import { damaged } from '../damage.js';

export const bootSectorSize = 512;

const field = {
  jump: 0x0,
  bytesPerSector: 0xb,
  sectorsPerCluster: 0xd,
  reservedSectors: 0xe,
  fatCount: 0x10,
  rootEntries: 0x11,
  totalSectors16: 0x13,
  media: 0x15,
  sectorsPerFat16: 0x16,
  totalSectors32: 0x20,
  /** FAT12 and FAT16. */
  state: 0x25,
  extendedSignature: 0x26,
  serial: 0x27,
  label: 0x2b,
  typeText: 0x36,
  /** FAT32. */
  sectorsPerFat32: 0x24,
  flags32: 0x28,
  version32: 0x2a,
  rootCluster32: 0x2c,
  state32: 0x41,
  extendedSignature32: 0x42,
  serial32: 0x43,
  label32: 0x47,
  typeText32: 0x52,
  signature: 0x1fe,
} as const;

const signature = 0xaa55;
const jumps = [0xeb, 0xe9];
const sectorSizes = [512, 1024, 2048, 4096];
/** In an "extended boot signature" the serial number follows; with the higher one label and type text too. */
const extendedSignatures = { serialOnly: 0x28, full: 0x29 } as const;
const entrySize = 32;
/** Linux MAX_FAT12: more clusters than this make a FAT16. */
const maxFat12Clusters = 4084;
const maxFat16Clusters = 65524;
const maxFat32Clusters = 0x0ffffff5;
const noMirroring = 0x80;
const activeFatMask = 0x0f;
const stateDirty = 1;
const noName = 'NO NAME';

export interface FatLayout {
  readonly bits: 12 | 16 | 32;
  readonly clusterSize: number;
  /** Valid clusters are 2 to clusterCount + 1. */
  readonly clusterCount: number;
  /** Bytes. */
  readonly fatStart: number;
  readonly fatSize: number;
  /** FAT12 and FAT16: the root directory's place and size in bytes. */
  readonly rootStart: number;
  readonly rootSize: number;
  /** FAT32: the root directory's first cluster. */
  readonly rootCluster: number;
  /** Bytes; where cluster 2 is. */
  readonly dataStart: number;
  readonly label: string;
  /** `XXXX-XXXX`; empty when the boot sector has none. */
  readonly serial: string;
  readonly dirty: boolean;
}

/** Does this sector look like a FAT boot sector at all? Text in the type field is a hint, the numbers must make sense. */
export function looksLikeFat(sector: Buffer): boolean {
  return (
    sector.readUInt16LE(field.signature) === signature &&
    jumps.includes(sector.readUInt8(field.jump)) &&
    sectorSizes.includes(sector.readUInt16LE(field.bytesPerSector)) &&
    isPowerOfTwo(sector.readUInt8(field.sectorsPerCluster)) &&
    sector.readUInt16LE(field.reservedSectors) > 0 &&
    sector.readUInt8(field.fatCount) > 0 &&
    isMedia(sector.readUInt8(field.media))
  );
}

const isPowerOfTwo = (value: number) => value > 0 && (value & (value - 1)) === 0;
const isMedia = (value: number) => value === 0xf0 || value >= 0xf8;

/** `size` is what there is of the disk. */
export function parseBootSector(sector: Buffer, size: number): FatLayout {
  const bad = (what: string) => damaged(`FAT boot sector: ${what}`);
  const u16 = (at: number) => sector.readUInt16LE(at);
  const u32 = (at: number) => sector.readUInt32LE(at);
  const sectorSize = u16(field.bytesPerSector);
  const clusterSize = sectorSize * sector.readUInt8(field.sectorsPerCluster);
  const is32 = u16(field.sectorsPerFat16) === 0;
  const fatSectors = is32 ? u32(field.sectorsPerFat32) : u16(field.sectorsPerFat16);
  const fatCount = sector.readUInt8(field.fatCount);
  const total = u16(field.totalSectors16) || u32(field.totalSectors32);
  if (total * sectorSize > size)
    throw bad(`the file system has ${total * sectorSize} bytes, but the disk or partition ends after ${size}`);
  if (is32 && u16(field.version32) !== 0) throw bad(`FAT32 version ${u16(field.version32)} is not known`);

  const rootSize = is32 ? 0 : u16(field.rootEntries) * entrySize;
  if (!is32 && rootSize === 0) throw bad('a root directory without entries');
  const firstFat = u16(field.reservedSectors);
  const rootSector = firstFat + fatCount * fatSectors;
  const dataSector = rootSector + Math.ceil(rootSize / sectorSize);
  if (fatSectors === 0 || dataSector >= total)
    throw bad(`${fatCount} tables of ${fatSectors} sectors in a file system of ${total} sectors`);
  const clusters = Math.floor(((total - dataSector) * sectorSize) / clusterSize);
  // As Linux has it: FAT32 is what has no 16-bit table size, whatever the number of clusters.
  const bits = is32 ? 32 : clusters > maxFat12Clusters ? 16 : 12;
  // Entries beyond the table's end do not exist, whatever the number of sectors says.
  const inTable = Math.floor((fatSectors * sectorSize * 8) / bits) - 2;
  const clusterCount = Math.min(clusters, inTable, bits === 32 ? maxFat32Clusters : maxFat16Clusters);
  if (clusterCount < 1) throw bad('no room for a single cluster');

  const flags = is32 ? u16(field.flags32) : 0;
  const activeFat = flags & noMirroring && (flags & activeFatMask) < fatCount ? flags & activeFatMask : 0;
  return {
    bits,
    clusterSize,
    clusterCount,
    fatStart: (firstFat + activeFat * fatSectors) * sectorSize,
    fatSize: fatSectors * sectorSize,
    rootStart: rootSector * sectorSize,
    rootSize,
    rootCluster: is32 ? u32(field.rootCluster32) : 0,
    dataStart: dataSector * sectorSize,
    ...identity(sector, is32),
    dirty: (sector.readUInt8(is32 ? field.state32 : field.state) & stateDirty) !== 0,
  };
}

function identity(sector: Buffer, is32: boolean): { label: string; serial: string } {
  const extended = sector.readUInt8(is32 ? field.extendedSignature32 : field.extendedSignature);
  if (extended !== extendedSignatures.serialOnly && extended !== extendedSignatures.full)
    return { label: '', serial: '' };
  const serial = sector
    .readUInt32LE(is32 ? field.serial32 : field.serial)
    .toString(16)
    .toUpperCase()
    .padStart(8, '0');
  const at = is32 ? field.label32 : field.label;
  const text =
    extended === extendedSignatures.full ? sector.toString('latin1', at, at + 11).replace(/[ \0]+$/, '') : '';
  return { label: text === noName ? '' : text, serial: `${serial.slice(0, 4)}-${serial.slice(4)}` };
}
