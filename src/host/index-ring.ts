/** A bounded first-in-first-out of small integers that never allocates after construction. Any thread, one at a time. */
import { freeArrays } from './free-arrays.js';

export class IndexRing {
  readonly #items: Int32Array;
  readonly #mask: number;
  #head = 0;
  #size = 0;

  /** Room for at least `capacity` items. */
  constructor(capacity: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(capacity, 2)));
    this.#items = new Int32Array(size);
    this.#mask = size - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** It is not used any more. */
  close(): void {
    freeArrays(this.#items);
  }

  push(item: number): void {
    if (this.#size > this.#mask) throw new RangeError('an index ring is full');
    this.#items[(this.#head + this.#size) & this.#mask] = item;
    this.#size++;
  }

  /** The oldest item; -1 when empty. */
  shift(): number {
    if (this.#size === 0) return -1;
    const item = this.#items[this.#head]!;
    this.#head = (this.#head + 1) & this.#mask;
    this.#size--;
    return item;
  }
}
