/** What main and a machine's pager say to each other: two closed unions. Both sides. */
import type { RamRange } from '../memory/page-blocks.js';

/** How the worker is started. Plain data; descriptors and memory are main's, who waits for this thread's end. */
export interface PagerData {
  /** Of userfaultfd. */
  readonly faults: number;
  /** A file without a byte (`cutOff`). */
  readonly empty: number;
  /** All of RAM, of this process. */
  readonly address: number;
  readonly size: number;
  /** What the source has, in blocks of at most this size. */
  readonly ranges: readonly RamRange[];
  readonly blockSize: number;
  /** For one block. */
  readonly timeoutMs: number;
  readonly state: SharedArrayBuffer;
}

/** Words of `PagerData.state`: why memory was taken away, for which block, and a bit for each block that is there. */
export const PagerWord = { failure: 0, failedBlock: 1, blocks: 2 } as const;

/** Whether that block is there, by `PagerData.state` as words. */
export const isBlockThere = (words: Int32Array, block: number): boolean =>
  (Atomics.load(words, PagerWord.blocks + (block >>> 5)) & (1 << (block & 31))) !== 0;

/** 0: none; a negative one is the -errno with which the host could not supply a page. */
export const late = 1;

/** Main -> pager */
export type PagerCommand =
  /** The answer to `wanted`. */
  | { readonly type: 'block'; readonly block: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** Fetches what of this part of RAM is not there yet. */
  | { readonly type: 'load'; readonly id: number; readonly range: RamRange }
  | { readonly type: 'end' };

/** Pager -> main */
export type PagerReport =
  | { readonly type: 'wanted'; readonly block: number }
  | { readonly type: 'loaded'; readonly id: number }
  /** Memory was taken away, as the words say. */
  | { readonly type: 'failed' };
