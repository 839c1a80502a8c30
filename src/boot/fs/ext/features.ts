/**
 * Feature bits of ext2, ext3 and ext4 (Linux Documentation/filesystems/ext4/super.rst, fs/ext4/ext4.h). Main thread.
 *
 * An INCOMPAT bit means that a reader that does not know it must not touch the file system. A RO_COMPAT bit changes only
 * what a writer has to do, so any of them is fine here, except that checksums are verified.
 */
export const compat = { hasJournal: 0x4, sparseSuper2: 0x200 } as const;

export const incompat = {
  compression: 0x1,
  fileType: 0x2,
  recover: 0x4,
  journalDevice: 0x8,
  metaBg: 0x10,
  extents: 0x40,
  sixtyFourBit: 0x80,
  mmp: 0x100,
  flexBg: 0x200,
  eaInode: 0x400,
  csumSeed: 0x2000,
  largeDirectory: 0x4000,
  inlineData: 0x8000,
  encrypt: 0x10000,
  casefold: 0x20000,
} as const;

export const roCompat = {
  sparseSuper: 0x1,
  largeFile: 0x2,
  bTreeDirectory: 0x4,
  gdtCsum: 0x10,
  bigalloc: 0x200,
  metadataCsum: 0x400,
} as const;

/** Bits that are read, or that matter only to files which carry the matching inode flag and are refused one by one. */
const knownIncompat: number =
  Object.values(incompat).reduce<number>((all, bit) => all | bit, 0) & ~incompat.journalDevice;

/** The INCOMPAT bits that this reader does not know, by name where they have one. */
export function unknownIncompat(bits: number): string[] {
  const names: Readonly<Record<number, string>> = { 8: 'journal_dev', 4096: 'dirdata' };
  const unknown: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    if ((bits & mask & ~knownIncompat) !== 0) unknown.push(names[mask] ?? `incompat 0x${mask.toString(16)}`);
  }
  return unknown;
}

/** What may be set on a file system that is still called ext2 or ext3; anything else makes it ext4, as blkid(8) has it. */
const ext3Incompat: number = incompat.fileType | incompat.recover | incompat.metaBg;
const ext3RoCompat: number = roCompat.sparseSuper | roCompat.largeFile | roCompat.bTreeDirectory;

export function typeByFeatures(bits: { compat: number; incompat: number; roCompat: number }): 'ext2' | 'ext3' | 'ext4' {
  if ((bits.incompat & ~ext3Incompat) !== 0 || (bits.roCompat & ~ext3RoCompat) !== 0) return 'ext4';
  return (bits.compat & compat.hasJournal) !== 0 ? 'ext3' : 'ext2';
}
