/**
 * Finds the committed transactions in a journal: from the log's start, as long as sequence numbers go on (Linux
 * Documentation/filesystems/ext4/journal.rst; the order of checks is that of fs/jbd2/recovery.c, PASS_SCAN). Main thread.
 *
 * The walk moves on by at least one block of the log each time and ends after one turn around it.
 */
import { crc32c, crc32cOfU32, crc32cWithout, crcStart } from '../crc32c.js';
import { crc32be } from './checksums.js';
import { type JournalLog, journalBlockType, journalHeader } from './journal-log.js';
import { journalMagic } from './volume.js';

/** A block of the file system and where in the log its copy is. */
export interface Tag {
  readonly target: number;
  readonly block: number;
  readonly escaped: boolean;
  /** As stored: 32 bits with v3, the low 16 with v2. */
  readonly checksum: number;
}

export interface Transaction {
  readonly sequence: number;
  readonly tags: Tag[];
  /** Blocks whose copies in this and earlier transactions must not be replayed. */
  readonly revoked: number[];
}

const tagField = {
  block: 0,
  checksum16: 4,
  flags16: 6,
  flags32: 4,
  blockHigh: 8,
  checksum32: 12,
  size: 12,
  sizeV3: 16,
} as const;
const tagFlag = { escaped: 1, sameUuid: 2, last: 8 } as const;
const uuidSize = 16;
const tailSize = 4;
const revokeField = { used: 12, records: 16 } as const;
const commitField = { checksumType: 0xc, checksumSize: 0xd, checksum: 0x10, seconds: 0x30 } as const;
const checksumTypeCrc32 = 1;
const checksumSizeCrc32 = 4;
/** Records of revoked blocks that are remembered; a log full of them beyond this is left to e2fsck. */
const maxRevoked = 1 << 20;

const two32 = 2 ** 32;
const isChecked = (log: JournalLog) => log.checksums === 'v2' || log.checksums === 'v3';

/** All committed transactions in order, and the sequence number that would come next. */
export async function scanLog(log: JournalLog): Promise<{ transactions: Transaction[]; next: number }> {
  const transactions: Transaction[] = [];
  let open: Transaction = { sequence: log.sequence, tags: [], revoked: [] };
  let revokedCount = 0;
  let suspect = false; // a wrong checksum was met; whether it matters is known at the commit block
  let sum = crcStart; // v1: over all blocks of the transaction but the commit block
  let lastCommit = 0;
  let at = log.start;

  for (let used = 0; used < log.length; ) {
    const block = await log.read(at);
    if (
      block.readUInt32BE(journalHeader.magic) !== journalMagic ||
      block.readUInt32BE(journalHeader.sequence) !== open.sequence
    )
      break;
    const type = block.readUInt32BE(journalHeader.type);
    let consumed = 1;
    if (type === journalBlockType.descriptor) {
      suspect ||= !tailMatches(log, block);
      const tags = parseTags(log, block, at);
      open.tags.push(...tags);
      consumed += tags.length;
      if (used + consumed > log.length) throw log.refused(`transaction ${open.sequence} is longer than the journal`);
      if (log.checksums === 'v1') {
        sum = crc32be(sum, block);
        for (const tag of tags) sum = crc32be(sum, await log.read(tag.block));
      }
    } else if (type === journalBlockType.revoke) {
      suspect ||= !tailMatches(log, block);
      const revoked = parseRevoked(log, block);
      revokedCount += revoked.length;
      if (revokedCount > maxRevoked) throw log.refused(`it revokes more than ${maxRevoked} blocks`);
      for (const target of revoked) open.revoked.push(target);
    } else if (type === journalBlockType.commit) {
      const committed = block.readUInt32BE(commitField.seconds) * two32 + block.readUInt32BE(commitField.seconds + 4);
      if (suspect || !commitMatches(log, block, sum)) {
        // A journal made without being cleared holds old transactions, which a time before the last commit gives away.
        if (committed < lastCommit) break;
        throw log.refused(`transaction ${open.sequence} has a wrong checksum`);
      }
      transactions.push(open);
      open = { sequence: (open.sequence + 1) >>> 0, tags: [], revoked: [] };
      lastCommit = committed;
      sum = crcStart;
    } else {
      break;
    }
    used += consumed;
    at = log.after(at, consumed);
  }
  return { transactions, next: open.sequence };
}

/** Does the copy of a block match its tag? The checksum covers the sequence number, then the block as it is in the log. */
export function copyMatches(log: JournalLog, tag: Tag, sequence: number, copy: Buffer): boolean {
  if (!isChecked(log)) return true;
  const crc = crc32c(crc32cOfU32(log.checksumSeed, sequence, 'big'), copy);
  return log.checksums === 'v3' ? crc === tag.checksum : (crc & 0xffff) === tag.checksum;
}

function parseTags(log: JournalLog, block: Buffer, at: number): Tag[] {
  const isV3 = log.checksums === 'v3';
  // jbd2 journal_tag_bytes(): v2 makes room for a checksum of 16 bits that is then not used.
  const size = isV3 ? tagField.sizeV3 : tagField.size + (log.checksums === 'v2' ? 2 : 0) - (log.sixtyFourBit ? 0 : 4);
  const end = block.length - (isChecked(log) ? tailSize : 0);
  const tags: Tag[] = [];
  for (let offset: number = journalHeader.size; offset + size <= end; ) {
    const flags = isV3 ? block.readUInt32BE(offset + tagField.flags32) : block.readUInt16BE(offset + tagField.flags16);
    tags.push({
      target:
        block.readUInt32BE(offset + tagField.block) +
        (log.sixtyFourBit ? block.readUInt32BE(offset + tagField.blockHigh) * two32 : 0),
      block: log.after(at, tags.length + 1),
      escaped: (flags & tagFlag.escaped) !== 0,
      checksum: isV3
        ? block.readUInt32BE(offset + tagField.checksum32)
        : block.readUInt16BE(offset + tagField.checksum16),
    });
    if (flags & tagFlag.last) break;
    offset += size + (flags & tagFlag.sameUuid ? 0 : uuidSize);
  }
  return tags;
}

function parseRevoked(log: JournalLog, block: Buffer): number[] {
  const size = log.sixtyFourBit ? 8 : 4;
  const used = block.readUInt32BE(revokeField.used);
  if (used > block.length - (isChecked(log) ? tailSize : 0)) throw log.refused(`a revoke block claims ${used} bytes`);
  const revoked: number[] = [];
  for (let at: number = revokeField.records; at + size <= used; at += size) {
    revoked.push(
      log.sixtyFourBit ? block.readUInt32BE(at) * two32 + block.readUInt32BE(at + 4) : block.readUInt32BE(at),
    );
  }
  return revoked;
}

function tailMatches(log: JournalLog, block: Buffer): boolean {
  if (!isChecked(log)) return true;
  const at = block.length - tailSize;
  return crc32cWithout(log.checksumSeed, block, { at, length: tailSize }) === block.readUInt32BE(at);
}

function commitMatches(log: JournalLog, block: Buffer, sum: number): boolean {
  const stored = block.readUInt32BE(commitField.checksum);
  if (isChecked(log)) return crc32cWithout(log.checksumSeed, block, { at: commitField.checksum, length: 4 }) === stored;
  if (log.checksums === 'none') return true;
  const type = block.readUInt8(commitField.checksumType);
  const size = block.readUInt8(commitField.checksumSize);
  return (
    (type === 0 && size === 0 && stored === 0) ||
    (type === checksumTypeCrc32 && size === checksumSizeCrc32 && stored === sum)
  );
}
