/**
 * What performs the requests of a block device, once the device has checked them: the seam between virtio-blk and what a
 * disk is made of. The I/O worker.
 *
 * The device gives each request a number from 0 below its limit, which is its own until `done`. The chain is valid during
 * the call; the buffers it describes are the request's until `done`. A backend is, like the device, a state machine driven
 * by calls.
 */
import type { DataPathHost } from '../device.js';
import type { Chain } from '../queue/chain.js';

export interface BlkRequests {
  /**
   * The request has ended: 0, or -errno. May be called from inside the call that began it. The backend has then finished
   * with its buffers and its number.
   */
  done(request: number, result: number): void;
  /** A request moves data that it did not name: zeroes that are written where the disk can do nothing better. */
  moves(bytes: number): void;
}

export interface BlkBackend {
  /** I/O slots that it needs for as many requests as `attach` allows. */
  readonly slotCount: number;
  /** Once, before anything else. */
  attach(host: DataPathHost, requests: BlkRequests): void;
  /** A driver is there. */
  activate(): void;
  /** `bytes` of the disk, from the request's offset on, into the writable buffers of the chain, which have room for them. */
  read(request: number, bytes: number, chain: Chain): void;
  /**
   * `bytes` to the disk, from the readable buffers of the chain, after the header. `durable`: it has ended only when they
   * would survive the loss of power.
   */
  write(request: number, bytes: number, chain: Chain, durable: boolean): void;
  /** What is in these bytes is not wanted any more: a hint, and what is read there later is undefined. */
  discard(request: number, bytes: number): void;
  /**
   * These bytes read as zero from now on, whatever the disk is made of. `unmap`: they need not keep their room. `durable`
   * as for `write`.
   */
  writeZeroes(request: number, bytes: number, unmap: boolean, durable: boolean): void;
  /** Everything that was written and has ended will survive the loss of power. */
  flush(request: number): void;
  onCompletion(slot: number, result: number): void;
  /** The driver has gone: what is under way ends as soon as it can, and says so. */
  stop(): void;
  /** Once, at the end, when nothing is under way. */
  close(): void;
}
