/**
 * The virtio devices of a machine as pages of the MMIO bus (virtio 1.2 §4.2). vCPU workers.
 */
import type { Bus } from '../../bus/bus.js';
import { virtioMmioPlace } from '../../devices/memory-map.js';
import type { TopologyTask } from '../../devices/wires.js';
import { VirtioMmio } from './mmio.js';
import type { PlatformParts } from './platform.js';

/** Answers the tasks that give the kernel their doorbells. */
export function buildMmioDevices(parts: PlatformParts, mmio: Bus): TopologyTask[] {
  const { wires, vm, targets, ramContains } = parts;
  return targets.map((target, device) => {
    const { region } = virtioMmioPlace(device);
    const { doorbells } = target.descriptors;
    const transport = new VirtioMmio({
      target,
      address: region.start,
      assignedDoorbells: parts.assignedDoorbells(device),
      wires,
      ramContains,
      // One address for all queues: the value written is the queue's number.
      ioEventFds: parts.ioEventFds(device, {
        assign: (queue, address) => vm.assignIoeventfd(doorbells[queue]!, address, queue),
        deassign: (queue, address) => vm.deassignIoeventfd(doorbells[queue]!, address, queue),
      }),
    });
    mmio.insert(region.start, region.size, transport);
    return transport.doorbells;
  });
}
