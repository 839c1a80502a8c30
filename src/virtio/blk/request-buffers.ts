/**
 * The guest buffers of requests in flight, for who copies: each request's in a fixed place, found by how far into its data
 * a part begins. The I/O worker.
 */
import { freeArrays } from '../../host/free-arrays.js';
import type { GuestMemory } from '../../memory/guest-memory.js';
import type { Chain } from '../queue/chain.js';

/** Views of guest memory end at this length. */
const viewLimit = 0x10_0000;

export class RequestBuffers {
  readonly #stride: number;
  readonly #guest: Float64Array;
  readonly #length: Uint32Array;
  readonly #count: Uint16Array;

  constructor(requests: number, buffersEach: number) {
    this.#stride = buffersEach;
    this.#guest = new Float64Array(requests * buffersEach);
    this.#length = new Uint32Array(requests * buffersEach);
    this.#count = new Uint16Array(requests);
  }

  /** Keeps `bytes` of the chain's buffers from `from` to `to`, after `skip` bytes of them. */
  keep(request: number, chain: Chain, from: number, to: number, skip: number, bytes: number): void {
    let at = request * this.#stride;
    let left = bytes;
    for (let i = from; i < to && left > 0; i++) {
      const length = chain.length[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, left);
      this.#guest[at] = chain.guest[i]! + skip;
      this.#length[at++] = count;
      left -= count;
      skip = 0;
    }
    this.#count[request] = at - request * this.#stride;
  }

  /** It is not used any more. */
  close(): void {
    freeArrays(this.#guest, this.#length, this.#count);
  }

  /** From the guest's buffers, `offset` bytes into the request's data, all of `target`. */
  copyOut(memory: GuestMemory, request: number, offset: number, target: Uint8Array): void {
    this.#copy(request, offset, target.length, (guest, at, count) => {
      target.set(memory.view(guest, count)!, at);
    });
  }

  /** Into the guest's buffers. */
  copyIn(memory: GuestMemory, request: number, offset: number, source: Uint8Array): void {
    this.#copy(request, offset, source.length, (guest, at, count) => {
      memory.view(guest, count)!.set(source.subarray(at, at + count));
    });
  }

  #copy(
    request: number,
    offset: number,
    bytes: number,
    move: (guest: number, at: number, count: number) => void,
  ): void {
    const first = request * this.#stride;
    let skip = offset;
    let done = 0;
    for (let i = first; i < first + this.#count[request]! && done < bytes; i++) {
      const length = this.#length[i]!;
      for (let at = Math.min(skip, length); at < length && done < bytes; ) {
        const count = Math.min(length - at, bytes - done, viewLimit);
        move(this.#guest[i]! + at, done, count);
        done += count;
        at += count;
      }
      skip = Math.max(0, skip - length);
    }
  }
}
