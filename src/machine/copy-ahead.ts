/**
 * Copies what a machine has written while it goes on, before it is frozen, so that it stands still for no more than what it
 * writes meanwhile (contract §4.3). Main thread; the copying is done by a thread that has no vCPU.
 *
 * Pages are protected while none of the machine's requests is under way: a disk that writes into a page by DMA is not seen.
 */
import { setImmediate as nextTurn } from 'node:timers';
import { setImmediate } from 'node:timers/promises';
import { type CopyJob, jobBytes, stopJob } from '../memory/copy-job.js';
import type { PagesAside } from '../memory/pages-aside.js';
import type { GuestRam } from '../memory/ram.js';
import { MemoryCopier } from '../threads/memory-copy.js';
import { inTime, type Limits } from './abortable.js';
import type { DataPaths } from './data-paths.js';
import type { Ownership } from './ownership.js';
import { vcpuPool } from './prewarm.js';

/** Less than this is copied in some milliseconds, while it stands still. */
const worthIt = 8 * 2 ** 20;
const mostRounds = 3;
/** Protected at a time: vCPUs that fault wait for it, and so does the program. */
const slice = 256 * 2 ** 20;

export class CopyAhead {
  readonly #ram: GuestRam;
  readonly #dataPaths: DataPaths;
  /** Until `end`. */
  #copier: MemoryCopier | undefined;
  #job: CopyJob | undefined;
  #copying: Promise<void> | undefined;
  #isClosed = false;

  /** Owned by whoever owns the memory, after that, and before what else could write to it. */
  constructor(ram: GuestRam, dataPaths: DataPaths, owned: Ownership) {
    this.#ram = ram;
    this.#dataPaths = dataPaths;
    owned.own('copy of memory', () => this.#close());
  }

  /**
   * The machine runs, and is frozen next; then `end` is called. Rejects if its devices do not come to rest, or when `signal`
   * aborts. What else goes wrong leaves everything to the freeze, which can do without, or says what is wrong.
   */
  async run(limits: Limits): Promise<void> {
    if (this.#isClosed || !this.#ram.hasWritten(worthIt)) return;
    const copier = await MemoryCopier.start(vcpuPool()).catch(() => undefined);
    if (copier === undefined) return;
    this.#copier = copier;
    let isWhole = false;
    try {
      isWhole = !this.#isClosed && this.#ram.beginCopyAhead() && (await this.#rounds(copier, limits));
    } finally {
      if (!isWhole) this.end();
    }
  }

  /** The machine has been frozen, or will not be. What that has left is freed by the thread that copied, if there was one. */
  end(): void {
    this.#ram.abandonCopyAhead();
    const aside = this.#ram.takeAside();
    const copier = this.#copier;
    this.#copier = undefined;
    if (aside === undefined || aside.parts.length === 0) copier?.[Symbol.dispose]();
    else if (copier === undefined) nextTurn(() => aside.release());
    else void freeElsewhere(copier, aside);
  }

  /** Nobody copies any more. */
  async #close(): Promise<void> {
    this.#isClosed = true;
    if (this.#job !== undefined) stopJob(this.#job);
    await this.#copying?.catch(() => {}); // `run` hears of it
    this.end();
  }

  /** False if there is something that was not copied, and should have been. */
  async #rounds(copier: MemoryCopier, limits: Limits): Promise<boolean> {
    let before = Number.POSITIVE_INFINITY;
    for (let round = 0; round < mostRounds; round++) {
      const job = await this.#protect(limits);
      if (job === undefined || !(await this.#copy(copier, job, limits.signal))) return false;
      const bytes = jobBytes(job);
      if (bytes < worthIt || bytes > before / 2) break; // it writes as fast as this copies
      before = bytes;
    }
    return true;
  }

  /** What was written since the last time; undefined: the machine ends. */
  async #protect(limits: Limits): Promise<CopyJob | undefined> {
    try {
      await inTime(this.#dataPaths.quiesce(), 'the devices still have requests under way', limits);
      for (let at = 0; at < this.#ram.size; at += slice) {
        if (at > 0) await setImmediate();
        if (this.#isClosed) return undefined;
        this.#ram.protect(at, Math.min(slice, this.#ram.size - at));
      }
      return this.#ram.copyAhead();
    } finally {
      await this.#dataPaths.resume();
    }
  }

  async #copy(copier: MemoryCopier, job: CopyJob, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    if (this.#isClosed) return false; // its memory may be gone
    const onAbort = (): void => stopJob(job);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#job = job;
      this.#copying = copier.copy(job);
      await this.#copying;
    } catch {
      return false;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#job = undefined;
    }
    signal?.throwIfAborted();
    return !this.#isClosed;
  }
}

async function freeElsewhere(copier: MemoryCopier, aside: PagesAside): Promise<void> {
  using _ = copier;
  await copier.free(aside).catch(() => {}); // then this thread frees them
  aside.release();
}
