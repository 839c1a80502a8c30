/** Microseconds for a hot path: allocates nothing, which `process.hrtime` does. Any thread, a clock each. */
import { HostBlock } from './host-block.js';
import { Sys, syscall } from './system.js';

const CLOCK_MONOTONIC = 1;
/** 32-bit words of struct timespec; the others are 0 for the first 136 years. */
const SECONDS = 0;
const NANOSECONDS = 2;

export class MicroClock {
  readonly #block = new HostBlock(16);
  readonly #words = new Uint32Array(this.#block.buffer);

  now(): number {
    syscall(Sys.clockGettime, CLOCK_MONOTONIC, this.#block.address);
    return this.#words[SECONDS]! * 1e6 + this.#words[NANOSECONDS]! / 1e3;
  }

  close(): void {
    this.#block.close();
  }
}
