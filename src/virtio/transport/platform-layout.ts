/**
 * The machine state of everything that answers register accesses: a pure function of what the machine consists of, and
 * its power-on values. Any thread.
 *
 * With virtio-pci slot 0 of PCI bus 0 is the host bridge, and virtio device n is slot n + 1. With virtio-mmio there is no
 * PCI bus, and device n has a page of registers and a line as the memory map says.
 */
import {
  type ChipsetLayout,
  type ChipsetOptions,
  layoutChipset,
  resetChipset,
  reviveChipset,
} from '../../devices/chipset.js';
import {
  bar32Window,
  bar64Window,
  endOf,
  pciIntxGsi,
  ramRegions,
  type Transport,
  virtioMmioPlace,
} from '../../devices/memory-map.js';
import { hostBridgeSpec } from '../../devices/pci/host-bridge.js';
import { layoutPci, type PciLayout, resetPci } from '../../devices/pci/layout.js';
import type { FunctionSpec } from '../../devices/pci/template.js';
import type { SetLine } from '../../devices/wires.js';
import { controlWord, EdgeLine, type InterruptTarget, IntxLine, VectorControl } from '../interrupt.js';
import {
  bindVirtio,
  Lifecycle,
  layoutVirtio,
  msixEntryWords,
  type VirtioDescriptors,
  type VirtioLayout,
  type VirtioShape,
  type VirtioState,
  vectorCount,
} from '../registers.js';
import { doorbellStateSize } from './doorbells.js';
import { clearDriverRegisters, isQuiet } from './lifecycle.js';
import { checkMmioDevices } from './mmio.js';
import { virtioFunction } from './pci-capabilities.js';

/** What a machine consists of. Plain data. */
export interface PlatformShape extends ChipsetOptions {
  readonly cpus: number;
  /** Bytes of guest RAM. */
  readonly ram: number;
  /** Physical address bits that the guest's CPUID announces. */
  readonly physicalBits: number;
  readonly transport: Transport;
  readonly virtio: readonly VirtioShape[];
}

/** Plain data: posted to workers. */
export interface PlatformLayout {
  readonly shape: PlatformShape;
  readonly chipset: ChipsetLayout;
  /** Undefined with virtio-mmio: there is no PCI bus. */
  readonly pci: PciLayout | undefined;
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

/** How many irqfds a device takes, and at which GSI the first one is; `next` is the first one that is free for MSI. */
export function irqfds(transport: Transport, shape: VirtioShape, device: number, next: number) {
  return transport === 'pci'
    ? { count: vectorCount(shape), gsi: next }
    : { count: 1, gsi: virtioMmioPlace(device).gsi };
}

/** `base` is 8-aligned; what lies before it is not touched. */
export function layoutPlatform(shape: PlatformShape, base = 0): PlatformLayout {
  const chipset = layoutChipset(shape, base);
  const pci = shape.transport === 'pci' ? layoutFunctions(shape, chipset.end) : undefined;
  if (pci === undefined) checkMmioDevices(shape.virtio);
  let { end } = pci ?? chipset;
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

function layoutFunctions(shape: PlatformShape, base: number): PciLayout {
  const ram = ramRegions(shape.ram);
  const windows = { low: bar32Window, high: bar64Window(endOf(ram.at(-1)!), shape.physicalBits) };
  return layoutPci(pciFunctions(shape), windows, base);
}

/** Every virtio device as its interrupts are raised, by any thread; devices that share a line share an `IntxLine`. */
export function interruptTargets(
  buffer: ArrayBufferLike,
  layout: PlatformLayout,
  descriptors: PlatformDescriptors,
  setLine: SetLine,
): InterruptTarget[] {
  const states = layout.virtio.map((device) => bindVirtio(buffer, device));
  if (layout.pci === undefined) {
    return states.map((state, device) => {
      const own = descriptors.virtio[device]!;
      return { state, descriptors: own, line: new EdgeLine(own.vectors[0]!) };
    });
  }
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
  if (layout.pci !== undefined) resetPci(buffer, layout.pci, pciFunctions(shape));
  for (const state of states) resetVirtio(state, shape.transport);
}

/** Saved machine state, copied into `buffer`, before any thread serves it: the kernel and the data paths know nothing of it. */
export function reviveDevices(buffer: ArrayBufferLike, layout: PlatformLayout): void {
  layout.virtio.forEach((device, index) => {
    const { lifecycle } = bindVirtio(buffer, device).device;
    if (Atomics.load(lifecycle, 0) === Lifecycle.active) Atomics.store(lifecycle, 0, Lifecycle.activating);
    new Uint8Array(buffer, layout.doorbells[index]!, device.queues.length * doorbellStateSize).fill(0);
  });
}

/** The kernel has the interrupt controllers of then: it is told the levels that the registers ask for. Nothing runs yet. */
export function reviveLines(
  buffer: ArrayBufferLike,
  layout: PlatformLayout,
  targets: readonly InterruptTarget[],
  setLine: SetLine,
  time: { readonly ns: number; readonly elapsedNs: number },
): void {
  reviveChipset(buffer, layout.chipset, setLine, time);
  for (const { line } of targets) line.settle();
}

/**
 * PCI 3.0 §6.8.2.9: vectors come up masked. Their routes count as changed, so that the first unmask sets them. A virtio-mmio
 * device needs nobody's leave to use memory.
 */
function resetVirtio(state: VirtioState, transport: Transport): void {
  const { device, msixTable } = state;
  clearDriverRegisters(state);
  Atomics.store(device.msixControl, 0, 0);
  Atomics.store(device.busMaster, 0, transport === 'mmio' ? 1 : 0);
  Atomics.store(device.intxDisabled, 0, 0);
  msixTable.fill(0);
  for (let vector = 0; vector < msixTable.length / msixEntryWords; vector++) {
    Atomics.store(msixTable, controlWord(vector), VectorControl.masked | VectorControl.change);
  }
}
