/**
 * Buffers that were freed while they were in the log. Their copies from before must not be replayed: what lies there now
 * may be a file's content, which is not in the log. Main thread.
 */
import { basicBlock } from './block-header.js';
import type { XfsLog } from './log.js';

/** More than these are left to the kernel. */
const maxCancelled = 1 << 17;
/** Lengths of buffers, up to 64 KiB, and none. */
const lengths = 129;

export class CancelledBuffers {
  readonly #log: XfsLog;
  /** How many times a buffer was freed: one that is used again in between is replayed from there. */
  readonly #counts = new Map<number, number>();
  /** The same for all buffers that begin at a block. */
  readonly #countsAt = new Map<number, number>();
  readonly #blocks: number;
  #size = 0;

  constructor(log: XfsLog) {
    this.#log = log;
    this.#blocks = log.volume.size / basicBlock;
  }

  add(block: number, length: number): void {
    if (++this.#size > maxCancelled) throw this.#log.refused(`it frees more than ${maxCancelled} buffers`);
    if (!this.#isInside(block, length)) throw this.#log.refused(`it frees a buffer at ${block}`);
    this.#count(block, length, 1);
  }

  has(block: number, length: number): boolean {
    return this.#isInside(block, length) && (this.#counts.get(key(block, length)) ?? 0) > 0;
  }

  /** Whether any buffer that begins at `block` was freed. */
  hasAt(block: number): boolean {
    return (this.#countsAt.get(block) ?? 0) > 0;
  }

  remove(block: number, length: number): void {
    if (this.has(block, length)) this.#count(block, length, -1);
  }

  #isInside(block: number, length: number): boolean {
    return block >= 0 && block < this.#blocks && length >= 0 && length < lengths;
  }

  #count(block: number, length: number, change: 1 | -1): void {
    this.#counts.set(key(block, length), (this.#counts.get(key(block, length)) ?? 0) + change);
    this.#countsAt.set(block, (this.#countsAt.get(block) ?? 0) + change);
  }
}

/** Exact: what lies inside a disk is a small number. */
const key = (block: number, length: number): number => block * lengths + length;
