/**
 * Which sectors of a disk are in a file: one bit each, in shared memory. The I/O worker; main makes and copies them.
 *
 * Beside them stands one bit for each page of these bits that has any set. Most of a large disk is never written, and what
 * is done with all bits while a machine stands still must cost what its guest wrote, not what it could.
 */
import { allSet, bitsInWord, bitsPerWord, wordMask } from './bit-words.js';

export const sectorSize = 512;
const wordBytes = Uint32Array.BYTES_PER_ELEMENT;
const pageBytes = 4096;
const wordsPerPage = pageBytes / wordBytes;

const wordsFor = (bits: number): number => Math.ceil(bits / bitsPerWord);
const sectorWords = (size: number): number => wordsFor(size / sectorSize);
const pageWords = (size: number): number => wordsFor(Math.ceil(sectorWords(size) / wordsPerPage));

/** Bytes that they take for a disk of `size` bytes. */
export const sectorBitBytes = (size: number): number => (pageWords(size) + sectorWords(size)) * wordBytes;

export class SectorBits {
  readonly #pages: Uint32Array;
  readonly #words: Uint32Array;

  /** `at` is a multiple of 4. */
  constructor(memory: SharedArrayBuffer, at: number, size: number) {
    this.#pages = new Uint32Array(memory, at, pageWords(size));
    this.#words = new Uint32Array(memory, at + this.#pages.byteLength, sectorWords(size));
  }

  get isEmpty(): boolean {
    return this.#pages.every((word) => word === 0);
  }

  has(sector: number): boolean {
    return ((this.#words[Math.floor(sector / bitsPerWord)]! >>> (sector % bitsPerWord)) & 1) === 1;
  }

  /** Whether any of those from `sector` to before `end` is there. */
  hasAny(sector: number, end: number): boolean {
    for (let at = sector; at < end; ) {
      const count = bitsInWord(at, end);
      if ((this.#words[Math.floor(at / bitsPerWord)]! & wordMask(at, count)) !== 0) return true;
      at += count;
    }
    return false;
  }

  /** How many of the `count` from `sector` on are all there, or all not, in a row: as `there` says of the first. */
  run(sector: number, count: number, there: boolean): number {
    const whole = there ? allSet : 0;
    for (let run = 0; run < count; ) {
      const at = sector + run;
      if (at % bitsPerWord === 0 && this.#words[at / bitsPerWord] === whole) run += bitsPerWord;
      else if (this.has(at) === there) run++;
      else return run;
    }
    return count;
  }

  /** Those from `sector` to before `end` are there. */
  set(sector: number, end: number): void {
    if (sector >= end) return;
    for (let at = sector; at < end; ) {
      const count = bitsInWord(at, end);
      this.#words[Math.floor(at / bitsPerWord)]! |= wordMask(at, count);
      at += count;
    }
    const last = Math.floor((end - 1) / (wordsPerPage * bitsPerWord));
    for (let page = Math.floor(sector / (wordsPerPage * bitsPerWord)); page <= last; page++)
      this.#pages[Math.floor(page / bitsPerWord)]! |= 1 << (page % bitsPerWord);
  }

  /** What is there is in `other` as well, which is empty and of a disk at least as large. */
  copyTo(other: SectorBits): void {
    other.#pages.set(this.#pages);
    this.#pages.forEach((word, index) => {
      for (let bit = 0; bit < bitsPerWord; bit++)
        if (((word >>> bit) & 1) === 1) this.#copyPage(index * bitsPerWord + bit, other.#words);
    });
  }

  #copyPage(page: number, target: Uint32Array): void {
    const from = page * wordsPerPage;
    target.set(this.#words.subarray(from, from + wordsPerPage), from);
  }
}
