/**
 * The boot catalog of a bootable CD: which images firmware would start (El Torito Bootable CD-ROM Format 1.0 §2).
 * Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { readDescriptors, sectorSize } from './descriptors.js';

export interface BootImage {
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes that firmware loads; an EFI image says too little here more often than not. */
  readonly size: number;
  readonly platform: 'BIOS' | 'EFI' | 'other';
  readonly bootable: boolean;
}

const entrySize = 32;
/** More than any tool writes; the rest is left out. */
const maxCatalogBytes = 4 * sectorSize;
const maxImages = 16;
const header = { validation: 0x01, section: 0x90, lastSection: 0x91, extension: 0x44 } as const;
const field = { platform: 1, sectionCount: 2, key: 30, media: 1, sectors: 6, start: 8 } as const;
const keyValue = 0xaa55;
const bootIndicator = 0x88;
/** "Virtual" sectors, in which sizes are counted. */
const virtualSector = 512;
const platforms: Readonly<Record<number, BootImage['platform']>> = { 0: 'BIOS', 239: 'EFI' };

/** The images of the catalog; none if there is no catalog or it is no valid one. Those outside the disk are left out. */
export async function readBootImages(reader: BlockReader): Promise<BootImage[]> {
  const sector = (await readDescriptors(reader))?.bootCatalog;
  if (sector === undefined || (sector + 1) * sectorSize > reader.size) return [];
  const start = sector * sectorSize;
  const catalog = await reader.read(start, Math.min(maxCatalogBytes, reader.size - start));
  if (!isValid(catalog)) return [];
  const images: BootImage[] = [];
  const add = (at: number, platform: number): void => {
    const from = catalog.readUInt32LE(at + field.start) * sectorSize;
    if (from === 0 || from >= reader.size || images.length === maxImages) return;
    const size = Math.min(catalog.readUInt16LE(at + field.sectors) * virtualSector, reader.size - from);
    const bootable = catalog[at] === bootIndicator;
    images.push({ start: from, size, platform: platforms[platform] ?? 'other', bootable });
  };
  add(entrySize, catalog[field.platform]!); // the initial entry, for the platform of the validation entry
  for (let at = 2 * entrySize; at + entrySize <= catalog.length; ) {
    const kind = catalog[at];
    if (kind !== header.section && kind !== header.lastSection) break;
    const platform = catalog[at + field.platform]!;
    let left = catalog.readUInt16LE(at + field.sectionCount);
    for (at += entrySize; left > 0 && at + entrySize <= catalog.length; at += entrySize) {
      if (catalog[at] === header.extension) continue; // belongs to the entry before
      add(at, platform);
      left--;
    }
    if (kind === header.lastSection) break;
  }
  return images;
}

/** §2.1: the words of the validation entry sum up to zero. */
function isValid(catalog: Buffer): boolean {
  if (catalog[0] !== header.validation || catalog.readUInt16LE(field.key) !== keyValue) return false;
  let sum = 0;
  for (let at = 0; at < entrySize; at += 2) sum += catalog.readUInt16LE(at);
  return (sum & 0xffff) === 0;
}
