/**
 * Writes to the page cache by the engine's own thread, where the file system has no way to say that it would block (ext4,
 * tmpfs): io_uring and RWF_NOWAIT leave those to another thread, which costs ten times the copy. The I/O worker.
 *
 * Such a write is a copy of some microseconds, until the file system makes its writer wait: for its journal, or because
 * too much waits for the disk. So each is timed; after a slow one all are left to other threads for a while, and for twice
 * as long if the next that is tried is slow again. Guests that share this thread wait for one slow write in that time.
 */
import { Operation, type SlotTable } from './engine-slots.js';
import { MicroClock } from './micro-clock.js';
import { callWords, Sys, syscallBy } from './system.js';

/** All in microseconds. A thread that lost its processor for a moment is not slow yet. */
const slow = 5_000;
const shortestRest = 250_000;
const longestRest = 64_000_000;

export class BriefWrites {
  /** The kernel's answer to what `perform` did. */
  result = 0;
  readonly #clock: Pick<MicroClock, 'stamp' | 'close'>;
  readonly #call: typeof syscallBy;
  readonly #words = callWords();
  readonly #now = new Float64Array(1);
  #rest = shortestRest;
  #notBefore = 0;

  constructor(clock: Pick<MicroClock, 'stamp' | 'close'> = new MicroClock(), call = syscallBy) {
    this.#clock = clock;
    this.#call = call;
  }

  /** Performs the slot's write, or makes it one for other threads and answers false. */
  perform(slots: SlotTable, slot: number): boolean {
    this.#clock.stamp(this.#now, 0);
    const begun = this.#now[0]!;
    const single = slots.operation[slot] === Operation.briefWrite;
    if (begun < this.#notBefore) {
      slots.operation[slot] = single ? Operation.write : Operation.writeVector;
      return false;
    }
    const words = this.#words;
    words[0] = single ? Sys.pwrite64 : Sys.pwritev2;
    words[1] = slots.fd[slot]!;
    words[2] = slots.address[slot]!;
    words[3] = slots.length[slot]!;
    words[4] = slots.offset[slot]!;
    this.result = this.#call(words); // what follows is 0: the high half of the offset, and flags
    this.#clock.stamp(this.#now, 0);
    const ended = this.#now[0]!;
    if (ended - begun > slow) {
      this.#notBefore = ended + this.#rest;
      this.#rest = Math.min(this.#rest * 2, longestRest);
    } else if (begun > this.#notBefore + this.#rest) {
      this.#rest = shortestRest; // it has been quick for as long as the next rest would be
    }
    return true;
  }

  close(): void {
    this.#clock.close();
  }
}
