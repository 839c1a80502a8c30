/**
 * Completions of a device that is no bus master, which its driver cannot be told: held until it lets the device answer again. The I/O worker.
 */
import { freeArrays } from '../host/free-arrays.js';
import { IndexRing } from '../host/index-ring.js';

export class HeldCompletions {
  readonly #slots: IndexRing;
  readonly #results: Int32Array;

  /** At most one for each slot. */
  constructor(slots: number) {
    this.#slots = new IndexRing(slots);
    this.#results = new Int32Array(slots);
  }

  get size(): number {
    return this.#slots.size;
  }

  push(slot: number, result: number): void {
    this.#results[slot] = result;
    this.#slots.push(slot);
  }

  /** The slot of the oldest; there is one. Its `result` is kept until the slot is pushed again. */
  shift(): number {
    return this.#slots.shift();
  }

  result(slot: number): number {
    return this.#results[slot]!;
  }

  close(): void {
    this.#slots.close();
    freeArrays(this.#results);
  }
}
