/**
 * Plays the driver's half of one split virtqueue: virtio 1.2 §2.7.13-14, so that a device can be tested without a guest.
 *
 * It owns a part of guest memory: the three rings, then room for buffers, given out in order and never twice. It is
 * written from the specification and shares no code with the device's half.
 */
import { VirtioQueueMap, type VirtioQueueRegisters } from '../../../src/virtio/registers.js';
import type { TestRam } from './test-ram.js';

export interface MockBuffer {
  readonly length: number;
  readonly writable: boolean;
  readonly data?: Uint8Array;
}

export const readable = (data: Uint8Array | number): MockBuffer =>
  typeof data === 'number' ? { length: data, writable: false } : { length: data.length, writable: false, data };
export const writable = (length: number): MockBuffer => ({ length, writable: true });

export interface MockDriverOptions {
  readonly size?: number;
  readonly eventIndex?: boolean;
  /** Guest-physical start of what it owns; a multiple of 16. */
  readonly base?: number;
  /** Bytes that it owns. */
  readonly room?: number;
  /** Where both indices start: 0 for a fresh queue. */
  readonly start?: number;
}

export interface Placed {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

export class MockDriver {
  readonly size: number;
  readonly ram: TestRam;
  readonly registers: VirtioQueueRegisters;
  readonly table: number;
  readonly avail: number;
  readonly used: number;
  /** What each chain that was offered consists of, by its head. */
  readonly chains = new Map<number, readonly Placed[]>();
  readonly #eventIndex: boolean;
  readonly #view: DataView;
  readonly #free: number[] = [];
  /** Descriptors of each chain. */
  readonly #owned = new Map<number, number[]>();
  readonly #start: number;
  readonly #end: number;
  readonly #base: number;
  readonly #firstIndex: number;
  #room = 0;
  #availIndex = 0;
  #kickedAvail = 0;
  #seenUsed = 0;

  constructor(ram: TestRam, options: MockDriverOptions = {}) {
    const { size = 8, eventIndex = false, base = 0x1000, room = ram.bytes.length - base, start = 0 } = options;
    this.size = size;
    this.ram = ram;
    this.#eventIndex = eventIndex;
    this.#view = new DataView(ram.bytes.buffer);
    this.table = base;
    this.avail = base + 16 * size;
    this.used = Math.ceil((this.avail + 6 + 2 * size) / 4) * 4;
    this.#start = Math.ceil((this.used + 6 + 8 * size) / 16) * 16;
    this.#end = base + room;
    this.#base = base;
    this.#firstIndex = start;
    this.registers = VirtioQueueMap.over(new ArrayBuffer(VirtioQueueMap.size), 0);
    this.reset();
  }

  /** A driver that begins, with empty rings. The device has been reset. */
  reset(): void {
    const start = this.#firstIndex;
    this.#room = this.#start;
    this.#free.splice(0, this.#free.length, ...Array.from({ length: this.size }, (_, i) => i));
    this.#owned.clear();
    this.chains.clear();
    this.ram.bytes.fill(0, this.#base, this.#start);
    this.configure(this.registers);
    this.registers.nextAvail = start;
    this.registers.nextUsed = start;
    this.#availIndex = start;
    this.#kickedAvail = start;
    this.#seenUsed = start;
    this.#view.setUint16(this.avail + 2, start, true);
    this.#view.setUint16(this.used + 2, start, true);
  }

  /** Sets the frozen parameters, as the transport does at DRIVER_OK. */
  configure(registers: VirtioQueueRegisters): void {
    registers.enabled = 1;
    registers.frozenSize = this.size;
    registers.frozenDescLow = this.table;
    registers.frozenDriverLow = this.avail;
    registers.frozenDeviceLow = this.used;
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** Room for `length` bytes; all buffers are given out again when the room is used up. */
  place(length: number, alignment = 1): number {
    let at = Math.ceil(this.#room / alignment) * alignment;
    if (at + length > this.#end) at = Math.ceil(this.#start / alignment) * alignment;
    if (at + length > this.#end) throw new RangeError('the mock driver has no such room');
    this.#room = at + length;
    return at;
  }

  /** Makes a chain available and says its head. `indirect` is the index of the first buffer that goes into a table. */
  offer(buffers: readonly MockBuffer[], indirect = Number.POSITIVE_INFINITY): number {
    const placed = buffers.map(({ length, writable, data }) => {
      const address = this.place(length);
      if (data !== undefined) this.ram.bytes.set(data, address);
      return { address, length, writable };
    });
    const direct = placed.slice(0, indirect);
    const tabled = placed.slice(indirect);
    const count = direct.length + (tabled.length > 0 ? 1 : 0);
    const taken = this.#free.splice(0, count);
    if (taken.length < count) throw new RangeError('the mock driver has no free descriptors');
    direct.forEach((buffer, i) => {
      const next = taken[i + 1];
      this.describe(
        taken[i]!,
        buffer.address,
        buffer.length,
        (buffer.writable ? WRITE : 0) | (next === undefined ? 0 : NEXT),
        next ?? 0,
      );
    });
    if (tabled.length > 0) {
      const table = this.place(16 * tabled.length, 16);
      tabled.forEach((buffer, i) => {
        const last = i === tabled.length - 1;
        this.#write(
          table + 16 * i,
          buffer.address,
          buffer.length,
          (buffer.writable ? WRITE : 0) | (last ? 0 : NEXT),
          last ? 0 : i + 1,
        );
      });
      this.describe(taken[count - 1]!, table, 16 * tabled.length, INDIRECT, 0);
    }
    const head = taken[0]!;
    this.chains.set(head, placed);
    this.#owned.set(head, taken);
    this.publish(head);
    return head;
  }

  /** Writes one descriptor, right or wrong. */
  describe(index: number, address: number, length: number, flags: number, next: number): void {
    this.#write(this.table + 16 * index, address, length, flags, next);
  }

  /** Puts a head, right or wrong, into the available ring. */
  publish(head: number): void {
    this.#view.setUint16(this.avail + 4 + 2 * (this.#availIndex % this.size), head, true);
    this.setAvailIndex((this.#availIndex + 1) & 0xffff);
  }

  setAvailIndex(index: number): void {
    this.#availIndex = index;
    this.#view.setUint16(this.avail + 2, index, true);
  }

  /** Whether the driver must ring the doorbell for what it published since it last asked (§2.7.13.4.1). */
  mustKick(): boolean {
    const old = this.#kickedAvail;
    this.#kickedAvail = this.#availIndex;
    if (old === this.#availIndex) return false;
    if (!this.#eventIndex) return (this.#view.getUint16(this.used, true) & 1) === 0;
    const event = this.#view.getUint16(this.used + 4 + 8 * this.size, true);
    // Some index published now is the one after which the device asked for a doorbell.
    for (let index = old; index !== this.#availIndex; index = (index + 1) & 0xffff) if (index === event) return true;
    return false;
  }

  /** Asks for an interrupt after `ahead` more used elements, or (without the event index) at all. */
  wantInterrupt(ahead = 0): void {
    if (this.#eventIndex) this.#view.setUint16(this.avail + 4 + 2 * this.size, (this.#seenUsed + ahead) & 0xffff, true);
    else this.#view.setUint16(this.avail, 0, true);
  }

  refuseInterrupts(): void {
    if (this.#eventIndex) this.wantInterrupt(0x8000);
    else this.#view.setUint16(this.avail, 1, true);
  }

  get usedIndex(): number {
    return this.#view.getUint16(this.used + 2, true);
  }

  /** Takes what the device used since the last time and frees its descriptors. */
  collect(): { head: number; length: number; buffers: readonly Placed[] }[] {
    const collected = [];
    for (; this.#seenUsed !== this.usedIndex; this.#seenUsed = (this.#seenUsed + 1) & 0xffff) {
      const at = this.used + 4 + 8 * (this.#seenUsed % this.size);
      const head = this.#view.getUint32(at, true);
      const buffers = this.chains.get(head);
      if (buffers === undefined) throw new Error(`the device used chain ${head}, which was not offered`);
      this.#free.push(...this.#owned.get(head)!);
      this.chains.delete(head);
      this.#owned.delete(head);
      collected.push({ head, length: this.#view.getUint32(at + 4, true), buffers });
    }
    return collected;
  }

  read(buffer: Placed): Uint8Array {
    return this.ram.bytes.slice(buffer.address, buffer.address + buffer.length);
  }

  #write(at: number, address: number, length: number, flags: number, next: number): void {
    this.#view.setBigUint64(at, BigInt(address), true);
    this.#view.setUint32(at + 8, length, true);
    this.#view.setUint16(at + 12, flags, true);
    this.#view.setUint16(at + 14, next, true);
  }
}
