/**
 * Which doorbells the kernel answers: ioeventfds at a queue's notify address (contract §6.4). vCPU worker, in a task after
 * the machine lock is released, under the topology lock.
 *
 * KVM_IOEVENTFD waits, so no register write does it. The task reads the registers again and makes the kernel's state what
 * they say now; two tasks in either order end the same. What is assigned is remembered in machine state, because any vCPU
 * may run the next task. Until an ioeventfd is there a doorbell is a register write and works as well.
 *
 * virtio-pci has a doorbell address for each queue; virtio-mmio has one for all, and the kernel tells them apart by the
 * value written.
 */
import type { TopologyTask } from '../../devices/wires.js';
import type { VirtioState } from '../registers.js';
import { isServed } from './lifecycle.js';

/** Makes the kernel answer what notifies `queue` at one address by ringing its doorbell. */
export interface IoEventFds {
  /** False if the kernel refuses; the guest's writes then exit, which is slower and right. */
  assign(queue: number, address: number): boolean;
  deassign(queue: number, address: number): void;
}

/** Where the device's doorbells are in guest-physical memory. */
export interface DoorbellPlace {
  /** False while memory decode is off: what is assigned then stays as it is, unless another device comes there. */
  readonly decoded: boolean;
  /** What the device decodes, its doorbells within; both 0 if that is nowhere. */
  readonly start: number;
  readonly size: number;
  /** From `start` to queue 0's doorbell. */
  readonly offset: number;
  /** Bytes from one queue's doorbell to the next one's. */
  readonly stride: number;
}

/** Bytes of machine state per queue: the address assigned, low and high word; 0 for none. */
export const doorbellStateSize = 8;
const two32 = 0x1_0000_0000;
const nowhere: DoorbellPlace = { decoded: false, start: 0, size: 0, offset: 0, stride: 0 };

/** The doorbells of devices that may come to lie where another's were. */
export class DoorbellSet {
  readonly task: TopologyTask = { name: 'doorbells', run: () => this.#run() };
  readonly #members: Doorbells[] = [];

  add(doorbells: Doorbells): void {
    this.#members.push(doorbells);
  }

  /** All old places go first: a new one may be where an old one was, of the same device or of another. */
  #run(): void {
    for (const member of this.#members) member.look();
    for (const member of this.#members) member.release(this.#members);
    for (const member of this.#members) member.assign();
  }
}

export class Doorbells {
  readonly #state: VirtioState;
  readonly #assigned: Uint32Array;
  readonly #ioEventFds: IoEventFds;
  readonly #place: () => DoorbellPlace;
  /** Of the task under way. */
  #served = false;
  #now: DoorbellPlace = nowhere;

  constructor(state: VirtioState, assigned: Uint32Array, ioEventFds: IoEventFds, place: () => DoorbellPlace) {
    this.#state = state;
    this.#assigned = assigned;
    this.#ioEventFds = ioEventFds;
    this.#place = place;
  }

  /** A change of place or life could matter to the kernel. */
  get concerned(): boolean {
    return isServed(this.#state) || this.#assigned.some((word) => word !== 0);
  }

  look(): void {
    this.#served = isServed(this.#state);
    this.#now = this.#place();
  }

  release(all: readonly Doorbells[]): void {
    for (let queue = 0; queue < this.#state.queues.length; queue++) {
      const old = this.#at(queue);
      if (old === 0 || old === this.#wanted(queue)) continue;
      if (this.#served && !this.#now.decoded && !all.some((other) => other.#decodes(old))) continue;
      this.#ioEventFds.deassign(queue, old);
      this.#remember(queue, 0);
    }
  }

  assign(): void {
    for (let queue = 0; queue < this.#state.queues.length; queue++) {
      const place = this.#wanted(queue);
      if (place !== 0 && this.#at(queue) !== place && this.#ioEventFds.assign(queue, place))
        this.#remember(queue, place);
    }
  }

  #wanted(queue: number): number {
    const { decoded, start, offset, stride } = this.#now;
    const wants = this.#served && decoded && start !== 0 && this.#state.queues[queue]!.frozenSize !== 0;
    return wants ? start + offset + queue * stride : 0;
  }

  #decodes(address: number): boolean {
    const { decoded, start, size } = this.#now;
    return decoded && start !== 0 && address >= start && address < start + size;
  }

  #at(queue: number): number {
    return this.#assigned[2 * queue + 1]! * two32 + this.#assigned[2 * queue]!;
  }

  #remember(queue: number, address: number): void {
    this.#assigned[2 * queue] = address % two32;
    this.#assigned[2 * queue + 1] = Math.floor(address / two32);
  }
}
