/**
 * Files with holes: where their data is, and how one is written that has holes where there are zeroes, with the digests of
 * its chunks. Main thread, which only looks for zeroes; libuv's threads read, hash and write.
 */
import { setSize } from '../disk/file-calls.js';
import { sha256Later } from '../host/digest.js';
import { Sys, syscall } from '../host/system.js';
import { writeFully } from './file-io.js';
import { inTurn } from './in-turn.js';
import { chunkSize, chunksIn, digestSize, pageSize } from './manifest.js';
import type { Progress } from './progress.js';

const SEEK_DATA = 3;
const ENXIO = 6;

/** Where a file has data (lseek(2)); a file system that cannot say so has it everywhere. */
export class DataFinder {
  readonly #fd: number;
  /** From the first to the second there is nothing. */
  #from = 0;
  #next = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** False: all of [start, end) reads as zeroes. */
  hasData(start: number, end: number): boolean {
    if (start < this.#from || end > this.#next) {
      const found = syscall(Sys.lseek, this.#fd, start, SEEK_DATA);
      this.#from = start;
      this.#next = found === -ENXIO ? Number.POSITIVE_INFINITY : found < 0 ? start : found;
    }
    return this.#next < end;
  }
}

/** The content of a file that is to be, by its chunks. */
export interface ChunkSource {
  readonly size: number;
  /** Nothing but zeroes: known without reading it. */
  isHole(index: number): boolean;
  /** Fills `into`, which is as long as the chunk. */
  read(index: number, into: Buffer): Promise<void>;
}

export interface SparseTarget {
  readonly fd: number;
  /** Where in the file the content begins. */
  readonly offset?: number;
  /** Room for a digest of each chunk; that of one that is all zeroes stays zero. */
  readonly hashes?: Uint8Array;
}

const zeroes = Buffer.alloc(chunkSize);

/** Whether [start, end) of a chunk is zero; `end` - `start` is at most a chunk. */
const isZero = (bytes: Buffer, start: number, end: number): boolean =>
  bytes.compare(zeroes, 0, end - start, start, end) === 0;

/** Makes an empty file as large as `source` needs it and writes what is not zero there. */
export async function writeSparse(target: SparseTarget, source: ChunkSource, progress: Progress): Promise<void> {
  const { fd, offset = 0, hashes } = target;
  await setSize(fd, offset + source.size);
  await inTurn(
    chunksIn(source.size),
    () => Buffer.allocUnsafeSlow(chunkSize),
    async (index, buffer) => {
      const chunk = chunkOf(source.size, index, buffer);
      if (!source.isHole(index)) {
        await source.read(index, chunk);
        await Promise.all([
          writePages(fd, chunk, offset + index * chunkSize),
          hashes && digestInto(hashes, index, chunk),
        ]);
      }
      progress.advance(chunk.length);
    },
    progress.signal,
  );
}

/** The part of a buffer that a chunk takes: the last one of a file may be shorter. */
export const chunkOf = (size: number, index: number, buffer: Buffer): Buffer =>
  buffer.subarray(0, Math.min(chunkSize, size - index * chunkSize));

/** Writes each run of pages that are not zero. */
async function writePages(fd: number, chunk: Buffer, at: number): Promise<void> {
  let start = 0; // of the run
  for (let page = 0; page < chunk.length; page += pageSize) {
    const end = Math.min(page + pageSize, chunk.length);
    if (!isZero(chunk, page, end)) continue;
    if (page > start) await writeFully(fd, chunk.subarray(start, page), at + start);
    start = end;
  }
  if (chunk.length > start) await writeFully(fd, chunk.subarray(start), at + start);
}

async function digestInto(hashes: Uint8Array, index: number, chunk: Buffer): Promise<void> {
  const digest = await digestOf(chunk);
  if (digest !== undefined) hashes.set(digest, index * digestSize);
}

/** The digest of a chunk, which a chunk of zeroes does not have. */
export const digestOf = async (chunk: Buffer): Promise<Buffer | undefined> =>
  isZero(chunk, 0, chunk.length) ? undefined : sha256Later(chunk);
