/**
 * What a file that goes on being written was at earlier instants: which of its blocks have been kept, and where. In shared
 * memory, since the machines that read an instant may be on another I/O worker than the one that writes. I/O workers, main.
 *
 * A disk is frozen at an instant. Whoever changes the file afterwards first copies what was there into the *store* of the
 * newest instant, unless it is there already, says so in that instant's bits, and only then goes on. So what a unit was at an
 * instant is in the store of the first instant from that one on that has it, and in the file itself when none has. Who reads
 * the file itself looks again afterwards: what had not been kept by then had not been changed.
 *
 * An instant is a number that counts up; at most `slots` of them are in use at a time, so a look is bounded. What could not be
 * kept is *lost* for that instant and those before it.
 *
 * One thread writes bits, the one that writes the file. Main begins instants while nothing of the file's machine is under way.
 */
import { bitsPerWord } from './bit-words.js';

/** What is kept at a time: few enough bits for any disk, and no more than some microseconds of copying. */
export const unitBytes = 64 * 1024;

/** Plain data: posted to I/O workers. */
export interface OpenHistory {
  readonly memory: SharedArrayBuffer;
  readonly slots: number;
  /** Of the file while it lasts; what lies beyond is in none of its instants. */
  readonly size: number;
}

/** Where a unit is, if in no store. */
export const inPlace = -1;
export const lost = -2;

/** Words of the head. `keeps`: an instant is in use. */
const Head = { newest: 0, keeps: 1 } as const;
const headWords = 2;
/** Words of an instant. `loss`: why the rest of it is lost, an errno; `touched`: a unit is kept. */
const Slot = { store: 0, brief: 1, loss: 2, touched: 3 } as const;
const slotWords = 4;

export const unitsOf = (size: number): number => Math.ceil(size / unitBytes);
const bitWords = (size: number): number => Math.ceil(unitsOf(size) / bitsPerWord);

export const historyBytes = (size: number, slots: number): number =>
  (headWords + slots * (slotWords + bitWords(size))) * Int32Array.BYTES_PER_ELEMENT;

export class History {
  readonly units: number;
  readonly #slots: number;
  readonly #words: Int32Array;
  readonly #stride: number;

  constructor({ memory, slots, size }: OpenHistory) {
    this.units = unitsOf(size);
    this.#slots = slots;
    this.#words = new Int32Array(memory);
    this.#stride = slotWords + bitWords(size);
  }

  get newest(): number {
    return Atomics.load(this.#words, Head.newest);
  }

  // Who reads an instant.

  /** The descriptor of the store that has a unit, `inPlace` or `lost`. */
  find(instant: number, unit: number): number {
    const newest = this.newest;
    for (let i = instant; i <= newest; i++) {
      const at = this.#at(i);
      if (this.#isKept(at, unit)) return this.#words[at + Slot.store]!;
      if (Atomics.load(this.#words, at + Slot.loss) !== 0) return lost;
    }
    return inPlace;
  }

  /** Why what is lost of an instant is: an errno. */
  lossOf(instant: number): number {
    for (let i = instant; i <= this.newest; i++) {
      const errno = Atomics.load(this.#words, this.#at(i) + Slot.loss);
      if (errno !== 0) return errno;
    }
    return 0;
  }

  // Who writes the file.

  /** Something has to be kept: an instant is in use, and the newest has not been lost. */
  get keeps(): boolean {
    return Atomics.load(this.#words, Head.keeps) !== 0 && this.#words[this.#at(this.newest) + Slot.loss] === 0;
  }

  /** Whether the newest instant has a unit. */
  hasKept(unit: number): boolean {
    return this.#isKept(this.#at(this.newest), unit);
  }

  /** The newest instant has these units from now on. */
  kept(unit: number, end: number): void {
    const at = this.#at(this.newest);
    this.#words[at + Slot.touched] = 1;
    const bits = at + slotWords;
    for (let i = unit; i < end; i++)
      Atomics.or(this.#words, bits + Math.floor(i / bitsPerWord), 1 << (i % bitsPerWord));
  }

  /** What the newest instant does not have is lost. */
  lose(errno: number): void {
    Atomics.store(this.#words, this.#at(this.newest) + Slot.loss, errno);
  }

  /** Where the newest instant's units are kept, and whether it is written there briefly (host/brief-writes.ts). */
  get store(): number {
    return this.#words[this.#at(this.newest) + Slot.store]!;
  }

  get writesBriefly(): boolean {
    return this.#words[this.#at(this.newest) + Slot.brief] !== 0;
  }

  // Main.

  /** The newest instant has no unit yet, and has lost none: nothing was written since. */
  get isUntouched(): boolean {
    const at = this.#at(this.newest);
    return this.#words[at + Slot.touched] === 0 && this.#words[at + Slot.loss] === 0;
  }

  /** A new instant: this one. Its slot is empty, and nothing of the file's machine is under way. */
  begin(store: number, writesBriefly: boolean): number {
    const instant = this.newest + 1;
    const at = this.#at(instant);
    this.#words[at + Slot.store] = store;
    this.#words[at + Slot.brief] = writesBriefly ? 1 : 0;
    Atomics.store(this.#words, Head.newest, instant);
    Atomics.store(this.#words, Head.keeps, 1);
    return instant;
  }

  /** Nobody reads any instant any more. */
  rest(): void {
    Atomics.store(this.#words, Head.keeps, 0);
  }

  /** Nobody reads this one any more, nor any before it. */
  clear(instant: number): void {
    const at = this.#at(instant);
    this.#words.fill(0, at, at + this.#stride);
  }

  #isKept(at: number, unit: number): boolean {
    const word = Atomics.load(this.#words, at + slotWords + Math.floor(unit / bitsPerWord));
    return ((word >>> (unit % bitsPerWord)) & 1) === 1;
  }

  #at(instant: number): number {
    return headWords + (instant % this.#slots) * this.#stride;
  }
}
