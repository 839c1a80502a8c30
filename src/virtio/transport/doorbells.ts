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
  /** False while memory decode is off: what is assigned then stays as it is. */
  readonly decoded: boolean;
  /** Address of queue 0's doorbell; 0 if the BAR is decoded nowhere. */
  readonly address: number;
  /** Bytes from one queue's doorbell to the next one's. */
  readonly stride: number;
}

/** Bytes of machine state per queue: the address assigned, low and high word; 0 for none. */
export const doorbellStateSize = 8;
const two32 = 0x1_0000_0000;

export class Doorbells {
  readonly task: TopologyTask;
  readonly #state: VirtioState;
  readonly #assigned: Uint32Array;
  readonly #ioEventFds: IoEventFds;
  readonly #place: () => DoorbellPlace;

  constructor(state: VirtioState, assigned: Uint32Array, ioEventFds: IoEventFds, place: () => DoorbellPlace) {
    this.#state = state;
    this.#assigned = assigned;
    this.#ioEventFds = ioEventFds;
    this.#place = place;
    this.task = { name: `${state.shape.name}: doorbells`, run: () => this.#run() };
  }

  /** A change of place or life could matter to the kernel. */
  get concerned(): boolean {
    return isServed(this.#state) || this.#assigned.some((word) => word !== 0);
  }

  #run(): void {
    const served = isServed(this.#state);
    const { decoded, address, stride } = this.#place();
    if (served && !decoded) return;
    const wanted = (queue: number): number =>
      served && address !== 0 && this.#state.queues[queue]!.frozenSize !== 0 ? address + queue * stride : 0;
    const count = this.#state.queues.length;
    // All old places go first: a new one may be where an old one was.
    for (let queue = 0; queue < count; queue++) {
      const old = this.#at(queue);
      if (old === 0 || old === wanted(queue)) continue;
      this.#ioEventFds.deassign(queue, old);
      this.#remember(queue, 0);
    }
    for (let queue = 0; queue < count; queue++) {
      const place = wanted(queue);
      if (place !== 0 && this.#at(queue) !== place && this.#ioEventFds.assign(queue, place))
        this.#remember(queue, place);
    }
  }

  #at(queue: number): number {
    return this.#assigned[2 * queue + 1]! * two32 + this.#assigned[2 * queue]!;
  }

  #remember(queue: number, address: number): void {
    this.#assigned[2 * queue] = address % two32;
    this.#assigned[2 * queue + 1] = Math.floor(address / two32);
  }
}
