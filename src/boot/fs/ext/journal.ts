/**
 * Replays a dirty journal in memory: which blocks have a newer copy in the log. Main thread.
 *
 * As fs/jbd2/recovery.c: transactions in order, a later copy replaces an earlier one, and a revoke record keeps copies of
 * its own and earlier transactions from being replayed. Nothing is written; the guest replays its journal itself.
 */
import { JournalLog } from './journal-log.js';
import { copyMatches, scanLog, type Transaction } from './journal-scan.js';
import type { ExtVolume, JournalCopy } from './volume.js';

export interface Replay {
  readonly replayed: ReadonlyMap<number, JournalCopy>;
  readonly note: string;
}

/** A fast commit area begins with this tag (fs/ext4/fast_commit.h EXT4_FC_TAG_HEAD): tag, length, features, tid; little-endian. */
const fastCommitHead = { tag: 9, tidOffset: 8 } as const;

/** Rejects, naming e2fsck, when the journal cannot be replayed as the kernel would. */
export async function replayJournal(volume: ExtVolume): Promise<Replay> {
  const log = await JournalLog.open(volume);
  if (log.start === 0)
    return { replayed: new Map(), note: 'the file system was not unmounted cleanly; its journal is empty' };
  const { transactions, next } = await scanLog(log);
  await refuseFastCommits(log, next);
  const replayed = await newestCopies(log, transactions);
  const errors = log.markedWithErrors ? '; the journal recorded an error' : '';
  return {
    replayed,
    note: `the file system was not unmounted cleanly: ${transactions.length} journal transactions with ${replayed.size} blocks were replayed in memory${errors}`,
  };
}

async function newestCopies(log: JournalLog, transactions: readonly Transaction[]): Promise<Map<number, JournalCopy>> {
  const { blocksCount } = log.volume.superblock;
  const revokedAt = new Map<number, number>();
  for (const [i, { revoked }] of transactions.entries()) for (const block of revoked) revokedAt.set(block, i);
  const newest = new Map<number, JournalCopy>();
  for (const [i, { tags, sequence }] of transactions.entries()) {
    for (const tag of tags) {
      if ((revokedAt.get(tag.target) ?? -1) >= i) continue;
      if (tag.target >= blocksCount)
        throw log.refused(`transaction ${sequence} writes block ${tag.target} of ${blocksCount}`);
      if (!copyMatches(log, tag, sequence, await log.read(tag.block)))
        throw log.refused(`the copy of block ${tag.target} in transaction ${sequence} has a wrong checksum`);
      newest.set(tag.target, { block: log.physical(tag.block), escaped: tag.escaped });
    }
  }
  return newest;
}

/** Fast commits say what was done instead of what blocks became; doing it again is left to e2fsck and the kernel. */
async function refuseFastCommits(log: JournalLog, next: number): Promise<void> {
  if (!log.hasFastCommits) return;
  // jbd2 journal_load_superblock(): the area begins one block after the end of the log.
  const first = await log.read(log.end + 1);
  if (first.readUInt16LE(0) === fastCommitHead.tag && first.readUInt32LE(fastCommitHead.tidOffset) === next)
    throw log.refused('it ends in fast commits');
}
