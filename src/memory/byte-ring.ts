/**
 * A bounded ring of bytes with one producer and one consumer on different threads, in shared memory. Any thread.
 *
 * Two free-running counters of bytes written and read, then the data. Each side stores only its own counter, after the
 * data it speaks of, so neither takes a lock or waits. Several vCPU threads may produce if the machine lock makes them
 * one producer. A full ring refuses bytes: what is lost is for the producer to count (trap T38).
 */
import { type RegistersOf, registerMap, words } from './registers.js';

const ByteRingMap = registerMap('byte-ring', {
  /** Bytes ever written, modulo 2^32. */
  written: words(1),
  /** Bytes ever read, modulo 2^32. */
  read: words(1),
});

/** Bytes of shared memory that a ring of `capacity` bytes takes; a multiple of 8. */
export const byteRingSize = (capacity: number): number => ByteRingMap.size + Math.ceil(capacity / 8) * 8;

export class ByteRing {
  readonly capacity: number;
  readonly #indices: RegistersOf<typeof ByteRingMap>;
  readonly #data: Uint8Array;
  readonly #mask: number;

  /** `base` is 8-aligned; `capacity` is a power of two, so that counters may wrap anywhere. */
  constructor(buffer: ArrayBufferLike, base: number, capacity: number) {
    if (!Number.isInteger(Math.log2(capacity)) || capacity > 2 ** 30) {
      throw new RangeError(`a byte ring of ${capacity} bytes: not a power of two up to 2^30`);
    }
    this.capacity = capacity;
    this.#indices = ByteRingMap.over(buffer, base);
    this.#data = new Uint8Array(buffer, base + ByteRingMap.size, capacity);
    this.#mask = capacity - 1;
  }

  /** Bytes waiting to be read. */
  get length(): number {
    return (Atomics.load(this.#indices.written, 0) - Atomics.load(this.#indices.read, 0)) >>> 0;
  }

  /** Bytes that can be written. */
  get space(): number {
    return this.capacity - this.length;
  }

  /** Producer: appends one byte; false if the ring is full. */
  push(byte: number): boolean {
    const written = Atomics.load(this.#indices.written, 0);
    if ((written - Atomics.load(this.#indices.read, 0)) >>> 0 >= this.capacity) return false;
    this.#data[written & this.#mask] = byte;
    Atomics.store(this.#indices.written, 0, (written + 1) | 0);
    return true;
  }

  /** Producer: appends as much of `source` as fits and says how much that was. */
  write(source: Uint8Array): number {
    const written = Atomics.load(this.#indices.written, 0);
    const count = Math.min(source.length, this.space);
    const at = written & this.#mask;
    const first = Math.min(count, this.capacity - at);
    this.#data.set(source.subarray(0, first), at);
    this.#data.set(source.subarray(first, count), 0);
    Atomics.store(this.#indices.written, 0, (written + count) | 0);
    return count;
  }

  /** Consumer: the oldest byte, or -1 if there is none. */
  shift(): number {
    const read = Atomics.load(this.#indices.read, 0);
    if (Atomics.load(this.#indices.written, 0) === read) return -1;
    const byte = this.#data[read & this.#mask]!;
    Atomics.store(this.#indices.read, 0, (read + 1) | 0);
    return byte;
  }

  /** Consumer: moves as much as there is and fits into `target` and says how much that was. */
  read(target: Uint8Array): number {
    const read = Atomics.load(this.#indices.read, 0);
    const count = Math.min(target.length, this.length);
    const at = read & this.#mask;
    const first = Math.min(count, this.capacity - at);
    target.set(this.#data.subarray(at, at + first), 0);
    target.set(this.#data.subarray(0, count - first), first);
    Atomics.store(this.#indices.read, 0, (read + count) | 0);
    return count;
  }

  /** Drops everything. Only while neither side is at work: a reset of the machine. */
  clear(): void {
    Atomics.store(this.#indices.written, 0, 0);
    Atomics.store(this.#indices.read, 0, 0);
  }
}
