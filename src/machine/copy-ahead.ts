/**
 * Copies what a machine has written while it goes on, before it is frozen, so that it stands still for no more than what it
 * writes meanwhile (contract §4.3). Main thread; the copying is done by a thread that has no vCPU.
 *
 * Pages are protected while none of the machine's requests is under way: a disk that writes into a page by DMA is not seen.
 */
import { type CopyJob, jobBytes, stopJob } from '../memory/copy-job.js';
import type { GuestRam } from '../memory/ram.js';
import { copyOnWorker } from '../threads/memory-copy.js';
import { inTime, type Limits } from './abortable.js';
import type { DataPaths } from './data-paths.js';
import type { Ownership } from './ownership.js';
import { vcpuPool } from './prewarm.js';

/** Less than this is copied in some twenty milliseconds, while it stands still. */
const worthIt = 32 * 2 ** 20;
const mostRounds = 3;

export class CopyAhead {
  readonly #ram: GuestRam;
  readonly #dataPaths: DataPaths;
  #job: CopyJob | undefined;
  #copying: Promise<void> | undefined;
  #isClosed = false;

  constructor(ram: GuestRam, dataPaths: DataPaths, owned: Ownership) {
    this.#ram = ram;
    this.#dataPaths = dataPaths;
    owned.own('copy of memory', () => this.#close());
  }

  /** The machine runs, and is frozen next, or `abandon` is called. Rejects, and nothing is kept, if its devices do not come to rest. */
  async run(limits: Limits): Promise<void> {
    if (this.#ram.written < worthIt || !this.#ram.beginCopyAhead()) return;
    try {
      let before = Number.POSITIVE_INFINITY;
      for (let round = 0; round < mostRounds; round++) {
        const bytes = await this.#round(limits);
        // As much as before: it writes as fast as this copies.
        if (this.#isClosed || bytes < worthIt || bytes > before / 2) return;
        before = bytes;
      }
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  abandon(): void {
    this.#ram.abandonCopyAhead();
  }

  /** Before its memory goes. */
  async #close(): Promise<void> {
    this.#isClosed = true;
    if (this.#job !== undefined) stopJob(this.#job);
    await this.#copying?.catch(() => {}); // `run` hears of it
    this.abandon();
  }

  /** Bytes that were written since the last one, all of them copied. */
  async #round(limits: Limits): Promise<number> {
    const job = await this.#protect(limits);
    if (job === undefined) return 0;
    const { signal } = limits;
    const onAbort = (): void => stopJob(job);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#job = job;
      this.#copying = copyOnWorker(vcpuPool(), job);
      await this.#copying;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#job = undefined;
    }
    signal?.throwIfAborted();
    return jobBytes(job);
  }

  async #protect(limits: Limits): Promise<CopyJob | undefined> {
    try {
      await inTime(this.#dataPaths.quiesce(), 'the devices still have requests under way', limits);
      return this.#isClosed ? undefined : this.#ram.copyAhead();
    } finally {
      await this.#dataPaths.resume();
    }
  }
}
