/**
 * MSI-X of a virtio device, the driver's half: table, pending bits and message control (PCI Local Bus 3.0 §6.8.2). vCPU
 * worker, machine lock; the routing task without it, under the topology lock.
 *
 * The other half, and why the two cannot lose a message between them, is in virtio/interrupt.ts. Here a vector is opened:
 * by clearing its mask, the function's mask, by enabling MSI-X or bus mastering. If its entry was changed, the kernel's
 * route comes first, from a task after the lock is released (KVM_SET_GSI_ROUTING waits); the task notes which changes it
 * read before it reads the entries, so a later change leaves the vector stale and brings a task of its own.
 */
import type { AccessSize } from '../../bus/bus.js';
import { allOnes } from '../../bus/bus.js';
import type { TopologyTask, Wires } from '../../devices/wires.js';
import { controlWord, isStale, MsixControl, takePending, VectorControl } from '../interrupt.js';
import { msixEntryWords, type VirtioDescriptors, type VirtioState, vectorCount } from '../registers.js';

/** Bits of message control, in configuration space. */
export const MessageControl = { masked: 1 << 14, enabled: 1 << 15, sizeMask: 0x7ff } as const;
const controlField = 3;

export class Msix {
  readonly #state: VirtioState;
  readonly #descriptors: VirtioDescriptors;
  readonly #wires: Wires;
  readonly #rebuildRoutes: () => void;
  readonly #vectors: number;
  /** Scratch of the routing task. */
  readonly #seen: Int32Array;
  readonly #routing: TopologyTask;

  /** `rebuildRoutes` gives the kernel the routes of all devices as their tables are now. */
  constructor(state: VirtioState, descriptors: VirtioDescriptors, wires: Wires, rebuildRoutes: () => void) {
    this.#state = state;
    this.#descriptors = descriptors;
    this.#wires = wires;
    this.#rebuildRoutes = rebuildRoutes;
    this.#vectors = vectorCount(state.shape);
    this.#seen = new Int32Array(this.#vectors);
    this.#routing = { name: `${state.shape.name}: interrupt routes`, run: () => this.#route() };
  }

  /** Any width inside one word; what lies beyond the table reads as all ones. */
  readTable(offset: number, size: AccessSize): number {
    const word = offset >>> 2;
    if ((offset & 3) + size > 4 || word >= this.#state.msixTable.length) return allOnes(size);
    const value = Atomics.load(this.#state.msixTable, word);
    const visible = word % msixEntryWords === controlField ? value & VectorControl.masked : value;
    return ((visible >>> (8 * (offset & 3))) & allOnes(size)) >>> 0;
  }

  /** Whole words only: anything else is undefined by §6.8.2 and ignored here. */
  writeTable(offset: number, size: AccessSize, value: number): void {
    const word = offset >>> 2;
    if (size !== 4 || (offset & 3) !== 0 || word >= this.#state.msixTable.length) {
      this.#wires.warn(this.#state.shape.name, 'driver: MSI-X table write that is not one aligned word of it');
      return;
    }
    const vector = Math.floor(word / msixEntryWords);
    if (word % msixEntryWords === controlField) this.#writeControl(vector, value);
    else this.#writeMessage(vector, word, value);
  }

  readPending(offset: number, size: AccessSize): number {
    const word = offset >>> 2;
    if ((offset & 3) + size > 4 || word >= this.#state.msixPending.length) return allOnes(size);
    return ((Atomics.load(this.#state.msixPending, word) >>> (8 * (offset & 3))) & allOnes(size)) >>> 0;
  }

  /** Message control was written. True if MSI-X was turned on or off. */
  setControl(messageControl: number): boolean {
    const { msixControl } = this.#state.device;
    const enabled = (messageControl & MessageControl.enabled) !== 0 ? MsixControl.enabled : 0;
    const masked = (messageControl & MessageControl.masked) !== 0 ? MsixControl.masked : 0;
    const before = Atomics.exchange(msixControl, 0, enabled | masked);
    this.openAll();
    return ((before ^ enabled) & MsixControl.enabled) !== 0;
  }

  /** Sends what became deliverable: after enabling, unmasking the function, or turning on bus mastering. */
  openAll(): void {
    if (Atomics.load(this.#state.device.msixControl, 0) !== MsixControl.enabled) return;
    for (let vector = 0; vector < this.#vectors; vector++) {
      const control = Atomics.load(this.#state.msixTable, controlWord(vector));
      if ((control & VectorControl.masked) === 0 && isStale(control)) {
        this.#wires.afterwards(this.#routing); // which also sends
        return;
      }
    }
    this.#sendPending();
  }

  #writeControl(vector: number, value: number): void {
    const { msixTable } = this.#state;
    if ((value & VectorControl.masked) !== 0) {
      Atomics.or(msixTable, controlWord(vector), VectorControl.masked);
      return;
    }
    const before = Atomics.and(msixTable, controlWord(vector), ~VectorControl.masked);
    if ((before & VectorControl.masked) !== 0) this.#open(vector);
  }

  /** The new word first, then the count of changes: a route read after the count has been seen is at least as new. */
  #writeMessage(vector: number, word: number, value: number): void {
    const { msixTable } = this.#state;
    if (Atomics.exchange(msixTable, word, value | 0) === (value | 0)) return;
    const control = Atomics.add(msixTable, controlWord(vector), VectorControl.change);
    // While a vector is unmasked the result is undefined (§6.8.2). It is made to be the new message.
    if ((control & VectorControl.masked) === 0) this.#open(vector);
  }

  #open(vector: number): void {
    if (Atomics.load(this.#state.device.msixControl, 0) !== MsixControl.enabled) return;
    if (isStale(Atomics.load(this.#state.msixTable, controlWord(vector)))) this.#wires.afterwards(this.#routing);
    else this.#send(vector);
  }

  /** The routing task. */
  #route(): void {
    const { msixTable } = this.#state;
    let stale = false;
    for (let vector = 0; vector < this.#vectors; vector++) {
      const control = Atomics.load(msixTable, controlWord(vector));
      this.#seen[vector] = (control >>> VectorControl.changeShift) & VectorControl.countMask;
      stale ||= isStale(control);
    }
    if (stale) {
      this.#rebuildRoutes();
      for (let vector = 0; vector < this.#vectors; vector++) markRouted(msixTable, vector, this.#seen[vector]!);
    }
    this.#sendPending();
  }

  #sendPending(): void {
    for (let vector = 0; vector < this.#vectors; vector++) this.#send(vector);
  }

  #send(vector: number): void {
    const irqfd = takePending(this.#state, this.#descriptors, vector);
    if (irqfd >= 0) this.#wires.ring(irqfd);
  }
}

/** Stores which change the route has; mask and count may be changed by a vCPU meanwhile and are kept. */
export function markRouted(table: Int32Array, vector: number, change: number): void {
  const at = controlWord(vector);
  const field = VectorControl.countMask << VectorControl.routedShift;
  for (let before = Atomics.load(table, at); ; ) {
    const after = (before & ~field) | (change << VectorControl.routedShift);
    const found = Atomics.compareExchange(table, at, before, after);
    if (found === before) return;
    before = found;
  }
}
