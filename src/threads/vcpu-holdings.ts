/**
 * What a vCPU worker has open for its vCPU, in machine state: written by the worker as soon as it exists, so that main can
 * give it up when the worker dies, whatever it was doing. Main and vCPU worker; a few times in a vCPU's life.
 */
import type { VcpuControl } from '../memory/control.js';

const slots = ['fd', 'runAddress', 'watch'] as const;
type Holding = (typeof slots)[number];

/** A value from 0 to 2^53 - 2 in two words, plus one, so that zero says that there is none. */
export class VcpuHoldings {
  readonly #words: Int32Array;

  constructor({ holdings }: VcpuControl) {
    this.#words = holdings;
  }

  get(what: Holding): number | undefined {
    const at = 2 * slots.indexOf(what);
    const value = Atomics.load(this.#words, at + 1) * 2 ** 32 + (Atomics.load(this.#words, at) >>> 0);
    return value === 0 ? undefined : value - 1;
  }

  set(what: Holding, value: number | undefined): void {
    const at = 2 * slots.indexOf(what);
    const stored = value === undefined ? 0 : value + 1;
    Atomics.store(this.#words, at, stored | 0);
    Atomics.store(this.#words, at + 1, Math.floor(stored / 2 ** 32));
  }

  /** All of them, which it forgets: nobody must close later what is somebody else's by then. */
  take(): Record<Holding, number | undefined> {
    const held = { fd: this.get('fd'), runAddress: this.get('runAddress'), watch: this.get('watch') };
    for (const what of slots) this.set(what, undefined);
    return held;
  }
}
