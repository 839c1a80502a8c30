/** Lets a few warnings a second pass and counts the others, so that no guest can flood its host (trap T38). Any thread. */
import { monotonicMs } from '../host/clock.js';

const windowMs = 1000;

export class WarningLimit {
  readonly #perWindow: number;
  #windowStart = 0;
  #count = 0;
  #suppressed = 0;

  constructor(perSecond = 10) {
    this.#perWindow = perSecond;
  }

  /** Whether this one passes: then how many were left out since the last that did; else -1. */
  pass(): number {
    const now = monotonicMs();
    if (now - this.#windowStart >= windowMs) {
      this.#windowStart = now;
      this.#count = 0;
    }
    if (++this.#count > this.#perWindow) {
      this.#suppressed++;
      return -1;
    }
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    return suppressed;
  }
}
