/**
 * A growing byte array that tables are written into, little-endian. Any thread.
 */
import { setU64 } from '../../host/u64.js';
import { viewOf } from './bytes.js';

const INITIAL_BYTES = 4096;

export class ByteWriter {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = viewOf(this.#bytes);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Everything written so far, as a view. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** `value` is a non-negative integer below 2^53. */
  u64(value: number): void {
    this.#reserve(8);
    setU64(this.#view, this.#length, value);
    this.#length += 8;
  }

  ascii(text: string): void {
    this.#reserve(text.length);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length++] = text.charCodeAt(i);
  }

  /** Overwrites a byte written before. */
  setByte(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  /** Moves everything from `at` on up by `count` bytes, whose content is then to be set. */
  openGap(at: number, count: number): void {
    this.#reserve(count);
    this.#bytes.copyWithin(at + count, at, this.#length);
    this.#length += count;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}
