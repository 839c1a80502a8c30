/**
 * The I/O engine where io_uring is forbidden: descriptors are polled with epoll, files are read and written with
 * RWF_NOWAIT, and what would block goes to a helper thread, so that one cold disk does not stall every VM (contract
 * §5.2). The I/O worker.
 */
import { BatchClock } from './batch-clock.js';
import { BriefWrites } from './brief-writes.js';
import { copiedAtOnce, type IoClient, type IoEngine } from './engine.js';
import { DIRECT, type IoSlots, Operation, SlotTable } from './engine-slots.js';
import { EPOLLET, EPOLLIN, EPOLLONESHOT, EpollSet } from './epoll-events.js';
import { HelperChannel } from './epoll-helper.js';
import { Errno, systemError } from './errno.js';
import { HostBlock } from './host-block.js';
import { IndexRing } from './index-ring.js';
import { closeFd, eventFd, Sys, syscall } from './system.js';

/** Starts a thread that calls `new HelperChannel(buffer).serve()`; tells if it died before it was stopped. */
export type StartHelper = (buffer: SharedArrayBuffer, onDeath: () => void) => void;

const RWF_NOWAIT = 8;
/** RWF_DSYNC and RWF_SYNC: the write waits for the medium, whatever RWF_NOWAIT says. */
const RWF_ANY_SYNC = 2 | 4;
const NOT_WATCHED = -1;
/** `data` of the helper's eventfd in the epoll set; no slot has this number. */
const HELPER_DATA = 0xffff_ffff;
const iovecSize = 16;
const TWO_32 = 0x1_0000_0000;
export const defaultEpollSlots = 16_384;

export class EpollEngine implements IoEngine {
  readonly kind = 'epoll';
  readonly clock = new BatchClock();
  readonly #epoll = new EpollSet();
  readonly #slots: SlotTable;
  /** One iovec per slot, for plain reads and writes; and 8 bytes where eventfd counters are dropped. */
  readonly #memory: HostBlock;
  readonly #iovecs: Uint32Array;
  readonly #sink: number;
  /** Slots that have ended and wait for their dispatch, with their results. */
  readonly #ended: IndexRing;
  readonly #results: Int32Array;
  readonly #hasEnded: Uint8Array;
  /** The descriptor that each slot has in the epoll set. */
  readonly #watched: Int32Array;
  /** 1: the edge of this slot's eventfd came while nobody was reading it. */
  readonly #edge: Uint8Array;
  /** 1: the helper has it. */
  readonly #helping: Uint8Array;
  readonly #startHelper: StartHelper;
  readonly #helperDone: number;
  readonly #brief = new BriefWrites();
  #channel: HelperChannel | undefined;
  #inTurn = false;

  constructor(startHelper: StartHelper, capacity = defaultEpollSlots) {
    this.#startHelper = startHelper;
    this.#slots = new SlotTable(capacity);
    this.#slots.onRelease = (base, count) => this.#forget(base, count);
    this.#memory = new HostBlock(capacity * iovecSize + 8);
    this.#iovecs = new Uint32Array(this.#memory.buffer);
    this.#sink = this.#memory.address + capacity * iovecSize;
    this.#ended = new IndexRing(capacity);
    this.#results = new Int32Array(capacity);
    this.#hasEnded = new Uint8Array(capacity);
    this.#watched = new Int32Array(capacity).fill(NOT_WATCHED);
    this.#edge = new Uint8Array(capacity);
    this.#helping = new Uint8Array(capacity);
    const done = eventFd();
    if (done < 0) throw systemError('eventfd2', done);
    this.#helperDone = done;
    this.#epoll.watch(done, EPOLLIN, HELPER_DATA, false);
  }

  claim(client: IoClient, count: number): IoSlots | undefined {
    return this.#slots.claim(client, count);
  }

  turn(wait: boolean): number {
    if (this.#inTurn) throw new Error('an I/O engine was turned from one of its own completions');
    this.#inTurn = true;
    try {
      const { starts, copies, bytes } = this.#slots;
      for (let left = starts.size; left > 0; left--) this.#begin(starts.shift());
      for (let slot = this.#slots.takeCancel(); slot >= 0; slot = this.#slots.takeCancel()) this.#cancel(slot);
      for (let left = copiedAtOnce; left > 0 && copies.size > 0; ) {
        const slot = copies.shift();
        left -= bytes[slot]!;
        this.#begin(slot);
      }
      const count = this.#epoll.wait(wait && this.#ended.size === 0 && copies.size === 0);
      for (let i = 0; i < count; i++) this.#event(this.#epoll.dataOf(i), this.#epoll.eventsOf(i));
      return this.#dispatch();
    } finally {
      this.#inTurn = false;
    }
  }

  get behind(): boolean {
    return this.#slots.copies.size > 0;
  }

  get pending(): boolean {
    const { starts, copies, cancelsQueued } = this.#slots;
    return (
      starts.size > 0 ||
      copies.size > 0 ||
      cancelsQueued ||
      this.#ended.size > 0 ||
      this.#channel?.hasCompleted === true
    );
  }

  close(): void {
    this.#channel?.stop();
    this.#brief.close();
    this.clock.close();
    this.#epoll.close();
    this.#memory.close();
    closeFd(this.#helperDone);
  }

  #dispatch(): number {
    this.clock.expire();
    const count = this.#ended.size;
    for (let left = count; left > 0; left--) {
      const slot = this.#ended.shift();
      this.#hasEnded[slot] = 0;
      this.#slots.complete(slot, this.#results[slot]!);
    }
    return count;
  }

  /** The first end counts: a cancellation may find an operation that has just ended. */
  #end(slot: number, result: number): void {
    if (this.#hasEnded[slot] === 1) return;
    this.#hasEnded[slot] = 1;
    this.#results[slot] = result;
    this.#ended.push(slot);
  }

  #begin(slot: number): void {
    const slots = this.#slots;
    slots.markStarted(slot);
    if (slots.operation[slot]! >= Operation.briefWrite && this.#brief.perform(slots, slot)) {
      this.#end(slot, this.#brief.result);
      return;
    }
    const fd = slots.fd[slot]!;
    switch (slots.operation[slot]) {
      case Operation.read:
      case Operation.write:
      case Operation.readVector:
      case Operation.writeVector:
        this.#transfer(slot, fd);
        break;
      case Operation.eventRead:
        if (this.#watch(slot, fd, EPOLLIN | EPOLLET, false) && this.#edge[slot] === 1) this.#drainEvent(slot);
        break;
      case Operation.poll:
        this.#watch(slot, fd, slots.flags[slot]! | EPOLLONESHOT, true);
        break;
      default:
        this.#toHelper(slot, slots.operation[slot]!, fd, slots.address[slot]!, slots.length[slot]!);
    }
  }

  #transfer(slot: number, fd: number): void {
    const slots = this.#slots;
    const operation = slots.operation[slot]!;
    let vectors = slots.address[slot]!;
    let count = slots.length[slot]!;
    if (operation === Operation.read || operation === Operation.write) {
      const at = slot * (iovecSize / 4);
      this.#iovecs[at] = vectors;
      this.#iovecs[at + 1] = vectors / TWO_32;
      this.#iovecs[at + 2] = count;
      this.#iovecs[at + 3] = 0;
      vectors = this.#memory.address + slot * iovecSize;
      count = 1;
    }
    const reads = operation === Operation.read || operation === Operation.readVector;
    const flags = slots.flags[slot]!;
    if ((flags & (RWF_ANY_SYNC | DIRECT)) === 0) {
      const number = reads ? Sys.preadv2 : Sys.pwritev2;
      const result = syscall(number, fd, vectors, count, slots.offset[slot]!, 0, flags | RWF_NOWAIT);
      // Would block; or the file system cannot tell (buffered writes on most, before 6.0).
      const blocks = result === -Errno.EAGAIN || result === -Errno.EOPNOTSUPP || result === -Errno.EINVAL;
      if (!blocks) {
        this.#end(slot, result);
        return;
      }
    }
    this.#toHelper(slot, reads ? Operation.readVector : Operation.writeVector, fd, vectors, count);
  }

  #toHelper(slot: number, operation: number, fd: number, vectors: number, count: number): void {
    this.#helping[slot] = 1;
    const channel = this.#helper();
    channel.request(slot, operation, fd, vectors, count, this.#slots.offset[slot]!, this.#slots.flags[slot]!);
  }

  #helper(): HelperChannel {
    if (this.#channel !== undefined) return this.#channel;
    const channel = HelperChannel.create(2 ** Math.ceil(Math.log2(this.#slots.capacity + 1)), this.#helperDone);
    this.#channel = channel;
    this.#startHelper(channel.buffer, () => this.#helperDied(channel));
    return channel;
  }

  /** What it had fails; the next operation that needs a helper starts another. */
  #helperDied(channel: HelperChannel): void {
    if (this.#channel !== channel) return;
    this.#collect(channel);
    this.#channel = undefined;
    for (let slot = 0; slot < this.#helping.length; slot++)
      if (this.#helping[slot] === 1) this.#endHelp(slot, -Errno.EIO);
  }

  #collect(channel: HelperChannel): void {
    while (channel.takeCompletion()) this.#endHelp(channel.slot, channel.result);
  }

  #endHelp(slot: number, result: number): void {
    this.#helping[slot] = 0;
    this.#end(slot, result);
  }

  /** Puts the slot's descriptor into the set; false when that failed and has ended the operation. */
  #watch(slot: number, fd: number, events: number, again: boolean): boolean {
    const known = this.#watched[slot] === fd;
    if (known && !again) return true;
    if (!known && this.#watched[slot] !== NOT_WATCHED) this.#epoll.forget(this.#watched[slot]!);
    let result = this.#epoll.watch(fd, events, slot, known);
    // A descriptor number that was closed and opened again is not in the set any more.
    if (known && result === -Errno.ENOENT) result = this.#epoll.watch(fd, events, slot, false);
    this.#watched[slot] = result < 0 ? NOT_WATCHED : fd;
    this.#edge[slot] = 0;
    if (result < 0) this.#end(slot, result);
    return result >= 0;
  }

  #event(data: number, events: number): void {
    if (data === HELPER_DATA) {
      syscall(Sys.read, this.#helperDone, this.#sink, 8);
      if (this.#channel !== undefined) this.#collect(this.#channel);
      return;
    }
    const slot = data;
    const busy = this.#slots.isBusy(slot) && this.#hasEnded[slot] === 0;
    switch (busy ? this.#slots.operation[slot] : Operation.eventRead) {
      case Operation.eventRead:
        this.#edge[slot] = 1;
        if (busy) this.#drainEvent(slot);
        break;
      case Operation.poll:
        this.#end(slot, events);
        break;
      default: // a late event of an operation that was cancelled
    }
  }

  /** Ends an eventfd read if the counter is not zero. Every later ring is a new edge. */
  #drainEvent(slot: number): void {
    const result = syscall(Sys.read, this.#slots.fd[slot]!, this.#sink, 8);
    this.#edge[slot] = 0;
    if (result !== -Errno.EAGAIN) this.#end(slot, result);
  }

  /** Operations on files are never cancelled: the kernel may be writing guest memory (contract §2.5). */
  #cancel(slot: number): void {
    const operation = this.#slots.operation[slot];
    if (operation === Operation.eventRead || operation === Operation.poll) this.#end(slot, -Errno.ECANCELED);
  }

  /** Another thread's KVM may hold the file behind a closed descriptor open, so what was added is removed by name. */
  #forget(base: number, count: number): void {
    for (let slot = base; slot < base + count; slot++) {
      if (this.#watched[slot] !== NOT_WATCHED) this.#epoll.forget(this.#watched[slot]!);
      this.#watched[slot] = NOT_WATCHED;
      this.#edge[slot] = 0;
    }
  }
}
