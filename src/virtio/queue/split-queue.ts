/**
 * The device's half of a split virtqueue: virtio 1.2 §2.7. The thread that serves the queue, alone.
 *
 * Made at activation from the frozen, validated parameters and dropped at reset. Ring indices go through `Atomics`, which
 * are full barriers on these views too (contract §5.4); what lies between two of them is read and written plainly.
 * Positions are kept in fields while chains move and stored to machine state at the end of every batch.
 */
import { freeArrays } from '../../host/free-arrays.js';
import type { GuestMemory } from '../../memory/guest-memory.js';
import type { VirtioQueueRegisters } from '../registers.js';
import { Chain } from './chain.js';
import { DescriptorReader } from './descriptors.js';
import {
  AVAIL_NO_INTERRUPT,
  availableAlignment,
  availableRingBytes,
  descriptorAlignment,
  descriptorTableBytes,
  maxQueueSize,
  passes,
  USED_NO_NOTIFY,
  usedAlignment,
  usedRingBytes,
} from './ring-format.js';
import { Violation } from './violation.js';

export const Pop = { empty: 0, chain: 1, violation: 2 } as const;
export type Pop = (typeof Pop)[keyof typeof Pop];

export interface QueueOptions {
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  /** Most buffers in one chain: the largest size that the device offers for this queue. */
  readonly maxChain: number;
}

const TWO_32 = 0x1_0000_0000;
/** 16-bit words of either ring: flags, idx. */
const FLAGS = 0;
const INDEX = 1;
const AVAIL_RING = 2;
/** 32-bit word of the used ring where its elements start. */
const USED_RING = 1;

export class SplitQueue {
  readonly size: number;
  /** The buffers of the chain that `pop` took. */
  readonly chain: Chain;
  /** Why the queue stands still: nothing is popped any more. */
  violation: string | undefined;
  /** Chains popped and not given back. */
  inFlight = 0;

  readonly #registers: VirtioQueueRegisters;
  readonly #descriptors: DescriptorReader;
  readonly #avail: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedElements: Uint32Array;
  readonly #busyHeads: Uint8Array;
  readonly #eventIndex: boolean;
  readonly #mask: number;
  #nextAvail: number;
  /** `idx` of the available ring as last read: everything before it is published. */
  #seenAvail: number;
  #nextUsed: number;
  /** `idx` of the used ring as the driver sees it. */
  #publishedUsed: number;
  #signalledUsed: number;
  #signalledValid: boolean;

  /** The queue, or what is wrong with its parameters. */
  static open(registers: VirtioQueueRegisters, memory: GuestMemory, options: QueueOptions): SplitQueue | Violation {
    const size = registers.frozenSize;
    if (size === 0 || (size & (size - 1)) !== 0 || size > Math.min(maxQueueSize, options.maxChain))
      return Violation.queueSize;
    const table = registers.frozenDescHigh * TWO_32 + registers.frozenDescLow;
    const avail = registers.frozenDriverHigh * TWO_32 + registers.frozenDriverLow;
    const used = registers.frozenDeviceHigh * TWO_32 + registers.frozenDeviceLow;
    if (table % descriptorAlignment !== 0 || avail % availableAlignment !== 0 || used % usedAlignment !== 0) {
      return Violation.ringAlignment;
    }
    const views = [
      memory.view(table, descriptorTableBytes(size)),
      memory.view(avail, availableRingBytes(size)),
      memory.view(used, usedRingBytes(size)),
    ] as const;
    const [tableView, availView, usedView] = views;
    if (tableView === undefined || availView === undefined || usedView === undefined) return Violation.ringAddress;
    return new SplitQueue(registers, memory, options, tableView, availView, usedView);
  }

  private constructor(
    registers: VirtioQueueRegisters,
    memory: GuestMemory,
    options: QueueOptions,
    table: Uint8Array,
    avail: Uint8Array,
    used: Uint8Array,
  ) {
    const size = registers.frozenSize;
    this.size = size;
    this.#mask = size - 1;
    this.#registers = registers;
    this.#eventIndex = options.eventIndex;
    this.chain = new Chain(options.maxChain);
    this.#descriptors = new DescriptorReader(
      memory,
      new Uint32Array(table.buffer, table.byteOffset, size * 4),
      size,
      options.indirect,
    );
    this.#avail = new Uint16Array(avail.buffer, avail.byteOffset, availableRingBytes(size) / 2);
    this.#used = new Uint16Array(used.buffer, used.byteOffset, usedRingBytes(size) / 2);
    this.#usedElements = new Uint32Array(used.buffer, used.byteOffset, USED_RING + size * 2);
    this.#busyHeads = new Uint8Array(size);
    this.#nextAvail = registers.nextAvail;
    this.#seenAvail = this.#nextAvail;
    this.#nextUsed = registers.nextUsed;
    this.#publishedUsed = this.#nextUsed;
    this.#signalledUsed = registers.signalledUsed;
    this.#signalledValid = registers.signalledUsedValid !== 0;
  }

  /** After the driver's reset: it is not used any more. */
  close(): void {
    this.chain.close();
    freeArrays(this.#busyHeads);
  }

  /** Takes the next chain into `chain`. */
  pop(): Pop {
    if (this.violation !== undefined) return Pop.violation;
    const next = this.#nextAvail;
    if (next === this.#seenAvail) {
      const published = Atomics.load(this.#avail, INDEX); // acquire: the entries before it are visible after this
      if (published === next) return Pop.empty;
      if (((published - next) & 0xffff) > this.size) return this.violate(Violation.availableJump);
      this.#seenAvail = published;
    }
    const head = this.#avail[AVAIL_RING + (next & this.#mask)]!;
    if (head >= this.size) return this.violate(Violation.headIndex);
    if (this.#busyHeads[head] === 1) return this.violate(Violation.duplicateHead);
    const wrong = this.#descriptors.read(head, this.chain);
    if (wrong !== undefined) return this.violate(wrong);
    this.#busyHeads[head] = 1;
    this.inFlight++;
    this.#nextAvail = (next + 1) & 0xffff;
    return Pop.chain;
  }

  /** Puts the chain that `pop` has just taken back: the next `pop` takes it again. */
  unpop(): void {
    this.#busyHeads[this.chain.head] = 0;
    this.inFlight--;
    this.#nextAvail = (this.#nextAvail - 1) & 0xffff;
  }

  /** Gives the chain `head` back with `written` bytes in its writable buffers. The driver sees it after `publish`. */
  push(head: number, written: number): void {
    if (this.#busyHeads[head] !== 1) throw new Error(`chain ${head} was given back without having been taken`);
    this.#busyHeads[head] = 0;
    this.inFlight--;
    const at = USED_RING + (this.#nextUsed & this.#mask) * 2;
    this.#usedElements[at] = head;
    this.#usedElements[at + 1] = written;
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
  }

  /** Something was pushed and not published. */
  get unpublished(): boolean {
    return this.#nextUsed !== this.#publishedUsed;
  }

  /**
   * Shows the driver everything pushed since the last time, with one store. True if it wants an interrupt for it
   * (virtio 1.2 §2.7.7.2); with the event index the driver says for which element.
   */
  publish(): boolean {
    const now = this.#nextUsed;
    if (now === this.#publishedUsed) return false;
    // Release for the elements, and a full fence before what the driver wants is read: it stores its wish, then looks at
    // idx; we store idx, then look at its wish. One of the two sees the other (§2.7.7).
    Atomics.store(this.#used, INDEX, now);
    this.#publishedUsed = now;
    const old = this.#signalledUsed;
    const first = !this.#signalledValid;
    this.#signalledUsed = now;
    this.#signalledValid = true;
    this.save();
    if (!this.#eventIndex) return (Atomics.load(this.#avail, FLAGS) & AVAIL_NO_INTERRUPT) === 0;
    return first || passes(Atomics.load(this.#avail, AVAIL_RING + this.size), now, old);
  }

  /** Doorbells are not wanted while chains are being taken. A hint: the driver may ring all the same. */
  silenceDoorbell(): void {
    // With the event index the last wish has passed already, and the flags must stay 0 (§2.7.10.1).
    if (!this.#eventIndex) Atomics.store(this.#used, FLAGS, USED_NO_NOTIFY);
  }

  /** The driver has offered chains that are not taken. Whether they are right shows when they are. */
  get hasAvailable(): boolean {
    return Atomics.load(this.#avail, INDEX) !== this.#nextAvail;
  }

  /** Asks for a doorbell at the next chain. True if one came meanwhile, for which no doorbell may come. */
  armDoorbell(): boolean {
    this.save();
    // A full fence between the wish and the look, as in `publish`.
    if (this.#eventIndex) Atomics.store(this.#used, AVAIL_RING + this.size * 4, this.#nextAvail);
    else Atomics.store(this.#used, FLAGS, 0);
    return this.hasAvailable;
  }

  /** Stores the positions where a snapshot and the next activation find them. */
  save(): void {
    this.#registers.nextAvail = this.#nextAvail;
    this.#registers.nextUsed = this.#publishedUsed;
    this.#registers.signalledUsed = this.#signalledUsed;
    this.#registers.signalledUsedValid = this.#signalledValid ? 1 : 0;
  }

  /** The driver broke the protocol of the rings or of the device: the queue stands still until the reset. */
  violate(violation: string): Pop {
    this.violation = violation;
    return Pop.violation;
  }
}
