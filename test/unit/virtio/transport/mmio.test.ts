import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import { ecam, maxVirtioMmio, ports, virtioMmioPlace } from '../../../../src/devices/memory-map.js';
import { TsvmmError } from '../../../../src/errors.js';
import { raiseConfig, raiseQueue } from '../../../../src/virtio/interrupt.js';
import { Lifecycle } from '../../../../src/virtio/registers.js';
import { MmioRegister as Mmio, mmioConfigOffset } from '../../../../src/virtio/transport/mmio-registers.js';
import { layoutPlatform, type PlatformShape } from '../../../../src/virtio/transport/platform.js';
import { bytesPerOperation } from '../../support/allocation.js';
import { MmioDriver, makeMmioMachine } from './mmio-driver.js';
import { shape } from './mock-device.js';
import { GIB, MIB } from './mock-driver.js';

const NEEDS_RESET = 0x40;

function make(...shapes: ReturnType<typeof shape>[]) {
  const machine = makeMmioMachine(shapes.length === 0 ? undefined : shapes);
  return { ...machine, machine, driver: new MmioDriver(machine), state: machine.targets[0]!.state };
}

describe('identity', () => {
  test('a virtio-mmio device of version 2', () => {
    const { driver } = make();
    expect(driver.get(Mmio.magicValue).toString(16)).toBe('74726976');
    expect(driver.get(Mmio.version)).toBe(2);
    expect(driver.get(Mmio.deviceId)).toBe(2);
    expect(driver.features()).toBe(0x1_3000_0201n);
  });

  test('no PCI: no ECAM, no configuration ports', () => {
    const { vcpu } = make();
    const { ports: bus, mmio } = vcpu();
    expect(bus.claims(ports.pciConfigAddress.base, 4)).toBe(false);
    expect(bus.claims(ports.pciConfigData.base, 1)).toBe(false);
    expect(mmio.claims(ecam.start)).toBe(false);
  });

  test('a page for each of as many devices as there are lines; one more is refused by name and number', () => {
    const machine = makeMmioMachine(Array.from({ length: maxVirtioMmio }, (_, i) => shape({ name: `test${i}` })));
    for (let device = 0; device < maxVirtioMmio; device++) {
      const driver = new MmioDriver(machine, device);
      driver.start();
      expect(driver.status).toBe(15);
      expect(machine.descriptors.virtio[device]!.gsi).toBe(virtioMmioPlace(device).gsi);
    }
    const of: PlatformShape = { cpus: 1, ram: GIB, physicalBits: 40, transport: 'mmio', virtio: [] };
    const many = () => layoutPlatform({ ...of, virtio: new Array(maxVirtioMmio + 1).fill(shape()) });
    expect(many).toThrow(TsvmmError);
    expect(many).toThrow(`${maxVirtioMmio + 1} devices, but there are interrupt lines for ${maxVirtioMmio}`);
    expect(() => layoutPlatform({ ...of, virtio: [shape({ configSize: 3841 })] })).toThrow(/test0/);
    expect(() => layoutPlatform({ ...of, virtio: [shape({ configSize: 3840 })] })).not.toThrow();
  });
});

describe('control registers', () => {
  test('reset values', () => {
    const { driver } = make();
    for (const register of [Mmio.status, Mmio.queueReady, Mmio.interruptStatus, Mmio.configGeneration]) {
      expect(driver.get(register)).toBe(0);
    }
    expect(driver.get(Mmio.queueSizeMax)).toBe(256);
  });

  test('T7: a queue that does not exist has size 0 and takes nothing', () => {
    const { driver, machine, wires } = make();
    for (const index of [2, 3, 0xffff, 0x1_0000, 0x1_0001, 0xffff_ffff]) {
      driver.set(Mmio.queueSelect, index);
      expect(driver.get(Mmio.queueSizeMax)).toBe(0);
      driver.set(Mmio.queueSize, 16);
      driver.set(Mmio.queueDescLow, 0x1000);
      driver.set(Mmio.queueReady, 1);
      driver.set(Mmio.queueReady, 0);
      expect(driver.get(Mmio.queueReady)).toBe(0);
    }
    driver.start();
    machine.dataPath();
    for (const index of [2, 0xffff, 0x1_0000, 0xffff_ffff]) driver.notify(index);
    expect(wires.rung).toEqual([]);
    machine.checkGuards();
  });

  test('T22: queue sizes are powers of two up to the largest, zero is none', () => {
    const { driver, state } = make();
    driver.set(Mmio.queueSelect, 1);
    for (const size of [0, 3, 48, 65, 128, 0x1_0040, 0x8000_0000, 0xffff_ffff]) {
      driver.set(Mmio.queueSize, size);
      expect(state.queues[1]!.size).toBe(64);
    }
    driver.set(Mmio.queueSize, 8);
    expect(state.queues[1]!.size).toBe(8);
    expect(driver.get(Mmio.queueSizeMax)).toBe(64);
  });

  test('T18: parts of a word read as such, across words as ones; only whole words are written', () => {
    const { driver, wires, state } = make();
    expect(driver.get(Mmio.magicValue, 1)).toBe(0x76);
    expect(driver.get(Mmio.magicValue + 3, 1)).toBe(0x74);
    expect(driver.get(Mmio.magicValue + 2, 2)).toBe(0x7472);
    expect(driver.get(Mmio.magicValue + 2, 4)).toBe(0xffff_ffff);
    expect(driver.get(Mmio.magicValue + 3, 2)).toBe(0xffff);
    driver.set(Mmio.status, 1, 1);
    driver.set(Mmio.status, 1, 2);
    driver.set(Mmio.status + 1, 1, 4);
    driver.set(Mmio.queueSize, 8, 2);
    expect(driver.status).toBe(0);
    expect(state.queues[0]!.size).toBe(256);
    expect(wires.warnings).toHaveLength(4);
  });

  test('what is only written, what older versions had, and what does not exist reads as 0 and takes nothing', () => {
    const { driver, machine } = make();
    const before = new Uint8Array(machine.buffer).slice();
    const known = new Set<number>(Object.values(Mmio));
    for (let offset = 0; offset < mmioConfigOffset; offset += 4) {
      if (known.has(offset) && offset !== Mmio.queueReset) continue;
      expect(driver.get(offset), offset.toString(16)).toBe(0);
      driver.set(offset, 0xffff_ffff);
    }
    for (const readOnly of [Mmio.magicValue, Mmio.version, Mmio.deviceId, Mmio.vendorId, Mmio.deviceFeatures]) {
      driver.set(readOnly, 0);
    }
    for (const readOnly of [Mmio.queueSizeMax, Mmio.interruptStatus, Mmio.configGeneration]) driver.set(readOnly, 7);
    expect(Buffer.compare(new Uint8Array(machine.buffer).slice(), before)).toBe(0);
    for (const writeOnly of [Mmio.queueDescLow, Mmio.queueDeviceHigh, Mmio.driverFeatures, Mmio.queueSelect]) {
      driver.set(writeOnly, 1);
      expect(driver.get(writeOnly)).toBe(0);
    }
  });

  test('no shared memory region exists, whichever is selected', () => {
    const { driver } = make();
    for (const id of [0, 1, 255, 0xffff_ffff]) {
      driver.set(Mmio.shmSelect, id);
      for (const register of [Mmio.shmLengthLow, Mmio.shmLengthHigh, Mmio.shmBaseLow, Mmio.shmBaseHigh]) {
        expect(driver.get(register)).toBe(0xffff_ffff);
      }
    }
  });

  test('features in two windows, nothing beyond', () => {
    const { driver } = make();
    for (const select of [2, 3, 0xffff_ffff]) {
      driver.set(Mmio.deviceFeaturesSelect, select);
      expect(driver.get(Mmio.deviceFeatures)).toBe(0);
    }
  });

  test('T15: features that were not offered, or without VERSION_1, are refused at FEATURES_OK', () => {
    for (const features of [1n << 33n, (1n << 32n) | 2n, 0n, 1n]) {
      const { driver } = make();
      driver.begin(features);
      expect(driver.status).toBe(3);
    }
  });

  test('T16: steps out of order and bits taken back are refused, whatever the upper bits of the word say', () => {
    const { driver } = make();
    for (const wrong of [2, 4, 8, 0x100, 0x1_0001, 0x8000_0001]) {
      driver.status = wrong;
      expect(driver.status).toBe(0);
    }
    driver.begin();
    driver.status = 3;
    expect(driver.status).toBe(11);
  });

  test('T5: a queue may be taken back before DRIVER_OK and not after', () => {
    const { driver, machine, state } = make();
    driver.begin();
    driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.addresses(0x20_0000, 0x20_2000, 0x20_3000);
    expect(state.queues[0]!.descLow).toBe(0x10_0000);
    driver.set(Mmio.queueReady, 0);
    expect(driver.get(Mmio.queueReady)).toBe(0);
    driver.queue(0, 0x20_0000, 0x20_2000, 0x20_3000, 16);
    driver.status = 15;
    machine.dataPath();
    driver.set(Mmio.queueSelect, 0);
    driver.set(Mmio.queueReady, 0);
    driver.set(Mmio.queueSize, 256);
    driver.addresses(0x30_0000, 0x30_2000, 0x30_3000);
    expect(driver.get(Mmio.queueReady)).toBe(1);
    expect([state.queues[0]!.frozenSize, state.queues[0]!.frozenDescLow]).toEqual([16, 0x20_0000]);
    expect([state.queues[0]!.size, state.queues[0]!.descLow]).toEqual([16, 0x20_0000]);
  });

  test.each([
    ['beyond RAM', [256 * MIB, 0x10_2000, 0x10_3000]],
    ['across the end of RAM', [256 * MIB - 16, 0x10_2000, 0x10_3000]],
    ['in its own registers', [virtioMmioPlace(0).region.start, 0x10_2000, 0x10_3000]],
    ['in the registers of the local APIC', [0x10_0000, 0xfee0_0000, 0x10_3000]],
    ['where an address wraps', [0x10_0000, 0x10_2000, 2 ** 53 - 4]],
    ['not aligned', [0x10_0008, 0x10_2000, 0x10_3000]],
  ] as const)('T4: rings %s fail at DRIVER_OK', (_, [desc, used, device]) => {
    const { driver, machine, wires } = make();
    driver.begin();
    driver.queue(0, desc, used, device);
    driver.status = 15;
    machine.wires.runTasks();
    expect(driver.status).toBe(15 | NEEDS_RESET);
    expect(machine.targets[0]!.state.device.lifecycle[0]).toBe(Lifecycle.inactive);
    expect(machine.vm.matched.size).toBe(0);
    expect(driver.get(Mmio.interruptStatus)).toBe(2);
    expect(wires.rung).toEqual([machine.descriptors.virtio[0]!.vectors[0]]);
    driver.start();
    expect(driver.status).toBe(15);
  });
});

describe('device configuration', () => {
  test('T18: any width inside, all ones beyond, only writable bytes written', () => {
    const { driver, state } = make();
    state.config.set(Uint8Array.from({ length: 24 }, (_, i) => i));
    expect(driver.config(1, 1)).toBe(1);
    expect(driver.config(3, 2)).toBe(0x0403);
    expect(driver.config(5, 4)).toBe(0x0807_0605);
    expect(driver.config(22, 4)).toBe(0xffff_1716);
    expect(driver.config(0x1000 - mmioConfigOffset - 4, 4)).toBe(0xffff_ffff);
    driver.setConfig(2, 4, 0xaabb_ccdd);
    expect([...state.config.subarray(2, 6)]).toEqual([2, 3, 0xbb, 5]);
    driver.setConfig(0x1000 - mmioConfigOffset - 4, 4, 0);
  });

  test('the generation counts changes by the host, and a driver that is there is told', () => {
    const { driver, host, machine } = make();
    host.changeConfig(0, 0, Uint8Array.from([1]));
    expect([driver.get(Mmio.configGeneration), driver.get(Mmio.interruptStatus)]).toEqual([1, 0]);
    driver.start();
    expect(host.changeConfig(0, 0, Uint8Array.from([2]))).toBe(machine.descriptors.virtio[0]!.vectors[0]);
    expect([driver.get(Mmio.configGeneration), driver.get(Mmio.interruptStatus)]).toEqual([2, 2]);
  });
});

describe('interrupts', () => {
  test('every event pulses the line of its device, and stays in InterruptStatus until acknowledged', () => {
    const { machine } = make(shape(), shape({ name: 'test1' }));
    const drivers = [0, 1].map((device) => new MmioDriver(machine, device));
    const [first, second] = machine.targets;
    expect(raiseQueue(first!, 0)).toBe(1500);
    expect(raiseQueue(first!, 1)).toBe(1500);
    expect(raiseConfig(second!)).toBe(2500);
    expect(drivers.map((driver) => driver.get(Mmio.interruptStatus))).toEqual([1, 2]);
    expect(raiseConfig(first!)).toBe(1500);
    drivers[0]!.set(Mmio.interruptAck, 1);
    expect(drivers.map((driver) => driver.get(Mmio.interruptStatus))).toEqual([2, 2]);
    drivers[0]!.set(Mmio.interruptAck, 0xffff_ffff);
    expect(drivers.map((driver) => driver.get(Mmio.interruptStatus))).toEqual([0, 2]);
    expect(machine.wires.lineCalls).toEqual([]);
  });
});

describe('doorbells', () => {
  const at = virtioMmioPlace(0).region.start + Mmio.queueNotify;

  test('at DRIVER_OK the kernel has one for each queue, told apart by the value; at reset it has none', () => {
    const { driver, machine, vm } = make();
    driver.start();
    driver.notify(1);
    expect(machine.wires.rung).toEqual([1001]); // before the kernel has them
    machine.wires.runTasks();
    expect(vm.matched).toEqual(
      new Map([
        [`${at.toString(16)}=0`, 1000],
        [`${at.toString(16)}=1`, 1001],
      ]),
    );
    driver.status = 0;
    machine.wires.runTasks();
    expect(vm.matched.size).toBe(0);
    machine.dataPath();
    machine.wires.rung.length = 0;
    driver.notify(0); // a late one
    expect(machine.wires.rung).toEqual([]);
  });

  test('where the kernel refuses, writes ring', () => {
    const { driver, machine, vm, wires } = make();
    vm.refuse = true;
    driver.start();
    machine.wires.runTasks();
    expect(wires.warnings).toHaveLength(2);
    driver.notify(0);
    expect(wires.rung).toEqual([1000]);
  });
});

describe('reset', () => {
  test('T53: holds the vCPU that asked until the data path has let go; others are refused meanwhile', () => {
    const { driver, machine, wires, state } = make();
    driver.start();
    machine.dataPath();
    raiseQueue(machine.targets[0]!, 0);
    expect(wires.isHeld).toBe(false);
    driver.status = 0;
    expect(wires.isHeld).toBe(true);
    const other = new MmioDriver(machine);
    expect(other.status).not.toBe(0);
    other.set(Mmio.queueSelect, 1);
    other.status = 1;
    expect(state.device.queueSelect).toBe(0);
    machine.dataPath();
    expect(wires.isHeld).toBe(false);
    expect([driver.status, driver.get(Mmio.interruptStatus), driver.get(Mmio.queueReady)]).toEqual([0, 0, 0]);
    driver.start();
    expect(driver.status).toBe(15);
  });

  test('a second vCPU that resets at the same time is held as well', () => {
    const { driver, machine, wires } = make();
    driver.start();
    driver.status = 0;
    new MmioDriver(machine).status = 0;
    expect(wires.held).toHaveLength(2);
  });

  test('of a device that does not run holds nobody', () => {
    const { driver, wires } = make();
    driver.status = 0;
    driver.begin();
    driver.status = 0;
    expect(wires.held).toEqual([]);
    expect(driver.status).toBe(0);
  });
});

test('the hot registers make no object', () => {
  const { driver, machine } = make();
  driver.start();
  machine.dataPath();
  Object.assign(machine.wires, { ring: () => {}, setLine: () => {} }); // recording allocates
  const target = machine.targets[0]!;
  const perAccess = (access: () => unknown): number =>
    bytesPerOperation((operations) => {
      for (let i = 0; i < operations; i++) access();
    }, 5000);
  expect(perAccess(() => driver.notify(0))).toBeLessThan(24);
  expect(perAccess(() => driver.acknowledge())).toBeLessThan(48); // two accesses
  expect(perAccess(() => raiseQueue(target, 0))).toBeLessThan(24);
});

test('hostile guests: any access to any register in any order never throws, and what is served was validated', () => {
  const size = fc.constantFrom<AccessSize>(1, 2, 4);
  const word = fc.oneof(
    fc.nat(0xffff_ffff),
    fc.nat(3),
    fc.nat(0x3000).map((n) => n * 16),
  );
  const register = fc.oneof(fc.nat(0x120), fc.constantFrom(...Object.values(Mmio)), fc.nat(0xfff));
  const access = fc.record({
    kind: fc.constantFrom('load', 'store', 'store', 'word', 'word', 'word', 'word'),
    device: fc.nat(1),
    register,
    size,
    value: word,
    cpu: fc.nat(1),
  });
  const step = fc.record({
    kind: fc.constantFrom('status', 'start', 'tasks', 'data path', 'raise'),
    device: fc.nat(1),
    register,
    size,
    value: fc.constantFrom(0, 1, 3, 11, 15),
    cpu: fc.nat(1),
  });
  fc.assert(
    fc.property(fc.array(fc.oneof(access, step), { maxLength: 120 }), (actions) => {
      const machine = makeMmioMachine([shape(), shape({ name: 'test1', queueSizes: [16], configSize: 0 })]);
      const vcpus = [machine.vcpu(), machine.vcpu()];
      const drivers = vcpus.map((vcpu) => [0, 1].map((device) => new MmioDriver(machine, device, vcpu)));
      for (const { kind, device, register: at, size: width, value, cpu } of actions) {
        const driver = drivers[cpu]![device]!;
        if (kind === 'load') {
          const got = driver.get(at, width);
          expect(got >= 0 && got < 2 ** (8 * width)).toBe(true);
        } else if (kind === 'store') driver.set(at, value, width);
        else if (kind === 'word') driver.set(at & ~3, value);
        else if (kind === 'status') driver.status = value;
        else if (kind === 'start') driver.start();
        else if (kind === 'tasks') machine.wires.runTasks();
        else if (kind === 'data path') machine.dataPath(device);
        else raiseQueue(machine.targets[device]!, 0);
        for (const { state } of machine.targets) {
          const life = state.device.lifecycle[0];
          expect(life === Lifecycle.resetting && state.device.status !== 0).toBe(false);
          if (life !== Lifecycle.activating && life !== Lifecycle.active) continue;
          expect(state.device.status & 15).toBe(15);
          state.queues.forEach((queue, i) => {
            if (queue.frozenSize === 0) return;
            expect(queue.frozenSize).toBeLessThanOrEqual(state.shape.queueSizes[i]!);
            const end = queue.frozenDescHigh * 2 ** 32 + queue.frozenDescLow + 16 * queue.frozenSize;
            expect(end).toBeLessThanOrEqual(256 * MIB);
            expect(queue.frozenDescLow % 16).toBe(0);
          });
        }
      }
      machine.checkGuards();
      machine.dataPath(0);
      drivers[0]![0]!.status = 0;
      machine.dataPath(0);
      drivers[0]![0]!.start();
      expect(drivers[0]![0]!.status).toBe(15);
      machine.wires.runTasks();
      const place = (virtioMmioPlace(0).region.start + Mmio.queueNotify).toString(16);
      expect([...machine.vm.matched.keys()].filter((key) => key.startsWith(`${place}=`))).toHaveLength(2);
    }),
    { numRuns: 200 },
  );
});
