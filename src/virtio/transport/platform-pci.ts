/**
 * The virtio devices of a machine as functions of its PCI bus, with the two ways into configuration space. vCPU workers.
 */
import type { Bus } from '../../bus/bus.js';
import { ecam, ioapic, localApic, platformReserved, ports } from '../../devices/memory-map.js';
import { PciBars } from '../../devices/pci/bar-map.js';
import { PciBus } from '../../devices/pci/bus.js';
import { PciConfigAddress, PciConfigData } from '../../devices/pci/config-ports.js';
import { Ecam } from '../../devices/pci/ecam.js';
import { type FunctionBehaviour, PciFunction } from '../../devices/pci/function.js';
import { hostBridge, hostBridgeSlot } from '../../devices/pci/host-bridge.js';
import type { PciLayout } from '../../devices/pci/layout.js';
import { PciBusMap, PciFunctionMap } from '../../devices/pci/registers.js';
import { configTemplate } from '../../devices/pci/template.js';
import { buildRouting } from '../../kvm/routing.js';
import { DoorbellSet } from './doorbells.js';
import { VirtioPci } from './pci.js';
import type { Platform, PlatformParts } from './platform.js';
import { pciFunctions, slotOf } from './platform-layout.js';
import { msiRoutes } from './routes.js';

/** Puts the bus on `ports` and `mmio`. */
export function buildPciDevices(
  parts: PlatformParts,
  pciLayout: PciLayout,
  portBus: Bus,
  mmio: Bus,
): Pick<Platform, 'syncBars' | 'doorbells'> {
  const { buffer, layout, wires, vm, regions, targets } = parts;
  const specs = pciFunctions(layout.shape);
  const busRegisters = PciBusMap.over(buffer, pciLayout.bus);
  const functionRegisters = pciLayout.functions.map((base) => PciFunctionMap.over(buffer, base));
  const pci = new PciBus();
  const functions: PciFunction[] = [];
  const addFunction = (slot: number, behaviour: FunctionBehaviour): void => {
    const template = configTemplate(specs[slot]!);
    const registers = functionRegisters[slot]!;
    const f = new PciFunction(template, registers, behaviour, busRegisters, () => pci.barsChanged());
    pci.insert(slot, f);
    functions.push(f);
  };

  const forbidden = [...regions, ...platformReserved.pci, ioapic, localApic];
  const bars = new PciBars(functions, busRegisters, forbidden, 2 ** layout.shape.physicalBits, wires);
  const doorbellSet = new DoorbellSet();
  addFunction(hostBridgeSlot, hostBridge);
  targets.forEach((target, device) => {
    const slot = slotOf(device);
    const { doorbells } = target.descriptors;
    addFunction(
      slot,
      new VirtioPci({
        target,
        template: configTemplate(specs[slot]!),
        function: functionRegisters[slot]!,
        assignedDoorbells: parts.assignedDoorbells(device),
        doorbells: doorbellSet,
        wires,
        ramContains: parts.ramContains,
        ioEventFds: parts.ioEventFds(device, {
          assign: (queue, address) => vm.assignIoeventfd(doorbells[queue]!, address),
          deassign: (queue, address) => vm.deassignIoeventfd(doorbells[queue]!, address),
        }),
        rebuildRoutes: () => vm.setRouting(buildRouting(msiRoutes(targets))),
        barAddress: () => bars.addressOf(functions[slot]!, 0),
      }),
    );
  });

  portBus.insert(ports.pciConfigAddress.base, ports.pciConfigAddress.size, new PciConfigAddress(busRegisters, wires));
  portBus.insert(ports.pciConfigData.base, ports.pciConfigData.size, new PciConfigData(busRegisters, pci));
  mmio.insert(ecam.start, ecam.size, new Ecam(pci));
  return { syncBars: () => bars.sync(mmio), doorbells: [doorbellSet.task] };
}
