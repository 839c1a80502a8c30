/**
 * Guest RAM that a page source has, in blocks, each asked for at once: which there are, and what lies where. Any thread; pure.
 *
 * RAM between the ranges is nobody's to ask for. A block lies in one range, and is smaller at the ends of that.
 */

/** Of RAM, of whole pages. */
export interface RamRange {
  readonly offset: number;
  readonly length: number;
}

export class PageBlocks {
  readonly count: number;
  readonly #ranges: readonly RamRange[];
  readonly #blockSize: number;
  /** The number of the first block of each range. */
  readonly #first: readonly number[];

  /** The ranges are in order. `blockSize` is a multiple of the page size. */
  constructor(ranges: readonly RamRange[], blockSize: number) {
    this.#ranges = ranges;
    this.#blockSize = blockSize;
    let count = 0;
    this.#first = ranges.map((range) => {
      const first = count;
      count += this.#numberIn(range, range.offset + range.length - 1) + 1;
      return first;
    });
    this.count = count;
  }

  /** The block that this byte is in; -1 where nobody is to be asked. */
  at(offset: number): number {
    const index = lastAtMost(this.#ranges, offset, rangeOffset);
    const range = this.#ranges[index];
    if (range === undefined || offset >= range.offset + range.length) return -1;
    return this.#first[index]! + this.#numberIn(range, offset);
  }

  extent(block: number): RamRange {
    const index = lastAtMost(this.#first, block, itself);
    const range = this.#ranges[index]!;
    const grid = (Math.floor(range.offset / this.#blockSize) + block - this.#first[index]!) * this.#blockSize;
    const offset = Math.max(grid, range.offset);
    return { offset, length: Math.min(grid + this.#blockSize, range.offset + range.length) - offset };
  }

  /** The blocks that have a byte of `length` ones from `offset` on, in order. */
  *within(offset: number, length: number): Generator<number, void> {
    const end = offset + length;
    for (let i = Math.max(0, lastAtMost(this.#ranges, offset, rangeOffset)); i < this.#ranges.length; i++) {
      const range = this.#ranges[i]!;
      if (range.offset >= end) return;
      const from = Math.max(offset, range.offset);
      const last = Math.min(end, range.offset + range.length) - 1;
      if (last < from) continue;
      for (let n = this.#numberIn(range, from); n <= this.#numberIn(range, last); n++) yield this.#first[i]! + n;
    }
  }

  #numberIn(range: RamRange, offset: number): number {
    return Math.floor(offset / this.#blockSize) - Math.floor(range.offset / this.#blockSize);
  }
}

const rangeOffset = ({ offset }: RamRange): number => offset;
const itself = (value: number): number => value;

/** Index of the last one whose key is at most `wanted`, -1 if there is none. */
function lastAtMost<T>(list: readonly T[], wanted: number, key: (item: T) => number): number {
  let low = -1;
  for (let high = list.length; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if (key(list[middle]!) <= wanted) low = middle;
    else high = middle;
  }
  return low;
}
