/**
 * An ephemeral disk: what was written lies in a private file, everything else in the base, which is never written. The
 * I/O worker.
 *
 * One bit per sector says where it is. Guests write whole sectors, so nothing is ever copied before a write, and a disk
 * of any size starts at once: the bits are memory that the host supplies where the guest writes. They belong to the disk
 * and not to this thread, so that a guest that reboots finds what it wrote. A transfer may stop inside a sector and go on
 * there.
 *
 * With a limit, bits of a second kind say for which blocks room has been given out, from before the write begins: writes
 * under way at once, and those that fail or whose driver goes away meanwhile, count as well, and a sector counts as the
 * block that the host's file system needs for it. So the file never takes more.
 */
import type { DiskMap } from './disk-map.js';

const sectorSize = 512;
/** What a limit counts: the block of ext4, XFS, Btrfs and tmpfs. */
const blockSize = 4096;
const bitsPerWord = 32;
const allSet = 0xffff_ffff;
/** Blocks given out, as a double; the bits of the sectors follow, and with a limit those of the blocks. */
const headerSize = 8;

/** What an overlay of a disk of `size` bytes knows: nothing is written yet. Throws RangeError if it cannot be had. */
export const allocateWritten = (size: number, limit?: number): SharedArrayBuffer =>
  new SharedArrayBuffer(
    headerSize + bitBytes(size, sectorSize) + (limit === undefined ? 0 : bitBytes(size, blockSize)),
  );

/** The same for a disk that has grown: what is beyond its old end is in no base, and reads as the hole that is there. */
export function extendWritten(
  written: SharedArrayBuffer,
  { from, to, limit }: { readonly from: number; readonly to: number; readonly limit?: number | undefined },
): SharedArrayBuffer {
  const extended = allocateWritten(to, limit);
  const [before, after] = [bitBytes(from, sectorSize), bitBytes(to, sectorSize)];
  const bytes = new Uint8Array(extended);
  bytes.set(new Uint8Array(written, 0, headerSize + before));
  bytes.set(new Uint8Array(written, headerSize + before), headerSize + after);
  setBits(
    new Uint32Array(extended, headerSize, after / Uint32Array.BYTES_PER_ELEMENT),
    from / sectorSize,
    to / sectorSize,
  );
  return extended;
}

/** Sets bits from `start` to before `end`. */
function setBits(words: Uint32Array, start: number, end: number): void {
  for (let at = start; at < end; ) {
    const bit = at % bitsPerWord;
    const count = Math.min(bitsPerWord - bit, end - at);
    const mask = count === bitsPerWord ? allSet : ((1 << count) - 1) << bit;
    words[Math.floor(at / bitsPerWord)]! |= mask;
    at += count;
  }
}

const bitBytes = (size: number, each: number): number =>
  Math.ceil(size / each / bitsPerWord) * Uint32Array.BYTES_PER_ELEMENT;

export class OverlayMap implements DiskMap {
  fd = -1;
  flags = 0;
  /** Nothing of it is wanted after a crash. */
  readonly syncFd = -1;
  readonly writesBriefly: boolean;
  readonly #base: number;
  readonly #overlay: number;
  /** For reading the base. */
  readonly #baseFlags: number;
  readonly #bits: Uint32Array;
  /** Blocks that may be given out; undefined: all. */
  readonly #limit: number | undefined;
  readonly #used: Float64Array;
  readonly #given: Uint32Array;

  /** `written` comes from `allocateWritten` for the same size and limit; one map at a time uses it. */
  constructor(
    base: number,
    overlay: number,
    written: SharedArrayBuffer,
    size: number,
    limit?: number,
    baseFlags = 0,
    writesBriefly = false,
  ) {
    this.writesBriefly = writesBriefly;
    this.#base = base;
    this.#overlay = overlay;
    this.#baseFlags = baseFlags;
    this.#used = new Float64Array(written, 0, 1);
    this.#bits = new Uint32Array(written, headerSize, bitBytes(size, sectorSize) / Uint32Array.BYTES_PER_ELEMENT);
    this.#given = new Uint32Array(written, headerSize + this.#bits.byteLength);
    this.#limit = limit === undefined ? undefined : Math.floor(limit / blockSize);
  }

  locateRead(offset: number, length: number): number {
    const written = this.#isWritten(Math.floor(offset / sectorSize));
    this.fd = written ? this.#overlay : this.#base;
    this.flags = written ? 0 : this.#baseFlags;
    return this.#run(offset, length, written);
  }

  locateWrite(offset: number, length: number): number {
    this.fd = this.#overlay;
    this.flags = 0;
    if (this.#limit === undefined) return length;
    const end = Math.ceil((offset + length) / blockSize);
    let block = Math.floor(offset / blockSize);
    while (block < end && this.#giveOut(block, this.#limit)) block++;
    return Math.max(0, Math.min(block * blockSize - offset, length));
  }

  /** A block that becomes a hole stays given out: a write to it may be under way. */
  locateHole(_offset: number, length: number): number {
    this.fd = this.#overlay;
    this.flags = 0;
    return length;
  }

  /** Whether there is room for this block; one that has been given out may be written again when all is full. */
  #giveOut(block: number, limit: number): boolean {
    const at = Math.floor(block / bitsPerWord);
    const mask = 1 << (block % bitsPerWord);
    if ((this.#given[at]! & mask) !== 0) return true;
    if (this.#used[0]! >= limit) return false;
    this.#given[at]! |= mask;
    this.#used[0]! += 1;
    return true;
  }

  /**
   * From now on these are read from the overlay; not before, when a read would find a hole. A sector counts when its last
   * byte is written: the bytes before `offset` in it were written by the step before.
   */
  wrote(offset: number, length: number): void {
    setBits(this.#bits, Math.floor(offset / sectorSize), Math.floor((offset + length) / sectorSize));
  }

  #isWritten(sector: number): boolean {
    return ((this.#bits[Math.floor(sector / bitsPerWord)]! >>> (sector % bitsPerWord)) & 1) === 1;
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
      if (at % bitsPerWord === 0 && this.#bits[at / bitsPerWord] === whole) run += bitsPerWord;
      else if (this.#isWritten(at) === written) run++;
      else return run;
    }
    return count;
  }
}
