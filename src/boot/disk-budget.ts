/**
 * What looking at one disk may cost, all of it together. Main thread.
 *
 * Partition tables, file systems and boot configurations come out of an image that a guest may have written, and are read
 * on the thread of the program around the machine. Readers and loaders bound each single step; here is what all their steps
 * may come to, so that many cheap ones cannot add up to hours or gigabytes. Whoever is past a limit ends: the same error is
 * thrown from then on at every step, also at the last one, so that no `catch` on the way makes it a mere note.
 *
 * Memory and look-ups are counted, so that the same image always gives the same answer. Time is the net under them: it
 * counts work, not waiting for the disk. Real disks use less than a hundredth of each limit.
 */
import { setImmediate } from 'node:timers/promises';
import type { BlockReader } from '../disk/block-reader.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';

export const diskLimits = {
  /** Work, in milliseconds. */
  work: 10_000,
  /** Reads of all readers, most of them answered from the cache. */
  reads: 1 << 22,
  /** Paths looked up. */
  lookups: 1 << 16,
  /** Bytes of configurations and other files that were read as text. */
  text: 32 << 20,
  /** Characters that entries and notes were made of, with what variables stand for. */
  kept: 16 << 20,
} as const;
export type DiskLimit = Exclude<keyof typeof diskLimits, 'work'>;

/** UTF-16 units of one command line. A kernel takes 2047 bytes (x86 COMMAND_LINE_SIZE). */
export const maxCommandLine = 1 << 16;
/** Initrds of one entry. */
export const maxInitrds = 64;

const exceeding: Readonly<Record<DiskLimit, string>> = {
  reads: `takes more than ${diskLimits.reads} reads`,
  lookups: `takes looking up more than ${diskLimits.lookups} files`,
  text: `takes reading more than ${diskLimits.text} bytes of configuration`,
  kept: `makes more than ${diskLimits.kept} characters of titles and command lines`,
};

/** How long it works until the event loop turns, milliseconds: other machines and the program wait no longer. */
const slice = 4;
/** Longer than any step takes. More time than this between two of them was the program's own. */
const longestStep = 2_000;

export class DiskBudget {
  readonly #name: string;
  readonly #signal: AbortSignal | undefined;
  readonly #spent: Record<DiskLimit, number> = { reads: 0, lookups: 0, text: 0, kept: 0 };
  /** Milliseconds worked before `#since`. */
  #work = 0;
  /** When the event loop turned last. */
  #since = performance.now();
  /** What every step throws from now on: who catches one of them gets no further. */
  #failure: { readonly error: unknown } | undefined;

  /** `disk` is for messages. */
  constructor(disk?: Pick<BlockReader, 'size'> & { readonly path?: string }, signal?: AbortSignal) {
    this.#name = disk?.path === undefined ? 'the disk' : quote(disk.path);
    this.#signal = signal;
  }

  /** Milliseconds of work so far. */
  get work(): number {
    return this.#work + Math.min(performance.now() - this.#since, longestStep);
  }

  /** Throws if a limit was hit or the signal has aborted. */
  check(): void {
    if (this.#signal?.aborted) this.#failure ??= { error: this.#signal.reason };
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  spend(limit: DiskLimit, amount = 1): void {
    this.#spent[limit] += amount;
    if (this.#spent[limit] > diskLimits[limit]) this.#fail(exceeding[limit]);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Now and then lets the event loop turn; undefined when it is not yet time. */
  turn(): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    return performance.now() - this.#since < slice ? undefined : this.wait(setImmediate());
  }

  /** Waits for what is no work of its own. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    const now = performance.now();
    this.#work += Math.min(now - this.#since, longestStep);
    this.#since = now;
    if (this.#work > diskLimits.work) this.#fail(`takes more than ${diskLimits.work / 1000} s of work`);
    try {
      return await promise;
    } finally {
      this.#since = performance.now();
      this.check();
    }
  }

  #fail(what: string): void {
    this.#failure ??= {
      error: new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `finding out what ${this.#name} boots ${what}`, {
        hint: 'the image may be damaged or hostile; pass a kernel with boot: { kernel, initrd, cmdline } to boot without looking into it',
      }),
    };
  }
}
