/** State between two guard areas: register code must not touch a byte outside its own. */
import { expect } from 'vitest';

const guard = 64;
const pattern = 0xc7;

export class Canary {
  readonly buffer: SharedArrayBuffer;
  readonly base = guard;
  readonly #size: number;

  constructor(size: number) {
    this.#size = size;
    this.buffer = new SharedArrayBuffer(guard + size + guard);
    const all = new Uint8Array(this.buffer);
    all.fill(pattern, 0, guard);
    all.fill(pattern, guard + size);
  }

  check(): void {
    const all = new Uint8Array(this.buffer);
    const outside = [...all.subarray(0, guard), ...all.subarray(guard + this.#size)];
    expect(outside.every((byte) => byte === pattern)).toBe(true);
  }
}
