/**
 * How a device interrupts its driver, the sender's half: MSI-X messages and INTx lines (virtio 1.2 §4.1.5.3, §4.1.5.4; PCI
 * Local Bus 3.0 §6.8.2), edges of virtio-mmio (§4.2.3.4). Data path threads without a lock; vCPU workers and main as well.
 *
 * MSI-X (contract §6.2). Masking is the sender's job, and nobody waits: the sender sets the vector's pending bit first
 * and looks whether the vector is open after; whoever opens a vector (transport/msix.ts) does so first and looks at the
 * pending bit after. One of the two sees the other's store, and the exchange of the bit decides who sends. A vector is open
 * when it is unmasked and the kernel's route is that of its table entry: an entry that was changed counts as masked until
 * the route is set, or a message would go to the address of before.
 *
 * INTx (contract §6.3). A line is shared; its level is the OR over its devices. Everyone who changes a device's part
 * sets the level and looks again, so the last one to set it has seen the last state.
 *
 * virtio-mmio. A line of its own, edge: InterruptStatus first, then a pulse by the line's irqfd. Every event pulses, also
 * one whose bit is still set, since the driver may have read the bit before and acknowledge it after.
 */
import type { SetLine } from '../devices/wires.js';
import { msixEntryWords, type VirtioDescriptors, type VirtioState } from './registers.js';
import { Status } from './status.js';

/** A queue or configuration changes without a vector, virtio 1.2 §4.1.5.1.2. */
export const noVector = 0xffff;

/** ISR status bits, virtio 1.2 §4.1.4.5. */
export const Isr = { queue: 1, config: 2 } as const;

/** `msixControl[0]`. */
export const MsixControl = { enabled: 1, masked: 2 } as const;

/**
 * Word 3 of a table entry: vector control as the driver sees it is bit 0. Above it, how often address or data have
 * changed (bits 16-31) and which of those changes the kernel's route has (bits 1-15, modulo 2^15).
 */
export const VectorControl = {
  masked: 1,
  change: 0x1_0000,
  changeShift: 16,
  routedShift: 1,
  countMask: 0x7fff,
} as const;
export const controlWord = (vector: number): number => vector * msixEntryWords + 3;

/** The kernel's route is not the one that the entry asks for. */
export const isStale = (control: number): boolean =>
  ((control >>> VectorControl.changeShift) & VectorControl.countMask) !==
  ((control >>> VectorControl.routedShift) & VectorControl.countMask);

export const isMsixEnabled = (state: VirtioState): boolean =>
  (Atomics.load(state.device.msixControl, 0) & MsixControl.enabled) !== 0;

function isOpen(state: VirtioState, vector: number): boolean {
  const control = Atomics.load(state.msixTable, controlWord(vector));
  return (
    (control & VectorControl.masked) === 0 &&
    !isStale(control) &&
    Atomics.load(state.device.msixControl, 0) === MsixControl.enabled &&
    Atomics.load(state.device.busMaster, 0) !== 0
  );
}

/** Takes a vector's pending bit if the vector is open: the irqfd to write, or -1. */
export function takePending(state: VirtioState, descriptors: VirtioDescriptors, vector: number): number {
  if (!isOpen(state, vector)) return -1;
  const bit = 1 << (vector & 31);
  const taken = Atomics.and(state.msixPending, vector >>> 5, ~bit) & bit;
  return taken === 0 ? -1 : (descriptors.vectors[vector] ?? -1);
}

/** Sends an MSI-X message or leaves it pending: the irqfd to write, or -1. `noVector` and nonsense send nothing. */
export function raiseVector(state: VirtioState, descriptors: VirtioDescriptors, vector: number): number {
  if (vector >= state.msixTable.length / msixEntryWords) return -1;
  Atomics.or(state.msixPending, vector >>> 5, 1 << (vector & 31));
  return takePending(state, descriptors, vector);
}

/** A bound, should a driver change registers as fast as we look at them; it then has what it asked for. */
const settleAttempts = 8;

/** How a device interrupts without MSI-X. */
export interface InterruptLine {
  /** The ISR has gained a bit: the irqfd to write, or -1 when the line has been told. */
  raise(): number;
  /** The device's part of the line may have gone. */
  settle(): void;
}

/** The line of a virtio-mmio device. */
export class EdgeLine implements InterruptLine {
  readonly #irqfd: number;

  constructor(irqfd: number) {
    this.#irqfd = irqfd;
  }

  raise(): number {
    return this.#irqfd;
  }

  /** A pulse leaves nothing to take back. */
  settle(): void {}
}

/** One INTx line and the devices on it. */
export class IntxLine implements InterruptLine {
  readonly gsi: number;
  readonly #members: readonly VirtioState[];
  readonly #setLine: SetLine;

  constructor(gsi: number, members: readonly VirtioState[], setLine: SetLine) {
    this.gsi = gsi;
    this.#members = members;
    this.#setLine = setLine;
  }

  raise(): number {
    this.settle();
    return -1;
  }

  /** Gives the line the level that its devices ask for. Call after every change of a device's part. */
  settle(): void {
    for (let i = 0; i < settleAttempts; i++) {
      const level = this.#level;
      this.#setLine(this.gsi, level);
      if (this.#level === level) return;
    }
  }

  get #level(): 0 | 1 {
    for (let i = 0; i < this.#members.length; i++) if (asksForLine(this.#members[i]!)) return 1;
    return 0;
  }
}

/** A device's part of its line: ISR not zero, not disabled in the command register, and no MSI-X instead. */
const asksForLine = (state: VirtioState): boolean =>
  Atomics.load(state.device.isr, 0) !== 0 && Atomics.load(state.device.intxDisabled, 0) === 0 && !isMsixEnabled(state);

export interface InterruptTarget {
  readonly state: VirtioState;
  readonly descriptors: VirtioDescriptors;
  readonly line: InterruptLine;
}

/** A used buffer notification of queue `index`: the irqfd to write (or to batch), or -1 if none is needed. */
export function raiseQueue(target: InterruptTarget, index: number): number {
  const { state, descriptors, line } = target;
  if (isMsixEnabled(state)) return raiseVector(state, descriptors, state.queues[index]!.vector);
  Atomics.or(state.device.isr, 0, Isr.queue);
  return line.raise();
}

/** A configuration change notification; its ISR bit is set with MSI-X too (virtio 1.2 §4.1.4.5.1). */
export function raiseConfig(target: InterruptTarget): number {
  const { state, descriptors, line } = target;
  Atomics.or(state.device.isr, 0, Isr.config);
  return isMsixEnabled(state) ? raiseVector(state, descriptors, state.device.configVector) : line.raise();
}

/**
 * Changes device configuration from the host and tells a driver that is there (virtio 1.2 §2.5.1): the irqfd to write, or
 * -1. The machine lock is held. A range outside the configuration is the caller's mistake.
 */
export function changeConfig(target: InterruptTarget, offset: number, bytes: Uint8Array): number {
  const { state } = target;
  if (!(offset >= 0 && offset <= state.config.length - bytes.length)) {
    throw new RangeError(`${state.shape.name}: configuration bytes ${offset} to ${offset + bytes.length}`);
  }
  state.config.set(bytes, offset);
  Atomics.add(state.device.generation, 0, 1);
  return (state.device.status & Status.driverOk) === 0 ? -1 : raiseConfig(target);
}
