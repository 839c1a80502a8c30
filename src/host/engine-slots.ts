/**
 * The slots of an I/O engine: one row of typed arrays per operation that can be outstanding. The I/O worker.
 *
 * Starting an operation fills its row and queues its number; the engine performs queued rows at its next turn. The row
 * stays readable until the operation completes, so an engine can start it again after EINTR or hand it to a helper.
 */
import type { IoClient } from './engine.js';
import { IndexRing } from './index-ring.js';

export const Operation = {
  read: 1,
  write: 2,
  readVector: 3,
  writeVector: 4,
  sync: 5,
  dataSync: 6,
  /** 8 bytes from an eventfd, which resets its counter; the content is dropped. */
  eventRead: 7,
  poll: 8,
  close: 9,
  /** fallocate(2): `address` is how many bytes, `length` the mode. */
  allocate: 10,
  /** As `write` and `writeVector`, where the engine's own thread may do it (brief-writes.ts). From here on. */
  briefWrite: 11,
  briefWriteVector: 12,
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

/** Modes of fallocate(2), linux/falloc.h; each with KEEP_SIZE, as PUNCH_HOLE must and ZERO_RANGE should. */
export const FallocateMode = { punchHole: 0x02 | 0x01, zeroRange: 0x10 | 0x01 } as const;

/**
 * A flag of reads and writes beside the kernel's (RWF_): the file is open for direct I/O, so the operation copies nothing and
 * waits for the device, whatever RWF_NOWAIT says of the page cache.
 */
export const DIRECT = 1 << 30;

/** The counter of an eventfd. */
const eventBytes = 8;

/** Beside the call itself not worth counting. */
const shortCopy = 16 * 1024;

const Phase = { idle: 0, queued: 1, started: 2 } as const;
const CANCEL_WANTED = 1;
const CANCEL_QUEUED = 2;
const CANCEL_TAKEN = 4;

export class SlotTable {
  readonly capacity: number;
  readonly operation: Uint8Array;
  readonly fd: Int32Array;
  /** Of the buffer, or of the iovec array. */
  readonly address: Float64Array;
  /** Bytes, or how many iovecs. */
  readonly length: Uint32Array;
  readonly offset: Float64Array;
  /** What a read or write moves at most: the work that it is. */
  readonly bytes: Float64Array;
  /** RWF_ flags and DIRECT, or poll events. */
  readonly flags: Uint32Array;
  /** For the engine: how far a many-step operation is; 0 at its start. */
  readonly step: Uint8Array;
  /** Slots to start at the next turn, in order. */
  readonly starts: IndexRing;
  /** Slots whose operation is a long copy: as many of them are started in a turn as `copiedAtOnce` allows. */
  readonly copies: IndexRing;
  /** Slots whose operation somebody wants ended; ask `takeCancel`. */
  readonly #cancels: IndexRing;
  readonly #cancel: Uint8Array;
  readonly #phase: Uint8Array;
  readonly #owner: (IoSlots | undefined)[];
  /** Claimed ranges, sorted by their first slot. */
  readonly #claims: IoSlots[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.operation = new Uint8Array(capacity);
    this.fd = new Int32Array(capacity);
    this.address = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
    this.offset = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
    this.flags = new Uint32Array(capacity);
    this.step = new Uint8Array(capacity);
    this.starts = new IndexRing(capacity);
    this.copies = new IndexRing(capacity);
    this.#cancels = new IndexRing(capacity);
    this.#cancel = new Uint8Array(capacity);
    this.#phase = new Uint8Array(capacity);
    this.#owner = new Array(capacity).fill(undefined);
  }

  claim(client: IoClient, count: number): IoSlots | undefined {
    if (!Number.isInteger(count) || count < 0) throw new RangeError(`${count} slots cannot be claimed`);
    let base = 0;
    let at = 0;
    for (; at < this.#claims.length; at++) {
      const next = this.#claims[at]!;
      if (base + count <= next.base) break;
      base = next.base + next.count;
    }
    if (base + count > this.capacity) return undefined;
    const slots = new IoSlots(this, client, base, count);
    this.#claims.splice(at, 0, slots);
    this.#owner.fill(slots, base, base + count);
    return slots;
  }

  release(slots: IoSlots): void {
    const at = this.#claims.indexOf(slots);
    if (at < 0) return;
    if (slots.outstanding > 0) throw new Error(`${slots.outstanding} I/O operations are outstanding in released slots`);
    this.#claims.splice(at, 1);
    this.#owner.fill(undefined, slots.base, slots.base + slots.count);
    this.onRelease?.(slots.base, slots.count);
  }

  /** Lets the engine forget what it keeps per slot. */
  onRelease: ((base: number, count: number) => void) | undefined;

  isBusy(slot: number): boolean {
    return this.#phase[slot] !== Phase.idle;
  }

  start(
    slot: number,
    operation: Operation,
    fd: number,
    address: number,
    length: number,
    offset: number,
    flags: number,
    bytes = 0,
  ): void {
    if (this.#phase[slot] !== Phase.idle) throw new Error(`I/O slot ${slot} is in use`);
    this.address[slot] = address;
    this.offset[slot] = offset;
    this.begin(slot, operation, fd, length, flags, bytes);
  }

  /** With its address and offset where they belong. */
  begin(slot: number, operation: Operation, fd: number, length: number, flags: number, bytes: number): void {
    const owner = this.#owner[slot];
    if (owner === undefined) throw new Error(`I/O slot ${slot} is not claimed`);
    if (this.#phase[slot] !== Phase.idle) throw new Error(`I/O slot ${slot} is in use`);
    this.operation[slot] = operation;
    this.fd[slot] = fd;
    this.length[slot] = length;
    this.flags[slot] = flags;
    this.bytes[slot] = (flags & DIRECT) === 0 ? bytes : 0;
    this.step[slot] = 0;
    this.#phase[slot] = Phase.queued;
    owner.outstanding++;
    this.#queue(slot);
  }

  /** Asks for the end of the slot's operation, which then completes with -ECANCELED unless it was faster. */
  cancel(slot: number): void {
    if (this.#phase[slot] === Phase.idle) return;
    const before = this.#cancel[slot]!;
    this.#cancel[slot] = before | CANCEL_WANTED | CANCEL_QUEUED;
    if ((before & CANCEL_QUEUED) === 0) this.#cancels.push(slot);
  }

  /** The engine has given the slot's operation to the kernel (or performs it now). */
  markStarted(slot: number): void {
    this.#phase[slot] = Phase.started;
  }

  /** Queues the same operation again, after EINTR or as its next step. */
  restart(slot: number): void {
    this.#phase[slot] = Phase.queued;
    this.#queue(slot);
  }

  #queue(slot: number): void {
    if (this.bytes[slot]! > shortCopy) this.copies.push(slot);
    else this.starts.push(slot);
  }

  get cancelsQueued(): boolean {
    return this.#cancels.size > 0;
  }

  /** The next slot whose operation is to be cancelled and still runs; -1 when there is none. */
  takeCancel(): number {
    for (;;) {
      const slot = this.#cancels.shift();
      if (slot < 0) return -1;
      const wanted = (this.#cancel[slot]! & CANCEL_WANTED) !== 0;
      this.#cancel[slot] = wanted ? CANCEL_TAKEN : 0;
      if (wanted) return slot;
    }
  }

  /** Somebody wants the slot's operation ended: it must not be started again. */
  isCancelled(slot: number): boolean {
    return (this.#cancel[slot]! & (CANCEL_WANTED | CANCEL_TAKEN)) !== 0;
  }

  /** The slot's operation ended: frees the slot, then tells its owner. */
  complete(slot: number, result: number): void {
    const owner = this.#owner[slot];
    if (owner === undefined || this.#phase[slot] === Phase.idle) throw new Error(`I/O slot ${slot} completed unasked`);
    this.#phase[slot] = Phase.idle;
    this.#cancel[slot] = this.#cancel[slot]! & CANCEL_QUEUED;
    owner.outstanding--;
    owner.client.onCompletion(slot - owner.base, result);
  }
}

/** A client's range of slots; slot numbers here count from 0. */
export class IoSlots {
  readonly client: IoClient;
  readonly base: number;
  readonly count: number;
  /** Started and not completed. Written by the table. */
  outstanding = 0;
  /** For `begin`: of each slot. */
  readonly address: Float64Array;
  readonly offset: Float64Array;
  readonly #table: SlotTable;

  constructor(table: SlotTable, client: IoClient, base: number, count: number) {
    this.#table = table;
    this.client = client;
    this.base = base;
    this.count = count;
    this.address = table.address.subarray(base, base + count);
    this.offset = table.offset.subarray(base, base + count);
  }

  /**
   * Hot: an operation whose `address` and `offset` have been put into these arrays, where they cost nothing; as arguments
   * both would be allocations. `length` is how many bytes, or how many iovecs for `bytes` bytes, which stay as they are until
   * the completion.
   */
  begin(slot: number, operation: Operation, fd: number, length: number, flags: number, bytes: number): void {
    this.#table.begin(this.#at(slot), operation, fd, length, flags, bytes);
  }

  read(slot: number, fd: number, address: number, length: number, offset: number, flags = 0): void {
    this.#table.start(this.#at(slot), Operation.read, fd, address, length, offset, flags, length);
  }

  write(slot: number, fd: number, address: number, length: number, offset: number, flags = 0): void {
    this.#table.start(this.#at(slot), Operation.write, fd, address, length, offset, flags, length);
  }

  sync(slot: number, fd: number): void {
    this.#table.start(this.#at(slot), Operation.sync, fd, 0, 0, 0, 0);
  }

  dataSync(slot: number, fd: number): void {
    this.#table.start(this.#at(slot), Operation.dataSync, fd, 0, 0, 0, 0);
  }

  /** fallocate(2) with a mode of `FallocateMode`. May take long where much is there: ask for parts. */
  allocate(slot: number, fd: number, mode: number, offset: number, bytes: number): void {
    this.#table.start(this.#at(slot), Operation.allocate, fd, bytes, mode, offset, 0);
  }

  /**
   * Completes when the eventfd has been rung, having reset its counter. One-shot. What is watched by a slot, here or
   * with `poll`, is watched by no other, and stays open until the slots are released.
   */
  eventRead(slot: number, fd: number): void {
    this.#table.start(this.#at(slot), Operation.eventRead, fd, 0, eventBytes, 0, 0);
  }

  /** Completes with the events that are ready. One-shot, level. */
  poll(slot: number, fd: number, events: number): void {
    this.#table.start(this.#at(slot), Operation.poll, fd, 0, 0, 0, events);
  }

  /** Closes a descriptor off this thread: closing a VM can take 15 ms. */
  closeFd(slot: number, fd: number): void {
    this.#table.start(this.#at(slot), Operation.close, fd, 0, 0, 0, 0);
  }

  cancel(slot: number): void {
    this.#table.cancel(this.#at(slot));
  }

  isBusy(slot: number): boolean {
    return this.#table.isBusy(this.#at(slot));
  }

  /** Gives the slots back; none may be outstanding. */
  release(): void {
    this.#table.release(this);
  }

  #at(slot: number): number {
    if (!(slot >= 0 && slot < this.count)) throw new RangeError(`I/O slot ${slot} of ${this.count}`);
    return this.base + slot;
  }
}
