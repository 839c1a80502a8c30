/**
 * Feature bits of XFS (Linux fs/xfs/libxfs/xfs_format.h). Main thread.
 *
 * In version 5 an INCOMPAT bit means that a reader that does not know it must not touch the file system; COMPAT and
 * RO_COMPAT bits change only what a writer has to do. Version 4 has one kind of bits, and all of them count.
 */

/** `sb_versionnum`: the version in the low bits, and version 4's features. */
export const versionBits = { number: 0xf, directoryV2: 0x2000, moreBits: 0x8000 } as const;

/** `sb_features2` of version 4. */
export const features2 = {
  lazyCounters: 0x2,
  attributes2: 0x8,
  projectId32: 0x80,
  crc: 0x100,
  fileType: 0x200,
} as const;

/** `sb_features_incompat` of version 5. What lies on the realtime device (zoned) is refused file by file. */
export const incompat = {
  fileType: 0x1,
  sparseInodes: 0x2,
  metaUuid: 0x4,
  bigTime: 0x8,
  needsRepair: 0x10,
  largeExtentCounts: 0x20,
  exchangeRange: 0x40,
  parentPointers: 0x80,
  metadataDirectory: 0x100,
  zoned: 0x200,
  zoneGaps: 0x400,
} as const;

const all = (bits: Readonly<Record<string, number>>): number => Object.values(bits).reduce((a, b) => a | b, 0);
const known5 = all(incompat);
const known4 = all(features2) & ~features2.crc;

/** The features of a version 5 superblock that this reader does not know. */
export const unknownIncompat = (bits: number): string[] => unknown(bits & ~known5, 'incompat');

/** The features of a version 4 superblock that this reader does not know. */
export const unknownFeatures2 = (bits: number): string[] => unknown(bits & ~known4, 'features2');

function unknown(bits: number, field: string): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    if ((bits & mask) !== 0) found.push(`${field} 0x${mask.toString(16)}`);
  }
  return found;
}
