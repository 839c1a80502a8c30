/**
 * The log of XFS as a circle of basic blocks, and the headers of the records in it (Linux
 * fs/xfs/libxfs/xfs_log_format.h). What frames records is big-endian; what is in them is as the machine that wrote it.
 * Main thread.
 */
import { repairCommand } from '../../disk/slice.js';
import { notReadable } from '../damage.js';
import { readU64BE } from '../numbers.js';
import { basicBlock } from './block-header.js';
import type { XfsVolume } from './volume.js';

export const recordField = {
  magic: 0,
  cycle: 4,
  version: 8,
  length: 12,
  lsn: 16,
  tailLsn: 24,
  checksum: 32,
  operations: 40,
  cycleData: 44,
  format: 300,
  uuid: 304,
  uuidEnd: 320,
  size: 320,
  /** Where the checksum of the header ends: on 32-bit x86 the structure has no padding. */
  end: 328,
  end32: 324,
} as const;
const field = recordField;

const recordMagic = 0xfeedbabe;
const formatLinuxLittleEndian = 1;
const version2 = 2;
const knownVersions = 3;
/** Bytes of a record whose cycle data one header block holds. */
export const bytesPerHeader = 32 * 1024;
/** XLOG_MAX_RECORD_BSIZE */
export const maxRecordBytes = 256 * 1024;
/** Header blocks and content of the largest record. */
export const maxRecordBlocks = maxRecordBytes / bytesPerHeader + maxRecordBytes / basicBlock;

export interface LogRecord {
  /** Where its header is. */
  readonly block: number;
  /** Which turn around the log and which block in it, as one number that grows: exact for 2 million turns. */
  readonly lsn: number;
  /** The block from which replay has to begin, as it was when this record was written. */
  readonly tail: number;
  readonly headerBlocks: number;
  /** Bytes of content. */
  readonly length: number;
  readonly operations: number;
}

/** Log sequence numbers as plain numbers; one that is not exact is newer than all others. */
export const readLsn = (bytes: Buffer, at: number): number => readU64BE(bytes, at) ?? Number.POSITIVE_INFINITY;

export const isRecordHeader = (bytes: Buffer, at = 0): boolean => bytes.readUInt32BE(at) === recordMagic;

/** On which turn around the log the block at `at` was written: its first word, but in headers the second. */
export const cycleAt = (bytes: Buffer, at: number): number =>
  bytes.readUInt32BE(isRecordHeader(bytes, at) ? at + 4 : at);

export class XfsLog {
  readonly volume: XfsVolume;
  /** Basic blocks. */
  readonly blocks: number;
  readonly #start: number;

  constructor(volume: XfsVolume) {
    const { logStart, logBlocks, blockSize } = volume.superblock;
    this.volume = volume;
    this.#start = volume.blockAt(logStart, 'the log', Math.max(1, logBlocks)) * blockSize;
    this.blocks = (logBlocks * blockSize) / basicBlock;
    if (this.blocks < maxRecordBlocks) throw volume.damaged(`a log of ${this.blocks * basicBlock} bytes`);
  }

  /** `count` blocks from `block`, around the end. */
  async read(block: number, count: number): Promise<Buffer> {
    const first = Math.min(count, this.blocks - block);
    const bytes = await this.volume.readBytes(this.#start + block * basicBlock, first * basicBlock);
    if (first === count) return bytes;
    return Buffer.concat([bytes, await this.volume.readBytes(this.#start, (count - first) * basicBlock)]);
  }

  /** The block `count` after `block`, which may be negative for one before it. */
  after(block: number, count: number): number {
    return (block + count + this.blocks) % this.blocks;
  }

  /** How many blocks there are from one to the next; a whole turn when they are the same. */
  distance(from: number, to: number): number {
    return from < to ? to - from : to - from + this.blocks;
  }

  /** The record whose header is `bytes`; undefined when that is none that can be read. */
  parse(bytes: Buffer, block: number): LogRecord | undefined {
    const version = bytes.readUInt32BE(field.version);
    const length = bytes.readUInt32BE(field.length);
    const tail = bytes.readUInt32BE(field.tailLsn + 4);
    if (!isRecordHeader(bytes) || version === 0 || version > knownVersions) return undefined;
    if (length === 0 || length > maxRecordBytes || tail >= this.blocks) return undefined;
    const size = version & version2 ? bytes.readUInt32BE(field.size) : 0;
    if (size > maxRecordBytes) return undefined;
    return {
      block,
      lsn: readLsn(bytes, field.lsn),
      tail,
      headerBlocks: Math.max(1, Math.ceil(size / bytesPerHeader)),
      length,
      operations: bytes.readUInt32BE(field.operations),
    };
  }

  /** Throws when the records of this log were written for another file system or by a big-endian machine. */
  checkOrigin(header: Buffer): void {
    if (header.readUInt32BE(field.format) !== formatLinuxLittleEndian)
      throw this.refused('it was written by a machine with another byte order');
    if (!header.subarray(field.uuid, field.uuidEnd).equals(this.volume.superblock.uuidBytes))
      throw this.refused('it belongs to another file system');
  }

  /** The log cannot be replayed in memory. The kernel may still be able to; if not, what only the log knows is lost. */
  refused(why: string): Error {
    return notReadable(
      `xfs: the file system was not unmounted cleanly and its log cannot be replayed in memory: ${why}`,
      `Mount and unmount it once. If that fails too, do without what only the log knows: ${repairCommand(this.volume.image, 'xfs_repair -L')}`,
    );
  }
}

/** Blocks that a record takes. */
export const blocksOf = ({ headerBlocks, length }: LogRecord): number => headerBlocks + Math.ceil(length / basicBlock);
