/**
 * The journal of ext3 and ext4 as a circular log of blocks: its superblock, and where its blocks are (Linux
 * Documentation/filesystems/ext4/journal.rst, include/linux/jbd2.h). Everything in it is big-endian. Main thread.
 */

import { crc32c, crc32cWithout, crcStart } from '../crc32c.js';
import type { Run } from '../runs.js';
import { runsOf } from './content.js';
import { readInode } from './inode.js';
import { type ExtVolume, journalMagic } from './volume.js';

export const journalBlockType = { descriptor: 1, commit: 2, superblockV1: 3, superblockV2: 4, revoke: 5 } as const;
/** The header of every journal block but the copies: magic, type, sequence. */
export const journalHeader = { magic: 0, type: 4, sequence: 8, size: 12 } as const;

const field = {
  blockSize: 0xc,
  length: 0x10,
  first: 0x14,
  sequence: 0x18,
  start: 0x1c,
  errno: 0x20,
  compat: 0x24,
  incompat: 0x28,
  roCompat: 0x2c,
  uuid: 0x30,
  checksumType: 0x50,
  fastCommitBlocks: 0x54,
  checksum: 0xfc,
  size: 0x400,
} as const;

const compatChecksum = 0x1;
const incompat = {
  revoke: 0x1,
  sixtyFourBit: 0x2,
  asyncCommit: 0x4,
  csumV2: 0x8,
  csumV3: 0x10,
  fastCommit: 0x20,
} as const;
const knownIncompat = 0x3f;
const checksumTypeCrc32c = 4;
const defaultFastCommitBlocks = 256;
/**
 * mke2fs makes at most 1 GiB, that is 2^18 blocks of 4 KiB, by itself. A larger dirty journal is left to e2fsck: all of it
 * may have to be read and summed.
 */
const maxJournalBlocks = 1 << 19;
const maxJournalBytes = 1 << 30;

/** How blocks of the log are protected. */
export type JournalChecksums = 'none' | 'v1' | 'v2' | 'v3';

export class JournalLog {
  readonly volume: ExtVolume;
  /** Where the log begins; 0 when there is nothing to replay. */
  readonly start: number;
  /** Sequence number of the first transaction in the log. */
  readonly sequence: number;
  readonly first: number;
  /** One past the last block of the circular log. */
  readonly end: number;
  readonly checksums: JournalChecksums;
  readonly checksumSeed: number;
  readonly sixtyFourBit: boolean;
  readonly hasFastCommits: boolean;
  readonly markedWithErrors: boolean;
  readonly #runs: readonly Run[];

  constructor(volume: ExtVolume, superblock: Buffer, runs: readonly Run[], blocks: number) {
    const bad = (what: string) => refused(volume, `its superblock: ${what}`);
    const u32 = (at: number) => superblock.readUInt32BE(at);
    const type = u32(journalHeader.type);
    if (
      u32(journalHeader.magic) !== journalMagic ||
      (type !== journalBlockType.superblockV1 && type !== journalBlockType.superblockV2)
    )
      throw bad('it is none');
    const isV2 = type === journalBlockType.superblockV2;
    const has = (bit: number) => isV2 && (u32(field.incompat) & bit) !== 0;
    const unknown = isV2 ? (u32(field.incompat) & ~knownIncompat) | u32(field.roCompat) : 0;
    if (unknown !== 0) throw bad(`features 0x${(unknown >>> 0).toString(16)} are not known`);
    if (has(incompat.csumV2) && has(incompat.csumV3)) throw bad('two kinds of checksums at once');
    this.checksums = has(incompat.csumV3)
      ? 'v3'
      : has(incompat.csumV2)
        ? 'v2'
        : isV2 && u32(field.compat) & compatChecksum
          ? 'v1'
          : 'none';
    if (this.checksums === 'v2' || this.checksums === 'v3') {
      if (superblock.readUInt8(field.checksumType) !== checksumTypeCrc32c) throw bad('its checksum type is not known');
      if (
        crc32cWithout(crcStart, superblock.subarray(0, field.size), { at: field.checksum, length: 4 }) !==
        u32(field.checksum)
      )
        throw bad('its checksum is wrong');
    }
    if (u32(field.blockSize) !== volume.superblock.blockSize) throw bad(`blocks of ${u32(field.blockSize)} bytes`);
    const length = u32(field.length);
    if (length > blocks) throw bad(`${length} blocks in a journal file of ${blocks}`);
    this.hasFastCommits = has(incompat.fastCommit);
    this.end = length - (this.hasFastCommits ? u32(field.fastCommitBlocks) || defaultFastCommitBlocks : 0);
    this.first = u32(field.first);
    this.start = u32(field.start);
    if (this.first < 1 || this.first >= this.end) throw bad(`a log from block ${this.first} to ${this.end}`);
    if (this.start !== 0 && (this.start < this.first || this.start >= this.end))
      throw bad(`a log that starts at block ${this.start}`);
    this.volume = volume;
    this.sequence = u32(field.sequence);
    this.checksumSeed = crc32c(crcStart, superblock.subarray(field.uuid, field.uuid + 16));
    this.sixtyFourBit = has(incompat.sixtyFourBit);
    this.markedWithErrors = u32(field.errno) !== 0;
    this.#runs = runs;
  }

  static async open(volume: ExtVolume): Promise<JournalLog> {
    const { superblock } = volume;
    if (superblock.hasExternalJournal) throw refused(volume, 'it is on another device', 'e2fsck -f -j JOURNAL_DEVICE');
    if (superblock.journalInode === 0) throw refused(volume, 'there is none');
    const inode = await readInode(volume, superblock.journalInode);
    const blocks = Math.floor(inode.size / superblock.blockSize);
    if (inode.kind !== 'file' || blocks < 1) throw refused(volume, `inode ${inode.number} holds none`);
    if (blocks > maxJournalBlocks || inode.size > maxJournalBytes) {
      throw refused(volume, `it has ${inode.size} bytes in ${blocks} blocks, more than is replayed in memory`);
    }
    const runs: Run[] = [];
    for await (const run of runsOf(volume, inode, blocks * superblock.blockSize)) runs.push(run);
    const at = physicalOf(runs, 0);
    if (at === undefined) throw refused(volume, 'its first block is missing');
    return new JournalLog(volume, await volume.read(at, 1, 'the journal'), runs, blocks);
  }

  get length(): number {
    return this.end - this.first;
  }

  /** The log block `count` after `block`, around the end. */
  after(block: number, count = 1): number {
    return this.first + ((block - this.first + count) % this.length);
  }

  /** The file system block that holds journal block `block`. */
  physical(block: number): number {
    const physical = physicalOf(this.#runs, block);
    if (physical === undefined) throw this.refused(`its block ${block} is missing`);
    return physical;
  }

  read(block: number): Promise<Buffer> {
    return this.volume.read(this.physical(block), 1, 'the journal');
  }

  refused(why: string): Error {
    return refused(this.volume, why);
  }
}

function physicalOf(runs: readonly Run[], block: number): number | undefined {
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (runs[middle]!.logical <= block) low = middle + 1;
    else high = middle;
  }
  const run = runs[low - 1];
  return run && block < run.logical + run.count ? run.physical + (block - run.logical) : undefined;
}

/** The journal cannot be replayed in memory; e2fsck replays it on the disk. */
function refused(volume: ExtVolume, why: string, command = 'e2fsck -f'): Error {
  return volume.needsRepair(
    `the file system was not unmounted cleanly and its journal cannot be replayed in memory: ${why}`,
    command,
  );
}
