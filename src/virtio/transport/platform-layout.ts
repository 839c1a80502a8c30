/**
 * The machine state of everything that answers register accesses: a pure function of what the machine consists of, and
 * its power-on values. Any thread.
 *
 * Slot 0 of PCI bus 0 is the host bridge; virtio device n is slot n + 1.
 */
import { type ChipsetLayout, type ChipsetOptions, layoutChipset, resetChipset } from '../../devices/chipset.js';
import { bar32Window, bar64Window, endOf, pciIntxGsi, ramRegions } from '../../devices/memory-map.js';
import { hostBridgeSpec } from '../../devices/pci/host-bridge.js';
import { layoutPci, type PciLayout, resetPci } from '../../devices/pci/layout.js';
import type { FunctionSpec } from '../../devices/pci/template.js';
import type { SetLine } from '../../devices/wires.js';
import { controlWord, type InterruptTarget, IntxLine, VectorControl } from '../interrupt.js';
import {
  bindVirtio,
  layoutVirtio,
  msixEntryWords,
  type VirtioDescriptors,
  type VirtioLayout,
  type VirtioShape,
  type VirtioState,
} from '../registers.js';
import { doorbellStateSize } from './doorbells.js';
import { clearDriverRegisters, isQuiet } from './lifecycle.js';
import { virtioFunction } from './pci-capabilities.js';

/** What a machine consists of. Plain data. */
export interface PlatformShape extends ChipsetOptions {
  readonly cpus: number;
  /** Bytes of guest RAM. */
  readonly ram: number;
  /** Physical address bits that the guest's CPUID announces. */
  readonly physicalBits: number;
  readonly virtio: readonly VirtioShape[];
}

/** Plain data: posted to workers. */
export interface PlatformLayout {
  readonly shape: PlatformShape;
  readonly chipset: ChipsetLayout;
  readonly pci: PciLayout;
  readonly virtio: readonly VirtioLayout[];
  /** Per virtio device, the doorbell addresses that the kernel has (doorbells.ts). */
  readonly doorbells: readonly number[];
  /** Bytes of machine state up to here, what lies before the layout's base included. */
  readonly end: number;
}

/** The kernel's descriptors for each virtio device. Plain data. */
export interface PlatformDescriptors {
  readonly virtio: readonly VirtioDescriptors[];
}

/** The PCI functions by slot. */
export const pciFunctions = (shape: PlatformShape): FunctionSpec[] => [
  hostBridgeSpec,
  ...shape.virtio.map(virtioFunction),
];
export const slotOf = (device: number): number => device + 1;

/** `base` is 8-aligned; what lies before it is not touched. */
export function layoutPlatform(shape: PlatformShape, base = 0): PlatformLayout {
  const chipset = layoutChipset(shape, base);
  const ram = ramRegions(shape.ram);
  const windows = { low: bar32Window, high: bar64Window(endOf(ram.at(-1)!), shape.physicalBits) };
  const pci = layoutPci(pciFunctions(shape), windows, chipset.end);
  let { end } = pci;
  const doorbells = shape.virtio.map((device) => {
    end += device.queueSizes.length * doorbellStateSize;
    return end - device.queueSizes.length * doorbellStateSize;
  });
  const virtio = shape.virtio.map((device) => {
    const layout = layoutVirtio(device, end);
    end = layout.end;
    return layout;
  });
  return { shape, chipset, pci, virtio, doorbells, end };
}

/** Every virtio device as its interrupts are raised, by any thread; devices that share a line share an `IntxLine`. */
export function interruptTargets(
  buffer: ArrayBufferLike,
  layout: PlatformLayout,
  descriptors: PlatformDescriptors,
  setLine: SetLine,
): InterruptTarget[] {
  const states = layout.virtio.map((device) => bindVirtio(buffer, device));
  const gsiOf = (device: number): number => pciIntxGsi(slotOf(device), 0);
  const lines = new Map<number, IntxLine>();
  states.forEach((_, device) => {
    const gsi = gsiOf(device);
    if (lines.has(gsi)) return;
    const members = states.filter((_, other) => gsiOf(other) === gsi);
    lines.set(gsi, new IntxLine(gsi, members, setLine));
  });
  return states.map((state, device) => ({
    state,
    descriptors: descriptors.virtio[device]!,
    line: lines.get(gsiOf(device))!,
  }));
}

/**
 * Power-on values of all registers: at creation, and at a reboot once every vCPU is parked and every data path is quiet.
 * Device configuration and what the kernel has of doorbells are not the guest's and stay; `keepClock`: so do CMOS RAM and
 * the time that the guest set.
 */
export function resetPlatform(buffer: ArrayBufferLike, layout: PlatformLayout, keepClock = false): void {
  const { shape } = layout;
  const states = layout.virtio.map((device) => bindVirtio(buffer, device));
  for (const state of states) {
    if (!isQuiet(state)) throw new Error(`${state.shape.name} is reset while its data path runs`);
  }
  resetChipset(buffer, layout.chipset, shape.cpus, ramRegions(shape.ram), keepClock);
  resetPci(buffer, layout.pci, pciFunctions(shape));
  for (const state of states) resetVirtio(state);
}

/** PCI 3.0 §6.8.2.9: vectors come up masked. Their routes count as changed, so that the first unmask sets them. */
function resetVirtio(state: VirtioState): void {
  const { device, msixTable } = state;
  clearDriverRegisters(state);
  Atomics.store(device.msixControl, 0, 0);
  Atomics.store(device.busMaster, 0, 0);
  Atomics.store(device.intxDisabled, 0, 0);
  msixTable.fill(0);
  for (let vector = 0; vector < msixTable.length / msixEntryWords; vector++) {
    Atomics.store(msixTable, controlWord(vector), VectorControl.masked | VectorControl.change);
  }
}
