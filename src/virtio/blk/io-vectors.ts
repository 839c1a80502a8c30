/**
 * The iovec arrays of requests in flight: guest buffers as readv and writev take them, one fixed place per request in one
 * block of memory that the kernel reads. The I/O worker.
 *
 * Part of an array may be used at a time: `take` cuts the last iovec where the operation shall end, `advance` mends it
 * and goes on behind what was transferred.
 */
import { native } from '../../host/addon.js';
import { freeArrays } from '../../host/free-arrays.js';
import { HostBlock } from '../../host/host-block.js';
import type { Chain } from '../queue/chain.js';

const iovecSize = 16;
const words = iovecSize / 4;
const TWO_32 = 0x1_0000_0000;

export class IoVectors {
  readonly #block: HostBlock;
  readonly #words: Uint32Array;
  readonly #stride: number;
  /** Of each request: its first iovec not yet done, and the one after its last. */
  readonly #first: Uint16Array;
  readonly #end: Uint16Array;
  /** Which iovec `take` has cut (0 when none: the word is then not used), and its whole length. */
  readonly #cut: Uint16Array;
  readonly #cutLength: Uint32Array;
  /** Of the buffer that is done in part. */
  readonly #rest = new Float64Array(1);

  constructor(requests: number, vectorsEach: number) {
    this.#stride = vectorsEach;
    this.#block = new HostBlock(requests * vectorsEach * iovecSize);
    this.#words = new Uint32Array(this.#block.buffer);
    this.#first = new Uint16Array(requests);
    this.#end = new Uint16Array(requests);
    this.#cut = new Uint16Array(requests);
    this.#cutLength = new Uint32Array(requests);
  }

  /** Fills the request's array with `bytes` of the chain's buffers from `from` to `to`, after `skip` bytes of them. */
  fill(request: number, chain: Chain, from: number, to: number, skip: number, bytes: number): void {
    let end = 0;
    let left = bytes;
    for (let i = from; i < to && left > 0; i++) {
      const length = chain.length[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, left);
      this.#put(request, end++, chain.host, i, skip, count);
      left -= count;
      skip = 0;
    }
    this.#first[request] = 0;
    this.#end[request] = end;
    this.#cutLength[request] = 0;
  }

  /** Makes the next operation cover `bytes`, or what is left: how many iovecs that takes. */
  take(request: number, bytes: number): number {
    const first = this.#first[request]!;
    const end = this.#end[request]!;
    let left = bytes;
    for (let i = first; i < end; i++) {
      const at = this.#at(request, i) + 2;
      const length = this.#words[at]!;
      if (length >= left) {
        if (length > left) {
          this.#cut[request] = i;
          this.#cutLength[request] = length;
          this.#words[at] = left;
        }
        return i - first + 1;
      }
      left -= length;
    }
    return end - first;
  }

  /** `bytes` of what was taken are done. */
  advance(request: number, bytes: number): void {
    if (this.#cutLength[request] !== 0) {
      this.#words[this.#at(request, this.#cut[request]!) + 2] = this.#cutLength[request]!;
      this.#cutLength[request] = 0;
    }
    let first = this.#first[request]!;
    const end = this.#end[request]!;
    for (let left = bytes; left > 0 && first < end; ) {
      const at = this.#at(request, first);
      const length = this.#words[at + 2]!;
      if (length > left) {
        this.#rest[0] = this.#words[at]! + this.#words[at + 1]! * TWO_32;
        this.#put(request, first, this.#rest, 0, left, length - left);
        break;
      }
      left -= length;
      first++;
    }
    this.#first[request] = first;
  }

  /** Whether every buffer of the request begins at a multiple of `memory` and is a multiple of `length` long. */
  isAligned(request: number, memory: number, length: number): boolean {
    const end = this.#end[request]!;
    for (let i = this.#first[request]!; i < end; i++) {
      const at = this.#at(request, i);
      if ((this.#words[at]! & (memory - 1)) !== 0 || (this.#words[at + 2]! & (length - 1)) !== 0) return false;
    }
    return true;
  }

  /** Copies what comes next in the request's buffers into `target`, all of it. */
  copyOut(request: number, target: Uint8Array): void {
    for (let i = this.#first[request]!, done = 0; done < target.length; i++) {
      const part = this.#part(request, i, target, done);
      native().copyOut(this.#bufferAt(request, i), part);
      done += part.length;
    }
  }

  /** Copies `source` to what comes next in the request's buffers, all of it. */
  copyIn(request: number, source: Uint8Array): void {
    for (let i = this.#first[request]!, done = 0; done < source.length; i++) {
      const part = this.#part(request, i, source, done);
      native().copyIn(this.#bufferAt(request, i), part);
      done += part.length;
    }
  }

  /** Puts into `addresses[request]` where the iovecs of the next operation are, or its buffer if it has `count` 1. */
  place(request: number, count: number, addresses: Float64Array): void {
    const first = this.#first[request]!;
    const at = this.#at(request, first);
    addresses[request] =
      count > 1
        ? this.#block.address + (request * this.#stride + first) * iovecSize
        : this.#words[at]! + this.#words[at + 1]! * TWO_32;
  }

  close(): void {
    this.#block.close();
    freeArrays(this.#first, this.#end, this.#cut, this.#cutLength);
  }

  #bufferAt(request: number, index: number): number {
    const at = this.#at(request, index);
    return this.#words[at]! + this.#words[at + 1]! * TWO_32;
  }

  /** Of `bytes` from `done` on, what belongs into one buffer. */
  #part(request: number, index: number, bytes: Uint8Array, done: number): Uint8Array {
    return bytes.subarray(done, done + this.#words[this.#at(request, index) + 2]!);
  }

  #at(request: number, index: number): number {
    return (request * this.#stride + index) * words;
  }

  /** `length` bytes at `addresses[from] + skip`: as an argument an address would be an allocation. */
  #put(request: number, index: number, addresses: Float64Array, from: number, skip: number, length: number): void {
    const at = this.#at(request, index);
    const address = addresses[from]! + skip;
    this.#words[at] = address;
    this.#words[at + 1] = address / TWO_32;
    this.#words[at + 2] = length;
    this.#words[at + 3] = 0;
  }
}
