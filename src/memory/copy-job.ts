/**
 * Pages that threads copy out of a machine's memory into a file, each taking the next chunk. Any thread.
 *
 * While the machine stands still the threads of its vCPUs have nothing else to do.
 */
import { native } from '../host/addon.js';
import { clearLayer, writeLayer } from './layer.js';
import type { Run } from './runs.js';

const pageSize = 4096;
/** Bytes copied at a time: they stay in the cache between being read, looked at and written. */
export const chunkSize = 0x4_0000;

/** Plain data: posted to workers. */
export interface CopyJob {
  /** Of offset 0 in memory, which is copied to offset 0 of the file. */
  readonly address: number;
  readonly fd: number;
  /** Offset and length of each chunk, in doubles. */
  readonly chunks: Float64Array<SharedArrayBuffer>;
  /** The number of the next one. */
  readonly next: Int32Array<SharedArrayBuffer>;
  /** Something else may be in the file already. */
  readonly again: boolean;
}

export function copyJob(address: number, fd: number, runs: readonly Run[], again = false): CopyJob {
  const count = runs.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / chunkSize), 0);
  const chunks = new Float64Array(new SharedArrayBuffer(16 * count));
  let at = 0;
  for (const { start, end } of runs)
    for (let offset = start; offset < end; offset += chunkSize) {
      chunks[at++] = offset;
      chunks[at++] = Math.min(chunkSize, end - offset);
    }
  return { address, fd, chunks, next: new Int32Array(new SharedArrayBuffer(4)), again };
}

/** All that is to be copied. */
export function jobBytes({ chunks }: CopyJob): number {
  let bytes = 0;
  for (let i = 1; i < chunks.length; i += 2) bytes += chunks[i]!;
  return bytes;
}

/** Chunks that nobody has begun stay as they are. */
export const stopJob = ({ next, chunks }: CopyJob): void => void Atomics.store(next, 0, chunks.length / 2);

/** Copies up to `bytes`; true when there is no chunk left to begin, which others may still be at. */
export function copySome(
  { address, fd, chunks, next, again }: CopyJob,
  buffer: Buffer,
  bytes = Number.POSITIVE_INFINITY,
): boolean {
  const count = chunks.length / 2;
  for (let left = bytes; left > 0; ) {
    const chunk = Atomics.add(next, 0, 1);
    if (chunk >= count) return true;
    const length = chunks[2 * chunk + 1]!;
    copyPages(address, fd, chunks[2 * chunk]!, buffer.subarray(0, length), again);
    left -= length;
  }
  return Atomics.load(next, 0) >= count;
}

/** By way of `buffer`, as much as that has. Pages of zeroes are holes; `again`: also where something else is already. */
export function copyPages(address: number, fd: number, offset: number, buffer: Buffer, again: boolean): void {
  if (again) clearLayer(fd, offset, buffer.length);
  native().copyOut(address + offset, buffer);
  let from = -1;
  for (let at = 0; at < buffer.length; at += pageSize) {
    const isHole = zeroPage.equals(buffer.subarray(at, at + pageSize));
    if (isHole && from >= 0) writeLayer(fd, buffer.subarray(from, at), offset + from);
    if (isHole) from = -1;
    else if (from < 0) from = at;
  }
  if (from >= 0) writeLayer(fd, buffer.subarray(from), offset + from);
}

const zeroPage = Buffer.alloc(pageSize);
