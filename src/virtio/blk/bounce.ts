/**
 * Memory between a guest and a device that cannot reach the guest's buffers where they are, for direct I/O: a place for
 * each request. The I/O worker.
 *
 * Buffers that a driver takes from its page cache are aligned; others are few, and small parts are good enough for them.
 */
import { HostBlock } from '../../host/host-block.js';
import type { IoVectors } from './io-vectors.js';

/** What one operation moves at most; a multiple of every unit of direct I/O, and so is every place. */
export const bounceBytes = 64 * 1024;

export class BounceBuffers {
  readonly #block: HostBlock;
  readonly #bytes: Uint8Array;

  constructor(requests: number) {
    this.#block = new HostBlock(requests * bounceBytes);
    this.#bytes = new Uint8Array(this.#block.buffer);
  }

  address(request: number): number {
    return this.#block.address + request * bounceBytes;
  }

  /** The next `bytes` of the request's buffers into its place. */
  gather(request: number, vectors: IoVectors, bytes: number): void {
    vectors.copyOut(request, this.#place(request, bytes));
  }

  /** The other way. */
  scatter(request: number, vectors: IoVectors, bytes: number): void {
    vectors.copyIn(request, this.#place(request, bytes));
  }

  close(): void {
    this.#block.close();
  }

  #place(request: number, bytes: number): Uint8Array {
    return this.#bytes.subarray(request * bounceBytes, request * bounceBytes + bytes);
  }
}
