/**
 * The records of a dirty log, their checksums verified, and what is in them (as Linux fs/xfs/xfs_log_recover.c,
 * xlog_verify_head(), xlog_recover_process() and xlog_unpack_data()). Main thread.
 */
import { crc32c, crcStart } from '../crc32c.js';
import { basicBlock } from './block-header.js';
import { blocksOf, bytesPerHeader, type LogRecord, maxRecordBlocks, recordField, type XfsLog } from './log.js';
import { type LogEnds, recordsInFlight } from './log-head.js';

/** A dirty part that is larger is left to the kernel: all of it has to be read and summed. */
const maxDirtyBytes = 512 * 1024 * 1024;
const extendedHeader = { cycleData: 4, end: 260 } as const;
const wordsPerHeader = bytesPerHeader / basicBlock;

/** The records from the tail to the head, in order. */
export async function findRecords(log: XfsLog, ends: LogEnds): Promise<readonly LogRecord[]> {
  const { records, torn } = await goodRecords(log, ends);
  if (torn === undefined) return summed(log, records);
  // A power cut tears what was on its way to the disk. The record before it knows the tail of its time.
  const last = records.at(-1);
  if (last === undefined || log.distance(torn, ends.head) > recordsInFlight * maxRecordBlocks)
    throw log.refused(`a record at block ${torn} has a wrong checksum`);
  const again = await goodRecords(log, { head: torn, tail: last.tail });
  if (again.torn !== undefined) throw log.refused(`a record at block ${again.torn} has a wrong checksum`);
  return summed(log, again.records);
}

/** Where the head is looked for a record without a checksum, as mkfs writes it, will do; none is replayed in version 5. */
async function summed(log: XfsLog, records: readonly LogRecord[]): Promise<readonly LogRecord[]> {
  if (log.volume.superblock.version !== 5) return records;
  for (const { block } of records)
    if ((await log.read(block, 1)).readUInt32LE(recordField.checksum) === 0)
      throw log.refused(`a record at block ${block} has no checksum`);
  return records;
}

/** Those up to the first that is damaged, and where that is. */
async function goodRecords(log: XfsLog, { head, tail }: LogEnds): Promise<{ records: LogRecord[]; torn?: number }> {
  const records: LogRecord[] = [];
  const dirty = log.distance(tail, head);
  if (dirty * basicBlock > maxDirtyBytes)
    throw log.refused(`it has ${dirty * basicBlock} bytes, more than are replayed in memory`);
  for (let done = 0; done < dirty; ) {
    const block = log.after(tail, done);
    const header = await log.read(block, 1);
    const record = log.parse(header, block);
    if (record === undefined || blocksOf(record) > dirty - done) return { records, torn: block };
    if (!checksumMatches(await log.read(block, blocksOf(record)), record)) return { records, torn: block };
    log.checkOrigin(header);
    records.push(record);
    done += blocksOf(record);
  }
  return { records };
}

/** Over the header, the extended headers' cycle data and the content, as they are on the disk. Zero: there is none. */
function checksumMatches(bytes: Buffer, { headerBlocks, length }: LogRecord): boolean {
  const stored = bytes.readUInt32LE(recordField.checksum);
  if (stored === 0) return true;
  return [recordField.end, recordField.end32].some((end) => {
    let crc = crc32c(crcStart, bytes.subarray(0, recordField.checksum));
    crc = crc32c(crc, Buffer.alloc(4));
    crc = crc32c(crc, bytes.subarray(recordField.checksum + 4, end));
    for (let i = 1; i < Math.min(headerBlocks, Math.ceil(length / bytesPerHeader)); i++)
      crc = crc32c(crc, bytes.subarray(i * basicBlock, i * basicBlock + extendedHeader.end));
    crc = crc32c(crc, bytes.subarray(headerBlocks * basicBlock, headerBlocks * basicBlock + length));
    return (crc ^ 0xffffffff) >>> 0 === stored;
  });
}

/** What is in a record: the first word of each block, in whose place the turn is written, is put back from the headers. */
export async function readContent(log: XfsLog, record: LogRecord): Promise<Buffer> {
  const { block, headerBlocks, length } = record;
  const bytes = await log.read(block, blocksOf(record));
  const content = Buffer.from(bytes.subarray(headerBlocks * basicBlock, headerBlocks * basicBlock + length));
  for (let i = 0; i * basicBlock + 4 <= length; i++) {
    const header = Math.floor(i / wordsPerHeader);
    if (header >= headerBlocks) throw log.refused(`the record at block ${block} is longer than its headers know`);
    const words = header === 0 ? recordField.cycleData : header * basicBlock + extendedHeader.cycleData;
    bytes.copy(content, i * basicBlock, words + (i % wordsPerHeader) * 4, words + (i % wordsPerHeader) * 4 + 4);
  }
  return content;
}
