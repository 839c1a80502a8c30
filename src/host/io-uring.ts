/**
 * The I/O engine over io_uring: one io_uring_enter per batch submits everything and waits. The I/O worker.
 *
 * Rules of contract §5: doorbells are one-shot 8-byte reads, re-armed in the enter that follows (multishot polls disarm
 * when the completion queue fills, and one guest's kicks would deafen its neighbours); the completion queue holds
 * everything that can be outstanding; no registered buffers over guest RAM.
 */
import { native } from './addon.js';
import { BatchClock } from './batch-clock.js';
import { BriefWrites } from './brief-writes.js';
import { copiedAtOnce, type IoClient, type IoEngine, POLLIN } from './engine.js';
import { DIRECT, type IoSlots, Operation, SlotTable } from './engine-slots.js';
import { Errno, systemError } from './errno.js';
import { IndexRing } from './index-ring.js';
import { FSYNC_DATASYNC, Opcode, SqeFlag } from './io-uring-layout.js';
import { Rings, UserKind } from './io-uring-rings.js';

/** Steps of an operation that the kernel refused to do at once. */
const Step = {
  first: 0,
  /** An eventfd read answered EAGAIN (kernels before 5.18 do not wait on O_NONBLOCK files): poll, then read. */
  polling: 1,
  /** A file operation answered EAGAIN: once more, from a kernel thread that may block. */
  blocking: 2,
} as const;

const submissionEntries = 512;
export const defaultCompletionEntries = 16_384;

export class IoUringEngine implements IoEngine {
  readonly kind = 'io_uring';
  readonly clock = new BatchClock();
  readonly #rings: Rings;
  readonly #slots: SlotTable;
  /** Address where eventfd counters are dropped. */
  readonly #sink = native().eventSink();
  readonly #brief = new BriefWrites();
  /** Slots whose operation this thread has performed, with their results. */
  readonly #ended: IndexRing;
  readonly #results: Int32Array;
  #inTurn = false;
  /** Of `copiedAtOnce`, in this batch. */
  #copiesLeft = 0;

  /** The engine, or -errno: -ENOSYS, -EPERM where io_uring is forbidden. Belongs to the calling thread. */
  static open(completionEntries = defaultCompletionEntries): IoUringEngine | number {
    const rings = Rings.open(Math.min(submissionEntries, completionEntries / 2), completionEntries);
    return typeof rings === 'number' ? rings : new IoUringEngine(rings);
  }

  private constructor(rings: Rings) {
    this.#rings = rings;
    // Cancellations complete as well: one submission queue of them beside one completion for every slot.
    this.#slots = new SlotTable(rings.completionEntries - rings.submissionEntries);
    this.#ended = new IndexRing(this.#slots.capacity);
    this.#results = new Int32Array(this.#slots.capacity);
  }

  get setupFlags(): number {
    return this.#rings.setupFlags;
  }

  claim(client: IoClient, count: number): IoSlots | undefined {
    return this.#slots.claim(client, count);
  }

  turn(wait: boolean): number {
    if (this.#inTurn) throw new Error('an I/O engine was turned from one of its own completions');
    this.#inTurn = true;
    try {
      this.#submit(wait);
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
    const rings = this.#rings;
    const ended = this.#ended.size > 0;
    return starts.size > 0 || copies.size > 0 || cancelsQueued || ended || rings.ready > 0 || rings.hasDeferred;
  }

  close(): void {
    this.#brief.close();
    this.clock.close();
    this.#rings.close();
  }

  #submit(wait: boolean): void {
    const rings = this.#rings;
    this.#copiesLeft = copiedAtOnce;
    this.#fill();
    while (this.#slots.starts.size > 0 || this.#slots.cancelsQueued || this.#mayCopy()) {
      if (!this.#enter(0)) return; // back-pressure: dispatch what has completed, the rest waits for the next turn
      this.#fill();
    }
    const idle = rings.ready === 0 && this.#ended.size === 0 && this.#slots.copies.size === 0;
    this.#enter(wait && idle ? 1 : 0);
  }

  #mayCopy(): boolean {
    return this.#slots.copies.size > 0 && this.#copiesLeft > 0;
  }

  /** Whether the kernel took something or has nothing to take. */
  #enter(wanted: number): boolean {
    const rings = this.#rings;
    const before = rings.prepared;
    const result = rings.enter(wanted);
    if (result >= 0) return result > 0 || before === 0;
    switch (result) {
      case -Errno.EINTR:
        return false;
      // Short of memory, or completions wait in the kernel's overflow list: they are taken first.
      case -Errno.EAGAIN:
      case -Errno.EBUSY:
        return false;
      default:
        throw systemError('io_uring_enter', result);
    }
  }

  /** Moves queued starts, then cancellations, then long copies, into the submission queue while it has room. */
  #fill(): void {
    const rings = this.#rings;
    const slots = this.#slots;
    while (slots.starts.size > 0 && !rings.full) this.#prepare(slots.starts.shift());
    // After the starts: an operation that is queued and cancelled in one batch is found by its cancellation.
    while (slots.cancelsQueued && !rings.full) {
      const slot = slots.takeCancel();
      if (slot >= 0) rings.prepareCancel(slot);
    }
    while (this.#mayCopy() && !rings.full) {
      const slot = slots.copies.shift();
      this.#copiesLeft -= slots.bytes[slot]!;
      this.#prepare(slot);
    }
  }

  #prepare(slot: number): void {
    const slots = this.#slots;
    slots.markStarted(slot);
    const rings = this.#rings;
    const step = slots.step[slot]!;
    if (slots.operation[slot]! >= Operation.briefWrite && this.#brief.perform(slots, slot)) {
      this.#results[slot] = this.#brief.result;
      this.#ended.push(slot);
      return;
    }
    const operation = slots.operation[slot]!;
    switch (operation) {
      case Operation.read:
      case Operation.write:
      case Operation.readVector:
      case Operation.writeVector: {
        const flags = step === Step.blocking ? SqeFlag.async : 0;
        rings.prepare(slots, slot, opcodes[operation]!, flags, slots.flags[slot]! & ~DIRECT);
        break;
      }
      case Operation.sync:
        rings.prepareBare(slots, slot, Opcode.fsync, 0, 0);
        break;
      case Operation.dataSync:
        rings.prepareBare(slots, slot, Opcode.fsync, 0, FSYNC_DATASYNC);
        break;
      case Operation.eventRead:
        slots.address[slot] = this.#sink;
        if (step === Step.polling) rings.prepareBare(slots, slot, Opcode.pollAdd, 0, POLLIN);
        else rings.prepare(slots, slot, Opcode.read, 0, 0);
        break;
      case Operation.poll:
        rings.prepareBare(slots, slot, Opcode.pollAdd, 0, slots.flags[slot]!);
        break;
      case Operation.allocate:
        // The kernel takes the mode from `len` and the length from `addr` (io_uring_prep_fallocate(3)).
        rings.prepare(slots, slot, Opcode.fallocate, 0, 0);
        break;
      case Operation.close:
        rings.prepareBare(slots, slot, Opcode.close, SqeFlag.async, 0);
        break;
      default:
        throw new Error(`I/O operation ${operation} is unknown`);
    }
  }

  #dispatch(): number {
    this.clock.expire();
    const rings = this.#rings;
    let completed = this.#ended.size;
    for (let left = completed; left > 0; left--) {
      const slot = this.#ended.shift();
      this.#slots.complete(slot, this.#results[slot]!);
    }
    try {
      for (let left = rings.ready; left > 0; left--) {
        rings.next();
        if (rings.userHigh !== UserKind.operation) continue; // a cancellation: its target's own completion tells
        if (this.#goesOn(rings.userLow, rings.result)) continue;
        completed++;
        this.#slots.complete(rings.userLow, rings.result);
      }
    } finally {
      rings.giveBack();
    }
    return completed;
  }

  /** Whether the operation was queued again instead of having ended. */
  #goesOn(slot: number, result: number): boolean {
    const slots = this.#slots;
    const operation = slots.operation[slot]!;
    const step = slots.step[slot]!;
    if (slots.isCancelled(slot)) return false;
    if (operation === Operation.eventRead && step === Step.polling && result >= 0) slots.step[slot] = Step.first;
    else if (result === -Errno.EINTR && operation !== Operation.close) slots.step[slot] = step;
    else if (result !== -Errno.EAGAIN || step !== Step.first) return false;
    else if (operation === Operation.eventRead) slots.step[slot] = Step.polling;
    else if (operation <= Operation.writeVector) slots.step[slot] = Step.blocking;
    else return false;
    slots.restart(slot);
    return true;
  }
}

const opcodes: Readonly<Record<number, Opcode>> = {
  [Operation.read]: Opcode.read,
  [Operation.write]: Opcode.write,
  [Operation.readVector]: Opcode.readv,
  [Operation.writeVector]: Opcode.writev,
};
