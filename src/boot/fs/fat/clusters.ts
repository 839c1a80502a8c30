/**
 * The file allocation table, and the bytes of a chain of clusters. Main thread.
 *
 * A chain is followed only as far as its reader needs it and never around a loop: the walk keeps one earlier cluster,
 * moved on at powers of two (Brent's cycle detection), and meeting it again is damage.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { damaged } from '../damage.js';
import type { FatLayout } from './boot-sector.js';

export interface ClusterRun {
  /** Bytes from the start of the file system. */
  readonly start: number;
  readonly length: number;
}

interface Window {
  readonly start: number;
  readonly bytes: Buffer;
}

const firstCluster = 2;
/** How much of the table is looked at without going back to the cache. A FAT12 table is smaller, so no entry lies across two. */
const windowSize = 16 * 1024;
/** From these values on an entry is "bad cluster" or "end of chain". */
const marks = {
  12: { bad: 0xff7, end: 0xff8 },
  16: { bad: 0xfff7, end: 0xfff8 },
  32: { bad: 0x0ffffff7, end: 0x0ffffff8 },
} as const;
const mask32 = 0x0fffffff;
/** The largest single read of content. */
const maxReadBytes = 8 * 1024 * 1024;

export class Clusters {
  readonly layout: FatLayout;
  readonly #reader: BlockReader;
  /** A piece of the table, replaced as a whole: chains may be followed at the same time. */
  #window: Window = { start: 0, bytes: Buffer.alloc(0) };

  constructor(reader: BlockReader, layout: FatLayout) {
    this.#reader = reader;
    this.layout = layout;
  }

  /** The chain from `first`, neighbours joined, up to `maxBytes`. It may be shorter. `what` names its owner. */
  async *runs(first: number, maxBytes: number, what: string): AsyncGenerator<ClusterRun> {
    const { clusterSize, clusterCount, dataStart, bits } = this.layout;
    let run: { start: number; length: number } | undefined;
    let earlier = 0;
    let steps = 0;
    let nextMark = 1;
    let left = maxBytes;
    for (let cluster = first; left > 0; ) {
      if (cluster < firstCluster || cluster >= clusterCount + firstCluster)
        throw this.damaged(`${what}: its chain leads to cluster ${cluster} of ${clusterCount}`);
      if (cluster === earlier) throw this.damaged(`${what}: its chain of clusters is a loop`);
      if (++steps === nextMark) {
        earlier = cluster;
        nextMark *= 2;
      }
      const start = dataStart + (cluster - firstCluster) * clusterSize;
      if (run && run.start + run.length === start && run.length < maxReadBytes) {
        run.length += clusterSize;
      } else {
        if (run) yield run;
        run = { start, length: clusterSize };
      }
      left -= clusterSize;
      if (left <= 0) break; // what follows is not needed, and a damaged rest does no harm
      cluster = this.#entry(cluster) ?? (await this.#load(cluster)); // waiting for each one would cost most of the time
      if (cluster >= marks[bits].end) break;
      if (cluster === marks[bits].bad || cluster < firstCluster)
        throw this.damaged(`${what}: its chain leads to ${cluster === 0 ? 'a free cluster' : 'a bad one'}`);
    }
    if (run) yield run;
  }

  readInto(start: number, into: Uint8Array): Promise<void> {
    return this.#reader.readInto(start, into);
  }

  readAt(start: number, length: number): Promise<Buffer> {
    return this.#reader.read(start, length);
  }

  damaged(what: string): Error {
    return damaged(`FAT: ${what}`);
  }

  /** The table's entry for `cluster`; undefined when it is not in `window`. */
  #entry(cluster: number, window: Window = this.#window): number | undefined {
    const { bits } = this.layout;
    const at = this.#place(cluster) - window.start;
    if (at < 0 || at + Math.ceil(bits / 8) > window.bytes.length) return undefined;
    if (bits === 32) return window.bytes.readUInt32LE(at) & mask32;
    const pair = window.bytes.readUInt16LE(at);
    if (bits === 16) return pair;
    return cluster & 1 ? pair >>> 4 : pair & 0xfff; // one and a half bytes each
  }

  /** Byte of the table where the entry for `cluster` begins, for FAT12 perhaps in the middle of a byte. */
  #place(cluster: number): number {
    return Math.floor((cluster * this.layout.bits) / 8);
  }

  async #load(cluster: number): Promise<number> {
    const { fatStart, fatSize } = this.layout;
    const start = Math.floor(this.#place(cluster) / windowSize) * windowSize;
    const bytes = await this.#reader.read(fatStart + start, Math.min(windowSize, fatSize - start));
    const window = { start, bytes };
    this.#window = window;
    const entry = this.#entry(cluster, window);
    if (entry === undefined) throw this.damaged(`the table has no entry for cluster ${cluster}`);
    return entry;
  }
}
