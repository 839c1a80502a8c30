/**
 * The time in a batch of work, microseconds: looked up when it is first asked for, the same until the next batch. So requests
 * that come and go together cost two glances, and those of nobody cost none. The I/O worker.
 */
import { MicroClock } from './micro-clock.js';

export class BatchClock {
  readonly #clock = new MicroClock();
  #now = 0;
  #expired = true;

  now(): number {
    if (this.#expired) {
      this.#now = this.#clock.now();
      this.#expired = false;
    }
    return this.#now;
  }

  /** Time has passed. */
  expire(): void {
    this.#expired = true;
  }

  close(): void {
    this.#clock.close();
  }
}
