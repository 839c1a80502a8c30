/**
 * A disk whose content functions of the embedding program supply: what is known of it once its options were checked. Any
 * thread; the functions run on the thread that made them, main or the worker of their module.
 */
import type { OpenUserDisk } from './user-channel.js';

/** Of one request. */
export interface RequestContext {
  /** Aborts when nobody waits for the answer any more: a deadline, a reset of the device, the end of the machine. */
  readonly signal: AbortSignal;
}

type Awaitable<T> = T | Promise<T>;

export interface UserDiskFunctions {
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is one that fills its buffer
  read(offset: number, into: Buffer, context: RequestContext): Awaitable<void | Uint8Array>;
  write?: ((offset: number, data: Buffer, context: RequestContext) => Awaitable<void>) | undefined;
  flush?: ((context: RequestContext) => Awaitable<void>) | undefined;
  discard?: ((offset: number, length: number, context: RequestContext) => Awaitable<void>) | undefined;
  zeroes?: ((offset: number, length: number, context: RequestContext) => Awaitable<void>) | undefined;
}

/** Plain data: posted to workers. */
export interface UserDiskFacts {
  /** Bytes; a multiple of `blockSize`. */
  readonly size: number;
  /** What requests are multiples of, if it was stated. */
  readonly blockSize: 512 | 4096 | undefined;
  readonly readOnly: boolean;
  /** Calls that have not settled yet, at most. */
  readonly concurrency: number;
  /** Milliseconds until a request fails. */
  readonly timeout: number;
  /** There is a `flush`; without one every write that has ended is durable. */
  readonly flushes: boolean;
  /** There is a `discard`, and a `zeroes`; without the latter zeroes are written. */
  readonly discards: boolean;
  readonly zeroes: boolean;
}

export interface UserDisk {
  readonly facts: UserDiskFacts;
  readonly functions: UserDiskFunctions;
}

/** What may be said of a disk, and which of it are functions. */
export const userDiskNames = ['size', 'blockSize', 'readOnly', 'concurrency', 'timeout'] as const;
export const userDiskFunctions = ['read', 'write', 'flush', 'discard', 'zeroes'] as const;

/** Who serves a disk, as its machine sees it. Main thread. */
export interface UserDiskSource {
  readonly facts: UserDiskFacts;
  /** From here on what the I/O worker asks is answered. Once. */
  serve(disk: OpenUserDisk): void;
  /** Reads for the boot: whole blocks, at most `partBytes` (user-channel.ts). Rejects with why when the functions fail. */
  read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array>;
  /** Every request fails from now on, and a warning says why. */
  fail(why: string): Promise<void>;
  /** Nothing is asked any more. Resolves, after a bounded time, when no function runs any more or they are given up. */
  close(): Promise<void>;
}
