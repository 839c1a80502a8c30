/**
 * Replays a dirty log in memory: which basic blocks have newer contents in it. Main thread.
 *
 * As fs/xfs/xfs_log_recover.c: transactions in order, twice. The first pass finds the buffers that were freed, whose
 * older copies must not be replayed; the second replays buffers, then inodes. Nothing is written; the guest replays its
 * log itself.
 */
import { CancelledBuffers } from './cancelled-buffers.js';
import { XfsLog } from './log.js';
import { findLogEnds } from './log-head.js';
import { findRecords } from './log-records.js';
import { type LogItem, type Transaction, transactionsOf } from './log-transactions.js';
import { parseBufferItem, replayBuffer } from './replay-buffer.js';
import { replayInode, replayNewInodes } from './replay-inode.js';
import { ReplayedBlocks } from './replayed-blocks.js';
import type { Overlay, XfsVolume } from './volume.js';

export interface Replay {
  readonly overlay: Overlay;
  readonly notes: readonly string[];
}

/** The types of items (XFS_LI_*), which their first two bytes give. */
const itemType = {
  first: 0x1236,
  inode: 0x123b,
  buffer: 0x123c,
  newInodes: 0x123f,
  mapIntent: 0x1244,
  mapDone: 0x1245,
  exchangeIntent: 0x1248,
  exchangeDone: 0x1249,
  last: 0x124f,
} as const;
/** Where intents, and what says that they are done, have their number. */
const intentNumber = { at: 8, end: 16 } as const;
/** Of files being cloned or exchanged at the same time. */
const maxIntents = 1 << 16;
/** Features of the log (`sb_features_log_incompat`): changes of attributes, which are not read. */
const knownLogFeatures = 0x1;

/** Rejects, naming the remedy, when the log cannot be replayed as the kernel would. */
export async function replayLog(volume: XfsVolume): Promise<Replay> {
  if (volume.superblock.logStart === 0)
    return { overlay: new Map(), notes: ['its log is on another device and was not looked at'] };
  const log = new XfsLog(volume);
  const ends = await findLogEnds(log);
  if (ends === undefined) return { overlay: new Map(), notes: [] };
  if (volume.superblock.logFeatures & ~knownLogFeatures) throw log.refused('it has features that are not known');
  const records = await findRecords(log, ends);

  const cancelled = new CancelledBuffers(log);
  for await (const transaction of transactionsOf(log, records)) {
    for (const item of complete(log, transaction)) {
      if (typeOf(item) !== itemType.buffer) continue;
      const buffer = parseBufferItem(log, item);
      if (buffer.isCancel) cancelled.add(buffer.block, buffer.length);
    }
  }
  const blocks = new ReplayedBlocks(log);
  const intents = new Intents(log);
  let count = 0;
  for await (const transaction of transactionsOf(log, records)) {
    await replay(log, blocks, cancelled, transaction);
    intents.follow(transaction);
    count++;
  }
  const notes = [
    `the file system was not unmounted cleanly: ${count} log transactions with ${blocks.overlay.size} blocks of 512 bytes were replayed in memory`,
  ];
  if (intents.size > 0) notes.push('files were being cloned or exchanged when it stopped, which is left to the guest');
  return { overlay: blocks.overlay, notes };
}

const typeOf = (item: LogItem): number => item.regions[0]!.readUInt16LE(0);

function complete(log: XfsLog, { items }: Transaction): readonly LogItem[] {
  for (const item of items) {
    const type = typeOf(item);
    if (item.regions.length !== item.total) throw log.refused('an item is not complete');
    if (type < itemType.first || type > itemType.last)
      throw log.refused(`items of type 0x${type.toString(16)} are not known`);
  }
  return items;
}

/** In the order of xlog_recover_reorder_trans(): buffers and new inodes, inodes, and at last what was freed. */
async function replay(
  log: XfsLog,
  blocks: ReplayedBlocks,
  cancelled: CancelledBuffers,
  { items, lsn }: Transaction,
): Promise<void> {
  const buffers = items.filter((item) => typeOf(item) === itemType.buffer).map((item) => parseBufferItem(log, item));
  for (const item of items)
    if (typeOf(item) === itemType.newInodes) await replayNewInodes(log, blocks, cancelled, item);
  for (const buffer of buffers)
    if (!buffer.isCancel && !cancelled.has(buffer.block, buffer.length)) await replayBuffer(log, blocks, buffer, lsn);
  for (const item of items) if (typeOf(item) === itemType.inode) await replayInode(log, blocks, cancelled, item, lsn);
  for (const buffer of buffers) if (buffer.isCancel) cancelled.remove(buffer.block, buffer.length);
}

/** Intents that change where files have their blocks, and are not done yet; others concern only free space and attributes. */
class Intents {
  readonly #log: XfsLog;
  /** Numbers of 64 bits: they are addresses in the memory of the kernel that logged them. */
  readonly #open = { map: new Set<bigint>(), exchange: new Set<bigint>() };

  constructor(log: XfsLog) {
    this.#log = log;
  }

  get size(): number {
    return this.#open.map.size + this.#open.exchange.size;
  }

  follow({ items }: Transaction): void {
    for (const item of items) {
      const type = typeOf(item);
      const isIntent = type === itemType.mapIntent || type === itemType.exchangeIntent;
      if (!isIntent && type !== itemType.mapDone && type !== itemType.exchangeDone) continue;
      const [what] = item.regions;
      if (what === undefined || what.length < intentNumber.end) throw this.#log.refused('an intent that is cut off');
      const number = what.readBigUInt64LE(intentNumber.at);
      const open = type <= itemType.mapDone ? this.#open.map : this.#open.exchange;
      if (isIntent) open.add(number);
      else open.delete(number);
      if (this.size > maxIntents) throw this.#log.refused(`it has more than ${maxIntents} intents that are not done`);
    }
  }
}
