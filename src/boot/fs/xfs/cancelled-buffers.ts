/**
 * Buffers that were freed while they were in the log. Their copies from before must not be replayed: what lies there now
 * may be a file's content, which is not in the log. Main thread.
 */
import type { XfsLog } from './log.js';

/** More than these are left to the kernel. */
const maxCancelled = 1 << 20;

export class CancelledBuffers {
  readonly #log: XfsLog;
  /** First block, then length, then how many times it was freed: one that is used again in between is replayed from there. */
  readonly #counts = new Map<number, Map<number, number>>();
  #size = 0;

  constructor(log: XfsLog) {
    this.#log = log;
  }

  add(block: number, length: number): void {
    if (++this.#size > maxCancelled) throw this.#log.refused(`it frees more than ${maxCancelled} buffers`);
    const counts = this.#counts.get(block) ?? new Map<number, number>();
    this.#counts.set(block, counts.set(length, (counts.get(length) ?? 0) + 1));
  }

  has(block: number, length: number): boolean {
    return (this.#counts.get(block)?.get(length) ?? 0) > 0;
  }

  /** Whether any buffer that begins at `block` was freed. */
  hasAt(block: number): boolean {
    return [...(this.#counts.get(block)?.values() ?? [])].some((count) => count > 0);
  }

  remove(block: number, length: number): void {
    const counts = this.#counts.get(block);
    counts?.set(length, (counts.get(length) ?? 0) - 1);
  }
}
