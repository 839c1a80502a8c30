/**
 * What the I/O worker and the thread that serves a user's disk share: a table of requests, each with room for its data.
 * Both.
 *
 * A request belongs to one side at a time, and its state says to which; whoever gives it to the other stores the state last
 * and rings. There is no queue between them that a thread could leave half way through when it dies: requests are taken in
 * the order of their sequence numbers, answers in any. The data is a copy (contract §4.13): the kernel, guest pages and the
 * user's functions never meet here.
 */
import { native } from '../host/addon.js';
import { takeShared } from '../memory/shared-pool.js';

/** Requests that are under way at a time. */
export const channelSlots = 16;
/** The data of one; what is longer goes in parts. */
export const partBytes = 2 ** 20;

export const SlotState = {
  /** Of the I/O worker. */
  free: 0,
  /** Filled in; whoever serves takes it. */
  submitted: 1,
  taken: 2,
  /** Answered; the I/O worker takes it back. */
  done: 3,
} as const;

export const UserOperation = { read: 0, write: 1, flush: 2, discard: 3, zeroes: 4 } as const;
export const userOperationNames = ['read', 'write', 'flush', 'discard', 'zeroes'] as const;

/** As main opened it; plain data, posted to the I/O worker and to a module's. Main closes the descriptors. */
export interface OpenUserDisk {
  readonly kind: 'user';
  readonly size: number;
  readonly readOnly: boolean;
  /** What requests are multiples of. */
  readonly blockSize: number;
  readonly direct?: undefined;
  /** Which functions there are. */
  readonly flushes: boolean;
  readonly discards: boolean;
  readonly zeroes: boolean;
  readonly channel: SharedArrayBuffer;
  /** eventfd that the I/O worker listens to while it waits for answers. */
  readonly ioDoorbell: number;
  /** eventfd that the other side listens to. */
  readonly serverDoorbell: number;
}

const wordsPerSlot = 6;
/** Words: epoch, rung, rung; the slots' follow. */
const headerWords = 4;
const Header = { epoch: 0, ioRung: 1, serverRung: 2 } as const;
const Word = { state: 0, sequence: 1, operation: 2, epoch: 3, length: 4, result: 5 } as const;
const offsetsAt = (headerWords + channelSlots * wordsPerSlot) * 4;
const dataAt = 4096;

/** Memory that nobody has touched costs nothing. For `giveShared` when nobody uses it any more. */
export const allocateChannel = (): SharedArrayBuffer => takeShared(dataAt + channelSlots * partBytes);

export class UserChannel {
  readonly #words: Int32Array;
  readonly #offsets: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #ioDoorbell: number;
  readonly #serverDoorbell: number;

  constructor({ channel, ioDoorbell, serverDoorbell }: OpenUserDisk) {
    this.#words = new Int32Array(channel, 0, headerWords + channelSlots * wordsPerSlot);
    this.#offsets = new Float64Array(channel, offsetsAt, channelSlots);
    this.#bytes = new Uint8Array(channel, dataAt);
    this.#ioDoorbell = ioDoorbell;
    this.#serverDoorbell = serverDoorbell;
  }

  /** Moves on when all that was asked before has become pointless. */
  get epoch(): number {
    return Atomics.load(this.#words, Header.epoch);
  }

  nextEpoch(): void {
    Atomics.add(this.#words, Header.epoch, 1);
  }

  state(slot: number): number {
    return Atomics.load(this.#words, at(slot, Word.state));
  }

  /** Gives the slot to the other side, or takes it. */
  setState(slot: number, state: number): void {
    Atomics.store(this.#words, at(slot, Word.state), state);
  }

  /** The I/O worker fills in a slot that is its own, the data first. */
  submit(slot: number, sequence: number, operation: number, offset: number, length: number): void {
    this.#words[at(slot, Word.sequence)] = sequence;
    this.#words[at(slot, Word.operation)] = operation;
    this.#words[at(slot, Word.epoch)] = this.epoch;
    this.#words[at(slot, Word.length)] = length;
    this.#offsets[slot] = offset;
    this.setState(slot, SlotState.submitted);
  }

  /** 0, or -errno. A read's data is there before. */
  complete(slot: number, result: number): void {
    this.#words[at(slot, Word.result)] = result;
    this.setState(slot, SlotState.done);
  }

  sequence(slot: number): number {
    return this.#words[at(slot, Word.sequence)]!;
  }
  operation(slot: number): number {
    return this.#words[at(slot, Word.operation)]!;
  }
  epochOf(slot: number): number {
    return this.#words[at(slot, Word.epoch)]!;
  }
  length(slot: number): number {
    return this.#words[at(slot, Word.length)]!;
  }
  offset(slot: number): number {
    return this.#offsets[slot]!;
  }
  result(slot: number): number {
    return this.#words[at(slot, Word.result)]!;
  }

  /** The slot's data; for who has the slot. */
  data(slot: number, length: number): Uint8Array {
    return this.#bytes.subarray(slot * partBytes, slot * partBytes + length);
  }

  /** A side that was rung and has not looked yet is not rung again. */
  ringServer(): void {
    if (Atomics.exchange(this.#words, Header.serverRung, 1) === 0) native().ring(this.#serverDoorbell);
  }
  ringIo(): void {
    if (Atomics.exchange(this.#words, Header.ioRung, 1) === 0) native().ring(this.#ioDoorbell);
  }

  /** Before the look that a ring is for: what comes later rings again. */
  serverLooks(): void {
    Atomics.store(this.#words, Header.serverRung, 0);
  }
  ioLooks(): void {
    Atomics.store(this.#words, Header.ioRung, 0);
  }

  /** Whoever served before may have died between the note of a ring and the ring. */
  ringIoAnyway(): void {
    native().ring(this.#ioDoorbell);
  }
}

const at = (slot: number, word: number): number => headerWords + slot * wordsPerSlot + word;
