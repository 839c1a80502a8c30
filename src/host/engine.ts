/**
 * What an I/O engine is: operations started in numbered slots, performed in batches, their completions handed to the
 * slot's owner. The I/O worker; two implementations, io-uring.ts and epoll-engine.ts, pass the same tests.
 *
 * A client claims a range of slots once and starts at most one operation in each. A slot is a row of preallocated typed
 * arrays (engine-slots.ts), so nothing is allocated per operation and everything that can be outstanding is counted
 * before it starts: a claim that does not fit is refused, a claimed slot never fails for lack of room (contract §5.1).
 */
import type { BatchClock } from './batch-clock.js';
import type { IoSlots } from './engine-slots.js';

/** Who claimed slots. Called from `turn` only, never from inside the method that started the operation. */
export interface IoClient {
  /**
   * The operation in `slot` (counted from 0 within the claim) ended; the slot is free again and may be started from
   * here. `result` is the kernel's: a count or another non-negative value, or -errno. Reads and writes may be short.
   */
  onCompletion(slot: number, result: number): void;
}

export interface IoEngine {
  readonly kind: 'io_uring' | 'epoll';
  /** Expires in a turn between what it submits and what it dispatches. */
  readonly clock: BatchClock;
  /** `count` slots, or undefined when the engine has no such room left. */
  claim(client: IoClient, count: number): IoSlots | undefined;
  /**
   * One batch: submits everything started since the last turn and dispatches what has completed. With `wait` it sleeps
   * until something has; 0 then means that a signal ended the sleep. Throws only when the engine itself is broken.
   */
  turn(wait: boolean): number;
  /** Copies are left that a turn makes at once: whoever sleeps now wakes at once. */
  readonly behind: boolean;
  /**
   * A turn would find something to do. Costs no system call, so it may be asked all the time; what arrives by a descriptor
   * that an engine can only learn of by waiting does not show.
   */
  readonly pending: boolean;
  /** No operation may be outstanding whose memory goes away. */
  close(): void;
}

/** Readable, as poll(2) says it. */
export const POLLIN = 1;

/**
 * A read or write of what the page cache holds is a copy, and the engine's thread makes it. So long ones take turns: one batch
 * begins with no more than these bytes of them (and at least one), behind everything that is short, so that no guest's large
 * requests keep the others, and Node, waiting.
 */
export const copiedAtOnce = 512 * 1024;
