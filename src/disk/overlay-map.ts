/**
 * An ephemeral disk: what was written lies in a private file, everything else in the base, which is never written. The
 * I/O worker.
 *
 * One bit per sector says where it is. Guests write whole sectors, so nothing is ever copied before a write, and a disk
 * of any size starts at once. Bits come in pages of 1 GiB of disk, made at the first write there. A transfer may stop
 * inside a sector and go on there.
 */
import type { DiskMap } from './disk-map.js';

const sectorSize = 512;
/** 2^21 sectors: 256 KiB of bits. */
const sectorsPerPage = 2 ** 21;
const allSet = 0xffff_ffff;

export class OverlayMap implements DiskMap {
  fd = -1;
  /** Nothing of it is wanted after a crash. */
  readonly syncFd = -1;
  readonly #base: number;
  readonly #overlay: number;
  readonly #pages: (Uint32Array | undefined)[];
  readonly #limit: number;
  /** Sectors in the overlay. */
  #used = 0;

  constructor(base: number, overlay: number, size: number, limit = Number.POSITIVE_INFINITY) {
    this.#base = base;
    this.#overlay = overlay;
    this.#pages = new Array(Math.ceil(size / sectorSize / sectorsPerPage)).fill(undefined);
    this.#limit = limit / sectorSize;
  }

  /** Bytes that were ever written. */
  get used(): number {
    return this.#used * sectorSize;
  }

  locateRead(offset: number, length: number): number {
    const written = this.#isWritten(Math.floor(offset / sectorSize));
    this.fd = written ? this.#overlay : this.#base;
    return this.#run(offset, length, written);
  }

  locateWrite(offset: number, length: number): number {
    this.fd = this.#overlay;
    if (this.#used < this.#limit) return length;
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
      const page = this.#page(sector);
      const bit = sector % sectorsPerPage;
      const count = Math.min(32 - (bit & 31), end - sector);
      const mask = count === 32 ? allSet : ((1 << count) - 1) << (bit & 31);
      const before = page[bit >>> 5]!;
      page[bit >>> 5] = before | mask;
      this.#used += bitsSet(page[bit >>> 5]! ^ before);
      sector += count;
    }
  }

  #isWritten(sector: number): boolean {
    const bit = sector % sectorsPerPage;
    const page = this.#pages[Math.floor(sector / sectorsPerPage)];
    return page !== undefined && ((page[bit >>> 5]! >>> (bit & 31)) & 1) === 1;
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
    let run = 0;
    while (run < count) {
      const at = sector + run;
      const bit = at % sectorsPerPage;
      const page = this.#pages[Math.floor(at / sectorsPerPage)];
      if (page === undefined) {
        if (written) return run;
        run += sectorsPerPage - bit;
      } else if ((bit & 31) === 0 && page[bit >>> 5] === whole) {
        run += 32;
      } else {
        if ((((page[bit >>> 5]! >>> (bit & 31)) & 1) === 1) !== written) return run;
        run++;
      }
    }
    return count;
  }

  #page(sector: number): Uint32Array {
    const index = Math.floor(sector / sectorsPerPage);
    const page = this.#pages[index] ?? new Uint32Array(sectorsPerPage / 32);
    this.#pages[index] = page;
    return page;
  }
}

function bitsSet(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
