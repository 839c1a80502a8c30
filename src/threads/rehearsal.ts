/**
 * What a warm worker has done once before it is given a machine: build the code of a machine's registers, and reach some of them.
 * vCPU worker.
 *
 * V8 compiles a function when it is first called and learns of its objects then, which takes three times as long as all calls
 * after that: half a millisecond of every restore and fork. The machine is an ordinary one that does not exist: there is no KVM
 * machine and no eventfd, and what is asked of them fails with EBADF.
 */
import type { SetLine } from '../devices/wires.js';
import { monotonicNs } from '../host/clock.js';
import { layoutControl } from '../memory/control.js';
import { blkShape } from '../virtio/blk/blk-format.js';
import type { VirtioDescriptors } from '../virtio/registers.js';
import { rngShape } from '../virtio/rng/rng.js';
import { layoutPlatform, type PlatformShape, resetPlatform } from '../virtio/transport/platform.js';
import { interruptTargets, irqfds, reviveDevices, reviveLines } from '../virtio/transport/platform-layout.js';
import { buildBoard } from './vcpu-board.js';

const none = -1;
const shape: PlatformShape = {
  cpus: 1,
  ram: 128 * 2 ** 20,
  physicalBits: 46,
  transport: 'pci',
  virtio: [blkShape({ name: 'disk0', size: 512, readOnly: false }), rngShape('rng')],
  serial: { blockWhenFull: false, outputCapacity: 64 },
  debugExit: true,
};
/** Ports and words: the serial console's data and status, configuration space by CF8h. */
const serial = { data: 0x3f8, lineStatus: 0x3fd } as const;
const pci = { address: 0xcf8, data: 0xcfc, hostBridge: 0x8000_0000 } as const;

export function rehearse(): void {
  const control = layoutControl(shape.cpus, 0);
  const platform = layoutPlatform(shape, control.end);
  const state = new SharedArrayBuffer(platform.end);
  resetPlatform(state, platform);
  reviveDevices(state, platform);
  const descriptors = { virtio: shape.virtio.map(noDescriptors) };
  const { wires, vm, ...board } = buildBoard(
    {
      ...{ cpu: 0, apicId: 0, runPageSize: 0, enforcesPv: false, cpuid: new Uint8Array(0), state, control, platform },
      ...{ descriptors, regions: [], mainDoorbell: none, ioDoorbell: none },
    },
    () => {}, // that KVM refuses it all
  );
  const setLine: SetLine = (gsi, level) => void vm.setIrqLine(gsi, level);
  const targets = interruptTargets(state, platform, descriptors, setLine);
  reviveLines(state, platform, targets, setLine, { ns: monotonicNs(), elapsedNs: 0 });
  for (const task of board.platform.doorbells) wires.afterwards(task);
  wires.runTasks();
  const { ports } = board.platform;
  ports.read(serial.lineStatus, 1);
  ports.write(serial.data, 1, 0);
  ports.write(pci.address, 4, pci.hostBridge);
  ports.read(pci.data, 4);
}

function noDescriptors(device: PlatformShape['virtio'][number], index: number): VirtioDescriptors {
  const { count, gsi } = irqfds(shape.transport, device, index, 0);
  return { doorbells: device.queueSizes.map(() => none), vectors: new Array(count).fill(none), gsi };
}
