/**
 * Finds where the log ends and from where it has to be replayed (as Linux fs/xfs/xfs_log_recover.c, xlog_find_tail()).
 * Main thread.
 *
 * Every block says on which turn around the log it was written, so the head is where that number falls; a clean log ends
 * in an unmount record.
 */
import { basicBlock } from './block-header.js';
import { blocksOf, cycleAt, isRecordHeader, type LogRecord, maxRecordBlocks, type XfsLog } from './log.js';

/** XLOG_MAX_ICLOGS: so many records may be on their way to the disk at once, and so arrive in any order. */
export const recordsInFlight = 8;
/** Blocks that an unmount record takes at most, where no stripes make it longer. */
const shortRecord = 32;
const operation = { flags: 9, unmount: 0x20 } as const;

export interface LogEnds {
  readonly head: number;
  readonly tail: number;
}

/** Undefined when there is nothing to replay. */
export async function findLogEnds(log: XfsLog): Promise<LogEnds | undefined> {
  const found = await findHead(log);
  if (found === undefined) return undefined;
  let head = found;
  let last = await recordBefore(log, head);
  if (log.after(last.block, blocksOf(last)) !== head) {
    head = last.block; // the end of the last record never reached the disk
    last = await recordBefore(log, head);
  }
  return (await isUnmount(log, last)) ? undefined : { head, tail: last.tail };
}

/** The block after the newest; undefined in a log that was never written. */
async function findHead(log: XfsLog): Promise<number | undefined> {
  const first = await cycleOf(log, 0);
  const last = await cycleOf(log, log.blocks - 1);
  if (first === 0) return undefined;
  // All blocks of one turn: the head is at the end, and a hole in it would be of the turn before. Else the head is the
  // first block of the older turn, or the first that was never written (0).
  const whole = first === last;
  let head = whole ? log.blocks : await firstOf(log, last);
  // An unmount is written when all else has reached the disk, so there is no hole to look for before it.
  if (await endsInUnmount(log, head % log.blocks)) return head % log.blocks;
  const older = whole ? last - 1 : last;
  const inFlight = Math.min(log.blocks, recordsInFlight * maxRecordBlocks);
  const beforeEnd = inFlight - head;
  const hole =
    (beforeEnd > 0 ? await firstWithCycle(log, log.blocks - beforeEnd, beforeEnd, older - 1) : undefined) ??
    (await firstWithCycle(log, Math.max(0, head - inFlight), Math.min(head, inFlight), older));
  if (hole !== undefined) head = hole;
  return head % log.blocks;
}

async function cycleOf(log: XfsLog, block: number): Promise<number> {
  return cycleAt(await log.read(block, 1), 0);
}

/** The first block of turn `cycle`, which the last block is of and the first one is not. */
async function firstOf(log: XfsLog, cycle: number): Promise<number> {
  let low = 0;
  let high = log.blocks - 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((await cycleOf(log, middle)) === cycle) high = middle;
    else low = middle;
  }
  return high;
}

async function firstWithCycle(log: XfsLog, from: number, count: number, cycle: number): Promise<number | undefined> {
  if (count === 0) return undefined;
  const bytes = await log.read(from, count);
  for (let i = 0; i < count; i++) if (cycleAt(bytes, i * basicBlock) === cycle) return from + i;
  return undefined;
}

/** The last record that begins before `head`. */
async function recordBefore(log: XfsLog, head: number): Promise<LogRecord> {
  const record = await recordAmong(log, head, maxRecordBlocks);
  if (record === undefined) throw log.refused('no record is found before its end');
  return record;
}

/** The last record that begins in the `count` blocks before `head`. */
async function recordAmong(log: XfsLog, head: number, count: number): Promise<LogRecord | undefined> {
  const from = log.after(head, -count);
  const bytes = await log.read(from, count);
  for (let i = count - 1; i >= 0; i--) {
    if (!isRecordHeader(bytes, i * basicBlock)) continue;
    const record = log.parse(bytes.subarray(i * basicBlock, (i + 1) * basicBlock), log.after(from, i));
    if (record !== undefined) return record;
  }
  return undefined;
}

async function endsInUnmount(log: XfsLog, head: number): Promise<boolean> {
  const record = await recordAmong(log, head, shortRecord);
  return record !== undefined && log.after(record.block, blocksOf(record)) === head && (await isUnmount(log, record));
}

async function isUnmount(log: XfsLog, record: LogRecord): Promise<boolean> {
  if (record.operations !== 1) return false;
  const content = await log.read(log.after(record.block, record.headerBlocks), 1);
  return (content.readUInt8(operation.flags) & operation.unmount) !== 0;
}
