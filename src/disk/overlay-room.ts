/**
 * The limit of an ephemeral disk: which blocks of its private file have been given out, so that the file never takes more
 * than it may. The I/O worker.
 *
 * A block is given out before its write begins, and a sector counts as the whole block that the host's file system needs
 * for it: writes under way at once, and those that fail or whose driver goes away meanwhile, count as well.
 *
 * A block that has become a hole is given back, unless a write to it was under way at any moment of that: nobody knows
 * then which of the two the file system did last. Drivers do not do that, and for one that does the whole hole stays
 * counted. Nor is it given back where the file system may keep its room all the same (`givesBack`): Btrfs keeps an extent while
 * any part of it is used, and larger blocks than these are not freed by parts.
 */
import { freeArrays } from '../host/free-arrays.js';

import { bitsInWord, bitsPerWord, wordMask } from './bit-words.js';

/** What a limit counts: the block of most file systems. */
const blockSize = 4096;

/** What a request does with its blocks. */
const State = { nothing: 0, writes: 1, frees: 2, spoilt: 3 } as const;

/** Bytes of the bits of a disk of `size` bytes. */
export const roomBytes = (size: number): number =>
  Math.ceil(size / blockSize / bitsPerWord) * Uint32Array.BYTES_PER_ELEMENT;

export class OverlayRoom {
  /** Blocks that may be given out, and those that are. */
  readonly #limit: number;
  readonly #used: Float64Array;
  readonly #given: Uint32Array;

  // One request each: its blocks, from the first to the one after the last.
  readonly #state: Uint8Array;
  readonly #from: Float64Array;
  readonly #to: Float64Array;
  #holes = 0;
  readonly #givesBack: boolean;

  /** `used` and `given` are the disk's own and outlive this: they are kept over a reboot. No request is under way. */
  constructor(used: Float64Array, given: Uint32Array, limit: number, requests: number, givesBack: boolean) {
    this.#givesBack = givesBack;
    this.#used = used;
    this.#given = given;
    this.#limit = Math.floor(limit / blockSize);
    this.#state = new Uint8Array(requests);
    this.#from = new Float64Array(requests);
    this.#to = new Float64Array(requests);
  }

  /** A request is about to write: for how many of the `length` bytes at `offset` there is room. */
  beginWrite(request: number, offset: number, length: number): number {
    const end = Math.ceil((offset + length) / blockSize);
    const first = Math.floor(offset / blockSize);
    let block = first;
    while (block < end && this.#giveOut(block)) block++;
    if (block > first) {
      this.#occupy(request, State.writes, first, block);
      if (this.#holes > 0) this.#spoil(first, block);
    }
    return Math.max(0, Math.min(block * blockSize - offset, length));
  }

  /** A request is about to make a hole of these bytes. */
  beginHole(request: number, offset: number, length: number): void {
    const from = Math.ceil(offset / blockSize);
    const to = Math.max(from, Math.floor((offset + length) / blockSize));
    this.#occupy(request, this.#isWritten(from, to) ? State.spoilt : State.frees, from, to);
    this.#holes++;
  }

  /** What a request had begun has ended, well or not; with nothing begun, nothing happens. */
  end(request: number, well: boolean): void {
    const state = this.#state[request]!;
    this.#state[request] = State.nothing;
    if (state <= State.writes) return;
    this.#holes--;
    if (well && state === State.frees && this.#givesBack) this.#takeBack(this.#from[request]!, this.#to[request]!);
  }

  /** It is not used any more. */
  close(): void {
    freeArrays(this.#state, this.#from, this.#to);
  }

  #occupy(request: number, state: number, from: number, to: number): void {
    this.#state[request] = state;
    this.#from[request] = from;
    this.#to[request] = to;
  }

  #isWritten(from: number, to: number): boolean {
    for (let i = 0; i < this.#state.length; i++)
      if (this.#state[i] === State.writes && this.#overlaps(i, from, to)) return true;
    return false;
  }

  #spoil(from: number, to: number): void {
    for (let i = 0; i < this.#state.length; i++)
      if (this.#state[i] === State.frees && this.#overlaps(i, from, to)) this.#state[i] = State.spoilt;
  }

  #overlaps(request: number, from: number, to: number): boolean {
    return this.#from[request]! < to && from < this.#to[request]!;
  }

  /** Whether there is room for this block; one that has been given out may be written again when all is full. */
  #giveOut(block: number): boolean {
    const at = Math.floor(block / bitsPerWord);
    const mask = 1 << (block % bitsPerWord);
    if ((this.#given[at]! & mask) !== 0) return true;
    if (this.#used[0]! >= this.#limit) return false;
    this.#given[at]! |= mask;
    this.#used[0]! += 1;
    return true;
  }

  #takeBack(from: number, to: number): void {
    for (let block = from; block < to; ) {
      const count = bitsInWord(block, to);
      const mask = wordMask(block, count);
      const at = Math.floor(block / bitsPerWord);
      this.#used[0]! -= bitCount(this.#given[at]! & mask);
      this.#given[at]! &= ~mask;
      block += count;
    }
  }
}

function bitCount(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}
