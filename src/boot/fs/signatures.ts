/**
 * Names what a disk or partition holds when it is nothing that is read here, by magic, so that callers can say what they
 * found and what to do about it. Main thread.
 *
 * Offsets are those of blkid(8) (util-linux libblkid/src/superblocks) and of each format's own documentation.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import type { CachedReader } from './block-cache.js';

export interface Unsupported {
  /** As people call it: "btrfs". */
  readonly unsupported: string;
  /** What to do instead. */
  readonly hint: string;
}

interface Signature {
  readonly name: string;
  readonly hint: string;
  /** Any of these places, and the bytes that must be there. */
  readonly at: readonly number[];
  readonly bytes: Buffer;
}

const ascii = (text: string) => Buffer.from(text, 'latin1');
const bytes = (...values: number[]) => Buffer.from(values);
const signature = (name: string, hint: string, at: number | readonly number[], magic: Buffer): Signature => ({
  name,
  hint,
  at: typeof at === 'number' ? [at] : at,
  bytes: magic,
});

const direct = 'give the kernel directly, boot: { kernel, initrd, cmdline }';
const notRead = (name: string) => `tsvmm does not read ${name} yet: keep /boot on ext4, XFS or FAT, or ${direct}.`;
const container = (what: string) =>
  `A kernel inside ${what} cannot be reached before boot: keep /boot outside it, or ${direct}.`;
const foreign = `No Linux boots from this file system; choose another partition, or ${direct}.`;
const swapHint = 'Swap space holds no files.';

const KiB = 1024;
/** Swap signatures end the first page, whatever the page size of the machine that made them. */
const swapPlaces = [4, 8, 16, 64].map((kib) => kib * KiB - 10);
const lvmPlaces = [0, 1, 2, 3].map((sector) => sector * 512);
/** ZFS: the uberblocks in the second half of the first label. */
const uberblocks = Array.from({ length: 128 }, (_, i) => (128 + i) * KiB);
const mdMagic = bytes(0xfc, 0x4e, 0x2b, 0xa9);

/** What wraps other content. It is looked for first: behind it may lie bytes that look like a file system. */
const containers: readonly Signature[] = [
  signature('LUKS', container('an encrypted partition'), 0, ascii('LUKS\xba\xbe')),
  signature('BitLocker', foreign, 3, ascii('-FVE-FS-')),
  signature('LVM2 physical volume', container('LVM'), lvmPlaces, ascii('LABELONE')),
  signature('Linux RAID member', container('a RAID'), [0, 4 * KiB], mdMagic),
  signature(
    'bcache',
    container('bcache'),
    4 * KiB + 24,
    bytes(0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81),
  ),
];

const fileSystems: readonly Signature[] = [
  signature('btrfs', notRead('btrfs'), 64 * KiB + 64, ascii('_BHRfS_M')),
  signature('F2FS', notRead('F2FS'), KiB, bytes(0x10, 0x20, 0xf5, 0xf2)),
  signature('EROFS', notRead('EROFS'), KiB, bytes(0xe2, 0xe1, 0xf5, 0xe0)),
  signature('squashfs', notRead('squashfs'), 0, ascii('hsqs')),
  signature('UDF', notRead('UDF'), 32 * KiB + 1, ascii('BEA01')),
  signature('ReiserFS', notRead('ReiserFS'), [64 * KiB + 52, 8 * KiB + 52], ascii('ReIsEr')),
  signature('JFS', notRead('JFS'), 32 * KiB, ascii('JFS1')),
  signature('cramfs', notRead('cramfs'), 0, bytes(0x45, 0x3d, 0xcd, 0x28)),
  signature('ZFS', notRead('ZFS'), uberblocks, bytes(0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0)),
  signature('ZFS', notRead('ZFS'), uberblocks, bytes(0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c)),
  signature('swap', swapHint, swapPlaces, ascii('SWAPSPACE2')),
  signature('swap', swapHint, swapPlaces, ascii('SWAP-SPACE')),
  signature('hibernation image in swap', swapHint, swapPlaces, ascii('S1SUSPEND\0')),
  signature('NTFS', foreign, 3, ascii('NTFS    ')),
  signature('exFAT', notRead('exFAT'), 3, ascii('EXFAT   ')),
  signature('HFS+', foreign, KiB, ascii('H+\0\x04')),
  signature('APFS', foreign, 32, ascii('NXSB')),
];

/** All places above lie below this. */
const headSize = 256 * KiB;

/** What was read of a disk to recognise it. */
export interface Head {
  readonly image: BlockReader;
  readonly bytes: Buffer;
}

export async function readHead(image: BlockReader, cache: CachedReader): Promise<Head> {
  return { image, bytes: await cache.head(headSize) };
}

export async function findContainer(head: Head): Promise<Unsupported | undefined> {
  return match(head.bytes, containers) ?? (await raidAtEnd(head.image));
}

export function findFileSystem(head: Head): Unsupported | undefined {
  return match(head.bytes, fileSystems);
}

function match(head: Buffer, signatures: readonly Signature[]): Unsupported | undefined {
  const found = signatures.find(({ at, bytes: magic }) =>
    at.some(
      (start) =>
        start + magic.length <= head.length && head.compare(magic, 0, magic.length, start, start + magic.length) === 0,
    ),
  );
  return found && { unsupported: found.name, hint: found.hint };
}

/** RAID superblocks of version 0.90 and 1.0 are at the end, behind data that may look like a file system (md(4)). */
async function raidAtEnd(image: BlockReader): Promise<Unsupported | undefined> {
  const places = [
    Math.floor((image.size - 8 * KiB) / (4 * KiB)) * 4 * KiB,
    Math.floor(image.size / (64 * KiB)) * 64 * KiB - 64 * KiB,
  ].filter((at) => at > 0);
  if (places.length === 0) return undefined;
  const start = Math.min(...places);
  const end = await image.read(start, Math.max(...places) + mdMagic.length - start);
  const isMember = places.some((at) => end.subarray(at - start, at - start + mdMagic.length).equals(mdMagic));
  return isMember ? { unsupported: 'Linux RAID member', hint: container('a RAID') } : undefined;
}
