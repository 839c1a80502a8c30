/**
 * The time in a batch of work, microseconds: looked up when it is first asked for, the same until the next batch. So requests
 * that come and go together cost two glances, and those of nobody cost none. The I/O worker.
 *
 * Times lie in typed arrays of whoever asks, since a number with a fraction that is returned is an allocation.
 */
import { MicroClock } from './micro-clock.js';

const longest = 2 ** 30;

export class BatchClock {
  readonly #clock = new MicroClock();
  readonly #now = new Float64Array(1);
  #expired = true;

  /** Puts the time there. */
  stamp(into: Float64Array, index: number): void {
    if (this.#expired) this.#look();
    into[index] = this.#now[0]!;
  }

  /** Whole microseconds since the time that was put there, rounded up; 18 minutes at most. */
  since(from: Float64Array, index: number): number {
    if (this.#expired) this.#look();
    return Math.min(Math.ceil(this.#now[0]! - from[index]!), longest) | 0;
  }

  /** Time has passed. */
  expire(): void {
    this.#expired = true;
  }

  close(): void {
    this.#clock.close();
  }

  #look(): void {
    this.#clock.stamp(this.#now, 0);
    this.#expired = false;
  }
}
