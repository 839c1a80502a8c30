/**
 * Builds everything that answers register accesses, over the machine state: once in each vCPU worker.
 *
 * It lives beside the transports, above src/devices, because a machine's PCI functions are virtio devices.
 */
import { Bus } from '../../bus/bus.js';
import { buildChipset } from '../../devices/chipset.js';
import { type Clocks, hostClocks } from '../../devices/clocks.js';
import type { MemoryRegion } from '../../devices/memory-map.js';
import type { TopologyTask, Wires } from '../../devices/wires.js';
import { Errno } from '../../host/errno.js';
import type { InterruptTarget } from '../interrupt.js';
import type { RamContains } from './activation.js';
import type { IoEventFds } from './doorbells.js';
import { interruptTargets, type PlatformDescriptors, type PlatformLayout } from './platform-layout.js';
import { buildMmioDevices } from './platform-mmio.js';
import { buildPciDevices } from './platform-pci.js';

export {
  layoutPlatform,
  type PlatformDescriptors,
  type PlatformLayout,
  type PlatformShape,
  resetPlatform,
} from './platform-layout.js';

/** What register code needs of the KVM machine; `KvmVm` has it. */
export interface PlatformVm {
  /** Any write to `address`, or with `match` words of that value. 0 or -errno. */
  assignIoeventfd(eventFd: number, address: number, match?: number): number;
  deassignIoeventfd(eventFd: number, address: number, match?: number): number;
  setRouting(table: Uint8Array): void;
}

export interface PlatformEnvironment {
  readonly vm: PlatformVm;
  /** Guest RAM. */
  readonly regions: readonly MemoryRegion[];
  readonly descriptors: PlatformDescriptors;
  /** Main has console output to read, room for input, or a clock interrupt to plan. */
  readonly wakeMain: () => void;
  readonly clocks?: Clocks | undefined;
}

/** What both transports build their devices from. */
export interface PlatformParts {
  readonly buffer: ArrayBufferLike;
  readonly layout: PlatformLayout;
  readonly wires: Wires;
  readonly vm: PlatformVm;
  readonly regions: readonly MemoryRegion[];
  readonly targets: readonly InterruptTarget[];
  readonly ramContains: RamContains;
  /** Of each queue, two words: see `Doorbells`. */
  assignedDoorbells(device: number): Uint32Array;
  /** `raw` answers -errno where the kernel refuses; that is reported, and the guest's writes exit. */
  ioEventFds(device: number, raw: RawIoEventFds): IoEventFds;
}

interface RawIoEventFds {
  assign(queue: number, address: number): number;
  deassign(queue: number, address: number): number;
}

export interface Platform {
  readonly ports: Bus;
  readonly mmio: Bus;
  /** Brings `mmio` up to date with BARs that any vCPU has moved; before each dispatch to it, under the machine lock. */
  syncBars(): void;
  /** Give the kernel the doorbells that registers ask for: where these were not written but brought from elsewhere. */
  readonly doorbells: readonly TopologyTask[];
}

export function buildPlatform(
  buffer: ArrayBufferLike,
  layout: PlatformLayout,
  wires: Wires,
  environment: PlatformEnvironment,
): Platform {
  const { vm, regions, descriptors, wakeMain } = environment;
  const ports = new Bus('ports');
  const mmio = new Bus('mmio');
  buildChipset(buffer, layout.chipset, ports, wires, wakeMain, environment.clocks ?? hostClocks());

  const parts: PlatformParts = {
    buffer,
    layout,
    wires,
    vm,
    regions,
    targets: interruptTargets(buffer, layout, descriptors, (gsi, level) => wires.setLine(gsi, level)),
    ramContains: (gpa, length) => contains(regions, gpa, length),
    assignedDoorbells: (device) =>
      new Uint32Array(buffer, layout.doorbells[device]!, 2 * layout.shape.virtio[device]!.queueSizes.length),
    ioEventFds: (device, raw) => ({
      assign(queue, address) {
        const result = raw.assign(queue, address);
        if (result < 0) {
          const { name } = layout.shape.virtio[device]!;
          // Only a driver can have brought another's doorbell there, moving BARs on two vCPUs at once.
          if (result === -Errno.EEXIST) wires.warn(name, 'driver: two devices have doorbells at one address');
          else wires.warn(name, `host: the kernel refuses a doorbell (errno ${-result}); notifications are slower`);
        }
        return result >= 0;
      },
      deassign(queue, address) {
        raw.deassign(queue, address);
      },
    }),
  };
  if (layout.pci !== undefined) return { ports, mmio, ...buildPciDevices(parts, layout.pci, ports, mmio) };
  return { ports, mmio, doorbells: buildMmioDevices(parts, mmio), syncBars() {} };
}

/** `length` bytes at `gpa` lie in one region; also refuses NaN, negative and huge values. */
function contains(regions: readonly MemoryRegion[], gpa: number, length: number): boolean {
  for (let i = 0; i < regions.length; i++) {
    const { start, size } = regions[i]!;
    if (gpa >= start && length >= 0 && gpa - start <= size - length) return true;
  }
  return false;
}
