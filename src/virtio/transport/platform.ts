/**
 * Builds everything that answers register accesses, over the machine state: once in each vCPU worker.
 *
 * It lives beside the transport, above src/devices, because a machine's PCI functions are virtio devices.
 */
import { Bus } from '../../bus/bus.js';
import { buildChipset } from '../../devices/chipset.js';
import { type Clocks, hostClocks } from '../../devices/clocks.js';
import { ecam, ioapic, localApic, type MemoryRegion, platformReserved, ports } from '../../devices/memory-map.js';
import { PciBars } from '../../devices/pci/bar-map.js';
import { PciBus } from '../../devices/pci/bus.js';
import { PciConfigAddress, PciConfigData } from '../../devices/pci/config-ports.js';
import { Ecam } from '../../devices/pci/ecam.js';
import { type FunctionBehaviour, PciFunction } from '../../devices/pci/function.js';
import { hostBridge, hostBridgeSlot } from '../../devices/pci/host-bridge.js';
import { PciBusMap, PciFunctionMap } from '../../devices/pci/registers.js';
import { configTemplate } from '../../devices/pci/template.js';
import type { Wires } from '../../devices/wires.js';
import { buildRouting } from '../../kvm/routing.js';
import type { VirtioDescriptors } from '../registers.js';
import type { IoEventFds } from './doorbells.js';
import { VirtioPci } from './pci.js';
import {
  interruptTargets,
  type PlatformDescriptors,
  type PlatformLayout,
  pciFunctions,
  slotOf,
} from './platform-layout.js';
import { msiRoutes } from './routes.js';

export {
  layoutPlatform,
  type PlatformDescriptors,
  type PlatformLayout,
  type PlatformShape,
  resetPlatform,
} from './platform-layout.js';

/** What register code needs of the KVM machine; `KvmVm` has it. */
export interface PlatformVm {
  /** 0 or -errno. */
  assignIoeventfd(eventFd: number, address: number): number;
  deassignIoeventfd(eventFd: number, address: number): number;
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

export interface Platform {
  readonly ports: Bus;
  readonly mmio: Bus;
  /** Brings `mmio` up to date with BARs that any vCPU has moved; before each dispatch to it, under the machine lock. */
  syncBars(): void;
}

export function buildPlatform(
  buffer: ArrayBufferLike,
  layout: PlatformLayout,
  wires: Wires,
  environment: PlatformEnvironment,
): Platform {
  const { vm, regions, descriptors, wakeMain } = environment;
  const portBus = new Bus('ports');
  const mmio = new Bus('mmio');
  buildChipset(buffer, layout.chipset, portBus, wires, wakeMain, environment.clocks ?? hostClocks());

  const specs = pciFunctions(layout.shape);
  const busRegisters = PciBusMap.over(buffer, layout.pci.bus);
  const functionRegisters = layout.pci.functions.map((base) => PciFunctionMap.over(buffer, base));
  const pci = new PciBus();
  const functions: PciFunction[] = [];
  const addFunction = (slot: number, behaviour: FunctionBehaviour): void => {
    const template = configTemplate(specs[slot]!);
    const registers = functionRegisters[slot]!;
    const f = new PciFunction(template, registers, behaviour, busRegisters, () => pci.barsChanged());
    pci.insert(slot, f);
    functions.push(f);
  };

  const targets = interruptTargets(buffer, layout, descriptors, (gsi, level) => wires.setLine(gsi, level));
  const forbidden = [...regions, ...platformReserved, ioapic, localApic];
  const bars = new PciBars(functions, busRegisters, forbidden, 2 ** layout.shape.physicalBits, wires);
  addFunction(hostBridgeSlot, hostBridge);
  targets.forEach((target, device) => {
    const slot = slotOf(device);
    const queues = layout.shape.virtio[device]!.queueSizes.length;
    addFunction(
      slot,
      new VirtioPci({
        target,
        template: configTemplate(specs[slot]!),
        function: functionRegisters[slot]!,
        assignedDoorbells: new Uint32Array(buffer, layout.doorbells[device]!, 2 * queues),
        wires,
        ramContains: (gpa, length) => contains(regions, gpa, length),
        ioEventFds: ioEventFds(vm, descriptors.virtio[device]!, target.state.shape.name, wires),
        rebuildRoutes: () => vm.setRouting(buildRouting(msiRoutes(targets))),
        barAddress: () => bars.addressOf(functions[slot]!, 0),
      }),
    );
  });

  portBus.insert(ports.pciConfigAddress.base, ports.pciConfigAddress.size, new PciConfigAddress(busRegisters, wires));
  portBus.insert(ports.pciConfigData.base, ports.pciConfigData.size, new PciConfigData(busRegisters, pci));
  mmio.insert(ecam.start, ecam.size, new Ecam(pci));
  return { ports: portBus, mmio, syncBars: () => bars.sync(mmio) };
}

/** `length` bytes at `gpa` lie in one region; also refuses NaN, negative and huge values. */
function contains(regions: readonly MemoryRegion[], gpa: number, length: number): boolean {
  for (let i = 0; i < regions.length; i++) {
    const { start, size } = regions[i]!;
    if (gpa >= start && length >= 0 && gpa - start <= size - length) return true;
  }
  return false;
}

const ioEventFds = (vm: PlatformVm, descriptors: VirtioDescriptors, name: string, wires: Wires): IoEventFds => ({
  assign(queue, address) {
    const result = vm.assignIoeventfd(descriptors.doorbells[queue]!, address);
    if (result < 0)
      wires.warn(name, `host: the kernel refuses a doorbell (errno ${-result}); notifications are slower`);
    return result >= 0;
  },
  deassign(queue, address) {
    vm.deassignIoeventfd(descriptors.doorbells[queue]!, address);
  },
});
