/**
 * Puts the operations of the log's records together to transactions (as Linux fs/xfs/xfs_log_recover.c,
 * xlog_recover_process_data()). Main thread.
 *
 * A transaction has items, an item has regions, and each region is an operation, or several where it did not fit the rest
 * of a record.
 */
import type { LogRecord, XfsLog } from './log.js';
import { readContent } from './log-records.js';

const operation = { transaction: 0, length: 4, client: 8, flags: 9, size: 12 } as const;
const clients = { transaction: 0x69, log: 0xaa } as const;
const flag = { start: 0x1, commit: 0x2, continued: 0x8 } as const;
/** Every transaction begins with its header, which may be split like any region. In the machine's byte order. */
const header = { magic: 0x5452414e, size: 16 } as const; // "TRAN"
/** The first region of every item tells how many regions it has. */
const regionCount = 2;
const maxRegions = 257;
/** No region is larger than a block, or the value of an attribute, of 64 KiB and its header. */
const maxRegionBytes = 128 * 1024;
/** Bytes held of transactions that are not committed yet; a log full of them beyond this is left to the kernel. */
const maxOpenBytes = 128 * 1024 * 1024;
/** What a region costs besides its content. */
const regionCost = 256;

export interface LogItem {
  readonly total: number;
  readonly regions: Buffer[];
}

export interface Transaction {
  /** Of the record that it begins in. */
  readonly lsn: number;
  readonly items: LogItem[];
}

interface OpenTransaction extends Transaction {
  header: Buffer;
  /** Of the last region, where it did not come whole. */
  parts: Buffer[];
  partBytes: number;
  /** Held for it. */
  bytes: number;
}

/** The committed transactions in `records`, in the order of their commits. */
export async function* transactionsOf(log: XfsLog, records: readonly LogRecord[]): AsyncGenerator<Transaction> {
  const open = new Map<number, OpenTransaction>();
  let openBytes = 0;
  for (const record of records) {
    const content = await readContent(log, record);
    const bad = (what: string) => log.refused(`the record at block ${record.block} has ${what}`);
    let at = 0;
    for (let left = record.operations; left > 0 && at < content.length; left--) {
      if (at + operation.size > content.length) throw bad('an operation that is cut off');
      const id = content.readUInt32BE(at + operation.transaction);
      const length = content.readUInt32BE(at + operation.length);
      const client = content.readUInt8(at + operation.client);
      const flags = content.readUInt8(at + operation.flags);
      at += operation.size;
      if (length > content.length - at) throw bad(`an operation of ${length} bytes`);
      if (client !== clients.transaction && client !== clients.log) throw bad(`an operation of client ${client}`);
      const data = content.subarray(at, at + length);
      at += length;
      if (flags & flag.start) {
        if (open.has(id)) throw bad('the start of a transaction that has begun');
        open.set(id, {
          lsn: record.lsn,
          items: [],
          header: Buffer.alloc(0),
          parts: [],
          partBytes: 0,
          bytes: regionCost,
        });
        openBytes += regionCost;
      }
      const transaction = open.get(id);
      if (transaction === undefined) continue; // it began before the tail: all of it is on the disk
      if (flags & flag.commit) {
        open.delete(id);
        openBytes -= transaction.bytes;
        join(transaction);
        yield transaction;
      } else if (length > 0) {
        // A copy: a small region does not keep its whole record.
        add(transaction, Buffer.from(data), (flags & flag.continued) !== 0, bad);
        transaction.bytes += length + regionCost;
        openBytes += length + regionCost;
      }
      if (openBytes > maxOpenBytes) throw bad('more in open transactions than is replayed in memory');
    }
  }
}

/** Adds the data of one operation to a transaction. */
function add(transaction: OpenTransaction, data: Buffer, continued: boolean, bad: (what: string) => Error): void {
  const { items } = transaction;
  if (transaction.header.length < header.size) {
    transaction.header = Buffer.concat([transaction.header, data]);
    if (transaction.header.length > header.size) throw bad('a transaction without a header');
    if (transaction.header.length === header.size && transaction.header.readUInt32LE(0) !== header.magic)
      throw bad('a transaction without a header');
    return;
  }
  let item = items.at(-1);
  if (continued && transaction.parts.length > 0) {
    transaction.partBytes += data.length;
    if (transaction.partBytes > maxRegionBytes) throw bad(`a region of more than ${maxRegionBytes} bytes`);
    transaction.parts.push(data);
    return;
  }
  join(transaction);
  if (item === undefined || item.regions.length === item.total) {
    const total = data.length >= regionCount + 2 ? data.readUInt16LE(regionCount) : 0;
    if (total === 0 || total > maxRegions) throw bad(`an item of ${total} regions`);
    item = { total, regions: [] };
    items.push(item);
  }
  item.regions.push(data);
  transaction.parts = [data];
  transaction.partBytes = data.length;
}

/** The last region is complete. Its parts, of which there may be one for each byte, are put together only now. */
function join({ items, parts }: OpenTransaction): void {
  const regions = items.at(-1)?.regions;
  if (regions !== undefined && parts.length > 1) regions[regions.length - 1] = Buffer.concat(parts);
  parts.length = 0;
}
