/**
 * An ephemeral disk: what was written lies in a private file, everything else in the base, which is never written. The
 * I/O worker.
 *
 * One bit per sector says where it is. Guests write whole sectors, so nothing is ever copied before a write, and a disk
 * of any size starts at once: the bits are memory that the host supplies where the guest writes. They belong to the disk
 * and not to this thread, so that a guest that reboots finds what it wrote. A transfer may stop inside a sector and go on
 * there.
 */
import type { DiskMap } from './disk-map.js';

const sectorSize = 512;
const sectorsPerWord = 32;
const allSet = 0xffff_ffff;
/** Sectors in the overlay, as a double; the bits follow. */
const headerSize = 8;

/** What an overlay of a disk of `size` bytes knows: nothing is written yet. Throws RangeError if it cannot be had. */
export const allocateWritten = (size: number): SharedArrayBuffer =>
  new SharedArrayBuffer(headerSize + Math.ceil(size / sectorSize / sectorsPerWord) * Uint32Array.BYTES_PER_ELEMENT);

export class OverlayMap implements DiskMap {
  fd = -1;
  /** Nothing of it is wanted after a crash. */
  readonly syncFd = -1;
  readonly #base: number;
  readonly #overlay: number;
  readonly #bits: Uint32Array;
  readonly #limit: number;
  /** Sectors in the overlay. */
  readonly #used: Float64Array;

  /** `written` comes from `allocateWritten`; one map at a time uses it. */
  constructor(base: number, overlay: number, written: SharedArrayBuffer, limit = Number.POSITIVE_INFINITY) {
    this.#base = base;
    this.#overlay = overlay;
    this.#used = new Float64Array(written, 0, 1);
    this.#bits = new Uint32Array(written, headerSize);
    this.#limit = limit / sectorSize;
  }

  /** Bytes that were ever written. */
  get used(): number {
    return this.#used[0]! * sectorSize;
  }

  locateRead(offset: number, length: number): number {
    const written = this.#isWritten(Math.floor(offset / sectorSize));
    this.fd = written ? this.#overlay : this.#base;
    return this.#run(offset, length, written);
  }

  locateWrite(offset: number, length: number): number {
    this.fd = this.#overlay;
    if (this.#used[0]! < this.#limit) return length;
    // Full: what is there already may still be written again.
    return this.#run(offset, length, true);
  }

  /**
   * From now on these are read from the overlay; not before, when a read would find a hole. A sector counts when its last
   * byte is written: the bytes before `offset` in it were written by the step before.
   */
  wrote(offset: number, length: number): void {
    const end = Math.floor((offset + length) / sectorSize);
    for (let sector = Math.floor(offset / sectorSize); sector < end; ) {
      const bit = sector % sectorsPerWord;
      const count = Math.min(sectorsPerWord - bit, end - sector);
      const mask = count === sectorsPerWord ? allSet : ((1 << count) - 1) << bit;
      const at = Math.floor(sector / sectorsPerWord);
      const before = this.#bits[at]!;
      this.#bits[at] = before | mask;
      this.#used[0]! += bitsSet(this.#bits[at]! ^ before);
      sector += count;
    }
  }

  #isWritten(sector: number): boolean {
    return ((this.#bits[Math.floor(sector / sectorsPerWord)]! >>> (sector % sectorsPerWord)) & 1) === 1;
  }

  /** How many of `length` bytes at `offset` are in sectors that are all written, or all not, in a row. */
  #run(offset: number, length: number, written: boolean): number {
    const sector = Math.floor(offset / sectorSize);
    const end =
      (sector + this.#sectors(sector, Math.ceil((offset + length) / sectorSize) - sector, written)) * sectorSize;
    return Math.max(0, Math.min(end - offset, length));
  }

  #sectors(sector: number, count: number, written: boolean): number {
    const whole = written ? allSet : 0;
    for (let run = 0; run < count; ) {
      const at = sector + run;
      if (at % sectorsPerWord === 0 && this.#bits[at / sectorsPerWord] === whole) run += sectorsPerWord;
      else if (this.#isWritten(at) === written) run++;
      else return run;
    }
    return count;
  }
}

function bitsSet(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
