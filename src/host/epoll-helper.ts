/**
 * File operations that may block, done by a helper thread for the epoll engine: a request ring and a completion ring in
 * one SharedArrayBuffer, single producer and single consumer each way. I/O worker on one side, helper on the other.
 *
 * The helper sleeps on the count of requests (a futex) and rings an eventfd, which the engine polls, when it has
 * finished one. Rings have room for every slot of the engine, so neither is ever full.
 */
import { native } from './addon.js';
import { DIRECT, Operation } from './engine-slots.js';
import { Errno } from './errno.js';
import { closeFd, Sys, syscall } from './system.js';

/** Words of the head. */
const Head = { requested: 0, completed: 1, eventFd: 2, capacity: 3 } as const;
const headWords = 8;
/** Words of a request: slot, operation, descriptor, iovec count, flags; address and offset are doubles. fallocate(2): see `Operation`. */
const requestWords = 6;
const completionWords = 2;
/** Not an operation of a slot: the helper ends. */
const STOP = 0;

export class HelperChannel {
  readonly buffer: SharedArrayBuffer;
  readonly #head: Int32Array;
  readonly #numbers: Float64Array;
  readonly #requests: Int32Array;
  readonly #completions: Int32Array;
  readonly #capacity: number;
  #requested = 0;
  #taken = 0;

  /** What `takeCompletion` took. */
  slot = 0;
  result = 0;

  /** A new channel; `eventFd` is rung by the helper. `capacity` is a power of two. */
  static create(capacity: number, eventFd: number): HelperChannel {
    const bytes = headWords * 4 + capacity * (2 * 8 + (requestWords + completionWords) * 4);
    const head = new Int32Array(new SharedArrayBuffer(bytes), 0, headWords);
    head[Head.capacity] = capacity;
    head[Head.eventFd] = eventFd;
    return new HelperChannel(head.buffer as SharedArrayBuffer);
  }

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#head = new Int32Array(buffer, 0, headWords);
    const capacity = this.#head[Head.capacity]!;
    this.#capacity = capacity;
    let at = headWords * 4;
    this.#numbers = new Float64Array(buffer, at, capacity * 2);
    at += capacity * 16;
    this.#requests = new Int32Array(buffer, at, capacity * requestWords);
    at += capacity * requestWords * 4;
    this.#completions = new Int32Array(buffer, at, capacity * completionWords);
  }

  /** Engine: hands over one operation on `count` iovecs at `address`, or on what else the slot's row says. */
  request(
    slot: number,
    operation: number,
    fd: number,
    address: number,
    count: number,
    offset: number,
    flags: number,
  ): void {
    const index = this.#requested & (this.#capacity - 1);
    this.#numbers[index * 2] = address;
    this.#numbers[index * 2 + 1] = offset;
    const at = index * requestWords;
    const requests = this.#requests;
    requests[at] = slot;
    requests[at + 1] = operation;
    requests[at + 2] = fd;
    requests[at + 3] = count;
    requests[at + 4] = flags;
    this.#requested = (this.#requested + 1) | 0;
    Atomics.store(this.#head, Head.requested, this.#requested);
    Atomics.notify(this.#head, Head.requested);
  }

  /** Engine: a completion waits to be taken. */
  get hasCompleted(): boolean {
    return Atomics.load(this.#head, Head.completed) !== this.#taken;
  }

  /** Engine: whether a completion was there; it is in `slot` and `result` then. */
  takeCompletion(): boolean {
    if (!this.hasCompleted) return false;
    const at = (this.#taken & (this.#capacity - 1)) * completionWords;
    this.slot = this.#completions[at]!;
    this.result = this.#completions[at + 1]!;
    this.#taken = (this.#taken + 1) | 0;
    return true;
  }

  /** Engine: the helper ends after what it was given. */
  stop(): void {
    this.request(-1, STOP, -1, 0, 0, 0, 0);
  }

  /** Helper: serves until `stop`. */
  serve(): void {
    const eventFd = this.#head[Head.eventFd]!;
    let completed = 0;
    for (let taken = 0; ; taken = (taken + 1) | 0) {
      while (Atomics.load(this.#head, Head.requested) === taken) Atomics.wait(this.#head, Head.requested, taken);
      const index = taken & (this.#capacity - 1);
      const at = index * requestWords;
      const operation = this.#requests[at + 1]!;
      if (operation === STOP) return;
      const done = (completed & (this.#capacity - 1)) * completionWords;
      this.#completions[done] = this.#requests[at]!;
      this.#completions[done + 1] = this.#perform(index, at, operation);
      completed = (completed + 1) | 0;
      Atomics.store(this.#head, Head.completed, completed);
      native().ring(eventFd);
    }
  }

  #perform(index: number, at: number, operation: number): number {
    const fd = this.#requests[at + 2]!;
    const address = this.#numbers[index * 2]!;
    const offset = this.#numbers[index * 2 + 1]!;
    const count = this.#requests[at + 3]!;
    const flags = this.#requests[at + 4]! & ~DIRECT;
    switch (operation) {
      case Operation.readVector:
        return syscall(Sys.preadv2, fd, address, count, offset, 0, flags);
      case Operation.writeVector:
        return syscall(Sys.pwritev2, fd, address, count, offset, 0, flags);
      case Operation.sync:
        return syscall(Sys.fsync, fd);
      case Operation.dataSync:
        return syscall(Sys.fdatasync, fd);
      case Operation.allocate:
        return syscall(Sys.fallocate, fd, count, offset, address);
      case Operation.close:
        return closeFd(fd);
      default:
        return -Errno.ENOSYS;
    }
  }
}
