/**
 * How long the I/O worker looks at rings before it sleeps. The I/O worker.
 *
 * A sleep costs the guest its doorbell, an exit, and this thread a wake-up. Where work comes back soon after the thread fell
 * asleep, looking for it is cheaper; where it does not, looking is waste. So the window grows while sleeps are short and
 * shrinks to nothing when they are not, as KVM's halt_poll_ns does: an idle machine uses no processor.
 *
 * Whoever looks takes a processor from those who wait for one. A jump of the clock between two glances says that somebody
 * does, a vCPU perhaps; then there is no window for a while. On one processor there is none ever: the vCPU that could offer
 * something does not run meanwhile.
 */
import { availableParallelism } from 'node:os';
import type { BatchClock } from '../host/batch-clock.js';

/** All in microseconds. */
const shortestWindow = 8;
const longestWindow = 64;
/** Between two glances lie a few microseconds, unless the scheduler ran another thread. */
const stolen = 200;
const afterStolen = 10_000;

export class BusyPoll {
  readonly #clock: Pick<BatchClock, 'stamp' | 'expire'>;
  readonly #now = new Float64Array(1);
  readonly #pays: boolean;
  #window = 0;
  #notBefore = 0;
  #end = 0;
  #last = 0;
  #asleep = 0;

  constructor(clock: Pick<BatchClock, 'stamp' | 'expire'>, processors = availableParallelism()) {
    this.#clock = clock;
    this.#pays = processors > 1;
  }

  get isOn(): boolean {
    return this.#window > 0;
  }

  /** The worker begins to look. */
  begin(): void {
    this.#last = this.#look();
    this.#end = this.#last + this.#window;
  }

  /** Whether it goes on looking. */
  goesOn(): boolean {
    this.#clock.expire();
    const now = this.#look();
    if (now - this.#last > stolen) {
      this.#window = 0;
      this.#notBefore = now + afterStolen;
      return false;
    }
    this.#last = now;
    return now < this.#end;
  }

  /** The worker found nothing and falls asleep. */
  falls(): void {
    if (this.#pays) this.#asleep = this.#look();
  }

  /** Something woke it. */
  wakes(): void {
    if (!this.#pays) return;
    const now = this.#look();
    if (now - this.#asleep > longestWindow) this.#window = this.#window > shortestWindow ? this.#window / 2 : 0;
    else if (now >= this.#notBefore) this.#window = Math.min(Math.max(this.#window * 2, shortestWindow), longestWindow);
  }

  /** Small enough to be inlined everywhere. */
  #look(): number {
    this.#clock.stamp(this.#now, 0);
    return this.#now[0]!;
  }
}
