/**
 * Microseconds for a hot path: allocates nothing, which `process.hrtime` does, nor does it return what is no small integer,
 * which is an allocation where it is not inlined. Any thread, a clock each.
 */
import { native } from './addon.js';
import { HostBlock } from './host-block.js';
import { callWords, Sys } from './system.js';

const CLOCK_MONOTONIC = 1;
/** 32-bit words of struct timespec; the others are 0 for the first 136 years. */
const SECONDS = 0;
const NANOSECONDS = 2;

export class MicroClock {
  readonly #block = new HostBlock(16);
  readonly #words = new Uint32Array(this.#block.buffer);
  readonly #call = callWords(Sys.clockGettime, CLOCK_MONOTONIC, this.#block.address);

  /** Puts the time there. */
  stamp(into: Float64Array, index: number): void {
    native().syscallBy(this.#call);
    into[index] = this.#words[SECONDS]! * 1e6 + this.#words[NANOSECONDS]! / 1e3;
  }

  close(): void {
    this.#block.close();
  }
}
