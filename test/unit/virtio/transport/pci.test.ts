import { describe, expect, test } from 'vitest';
import { gsi, pciIntxGsi } from '../../../../src/devices/memory-map.js';
import { raiseConfig, raiseQueue } from '../../../../src/virtio/interrupt.js';
import { Lifecycle } from '../../../../src/virtio/registers.js';
import { CommonRegister as Common } from '../../../../src/virtio/transport/common-config.js';
import { shape } from './mock-device.js';
import { GIB, MIB, MockDriver, makeMachine } from './mock-driver.js';

const NO_VECTOR = 0xffff;
const NEEDS_RESET = 0x40;

function make(...shapes: ReturnType<typeof shape>[]) {
  const machine = makeMachine(shapes.length === 0 ? undefined : shapes);
  return { ...machine, machine, driver: new MockDriver(machine), state: machine.targets[0]!.state };
}

describe('identity and capabilities', () => {
  test('a modern virtio-pci device, with everything inside its BAR', () => {
    const { driver } = make();
    expect(driver.config(0, 4)).toBe(0x1042_1af4);
    expect(driver.config(8, 1)).toBeGreaterThanOrEqual(1);
    expect(driver.config(0x3d, 1)).toBe(1);
    expect([...driver.structures.keys()].sort()).toEqual([1, 2, 3, 4, 5]);
    const bar = driver.barAddress();
    driver.setConfig(0x10, 4, 0xffff_ffff);
    const size = -(driver.config(0x10, 4) & ~0xf) >>> 0;
    for (const [type, { address, length }] of driver.structures) {
      if (type !== 5) expect(address - bar + length).toBeLessThanOrEqual(size);
    }
    expect(driver.structures.get(1)!.length).toBeGreaterThanOrEqual(56);
    expect(driver.structures.get(2)!.length).toBe(2 * driver.notifyMultiplier);
    expect(driver.structures.get(4)!.length).toBe(24);
  });

  test('a device without configuration has no capability for it', () => {
    const { driver } = make(shape({ configSize: 0, writableConfig: [] }));
    expect([...driver.structures.keys()].sort()).toEqual([1, 2, 3, 5]);
  });

  test('MSI-X: a vector for each queue and one for configuration', () => {
    const { driver } = make();
    expect(driver.config(driver.msix + 2, 2)).toBe(2);
    driver.setConfig(driver.msix + 2, 2, 0xffff);
    expect(driver.config(driver.msix + 2, 2)).toBe(0xc002);
  });
});

describe('common configuration', () => {
  test('reset values', () => {
    const { driver } = make();
    expect(driver.status).toBe(0);
    expect(driver.common(Common.configVector, 2)).toBe(NO_VECTOR);
    expect(driver.common(Common.queueCount, 2)).toBe(2);
    expect(driver.common(Common.queueSize, 2)).toBe(256);
    expect(driver.common(Common.queueVector, 2)).toBe(NO_VECTOR);
    expect(driver.common(Common.queueEnable, 2)).toBe(0);
  });

  test('features in two windows, nothing beyond', () => {
    const { driver } = make();
    expect(driver.features()).toBe(0x1_3000_0201n);
    for (const select of [2, 3, 0xffff_ffff]) {
      driver.setCommon(Common.deviceFeatureSelect, 4, select);
      expect(driver.common(Common.deviceFeature, 4)).toBe(0);
      driver.setCommon(Common.driverFeatureSelect, 4, select);
      driver.setCommon(Common.driverFeature, 4, 0xffff_ffff);
      expect(driver.common(Common.driverFeature, 4)).toBe(0);
    }
  });

  test('T7: a queue that does not exist has size 0 and takes nothing', () => {
    const { driver, machine } = make();
    for (const index of [2, 3, 0xffff]) {
      driver.setCommon(Common.queueSelect, 2, index);
      expect(driver.common(Common.queueSize, 2)).toBe(0);
      driver.setCommon(Common.queueSize, 2, 16);
      driver.setCommon(Common.queueVector, 2, 1);
      driver.setCommon(Common.queueDescLow, 4, 0x1000);
      driver.setCommon(Common.queueEnable, 2, 1);
      expect(driver.common(Common.queueSize, 2)).toBe(0);
      expect(driver.common(Common.queueVector, 2)).toBe(0);
      expect(driver.common(Common.queueEnable, 2)).toBe(0);
    }
    machine.checkGuards();
  });

  test('T22: queue sizes are powers of two up to the largest, zero is none', () => {
    const { driver } = make();
    driver.setCommon(Common.queueSelect, 2, 1);
    for (const size of [0, 3, 48, 65, 128, 0x8000, 0xffff]) {
      driver.setCommon(Common.queueSize, 2, size);
      expect(driver.common(Common.queueSize, 2)).toBe(64);
    }
    driver.setCommon(Common.queueSize, 2, 8);
    expect(driver.common(Common.queueSize, 2)).toBe(8);
  });

  test('T20: vectors out of range read back as none', () => {
    const { driver } = make();
    for (const register of [Common.configVector, Common.queueVector]) {
      driver.setCommon(register, 2, 2);
      expect(driver.common(register, 2)).toBe(2);
      driver.setCommon(register, 2, 3);
      expect(driver.common(register, 2)).toBe(NO_VECTOR);
    }
  });

  test('reads at other widths are the bytes, writes at other widths are refused', () => {
    const { driver, wires } = make();
    driver.setCommon(Common.queueDescLow, 4, 0x1234_5670);
    expect(driver.common(Common.queueDescLow, 2)).toBe(0x5670);
    expect(driver.common(Common.queueDescLow + 1, 1)).toBe(0x56);
    expect(driver.common(Common.queueCount, 4)).toBe(0x0000_0002);
    expect(driver.common(0x3a, 4)).toBe(0xffff_0000);
    driver.setCommon(Common.queueDescLow, 2, 0);
    driver.setCommon(Common.queueSize, 4, 8);
    driver.setCommon(Common.status, 4, 1);
    driver.setCommon(0x21, 4, 1);
    expect(driver.common(Common.queueDescLow, 4)).toBe(0x1234_5670);
    expect(driver.common(Common.queueSize, 2)).toBe(256);
    expect(driver.status).toBe(0);
    expect(wires.warnings).toHaveLength(4);
  });

  test('ring reset and notification data are not there', () => {
    const { driver } = make();
    driver.setCommon(Common.queueReset, 2, 1);
    expect(driver.common(Common.queueReset, 2)).toBe(0);
    expect(driver.common(Common.queueNotifyData, 2)).toBe(0);
  });
});

describe('device configuration', () => {
  test('T18: any width inside, all ones beyond, only writable bytes written', () => {
    const { driver, state, mmio } = (() => {
      const made = make();
      return { ...made, mmio: made.driver.mmio };
    })();
    state.config.set(Uint8Array.from({ length: 24 }, (_, i) => i));
    const at = driver.structures.get(4)!.address;
    expect(mmio.read(at + 1, 4)).toBe(0x0403_0201);
    expect(mmio.read(at + 23, 1)).toBe(23);
    expect(mmio.read(at + 22, 4)).toBe(0xffff_1716);
    expect(mmio.read(at + 24, 4)).toBe(0xffff_ffff);
    expect(mmio.read(at + 0xfff, 1)).toBe(0xff);
    mmio.write(at + 2, 4, 0xaaaa_aaaa);
    expect(mmio.read(at + 2, 4)).toBe(0x05aa_0302);
    mmio.write(at + 22, 4, 0);
  });

  test('a change by the host shows in the generation and interrupts', () => {
    const { driver, machine, host, wires, dataPath } = make();
    driver.start();
    dataPath();
    const before = driver.common(Common.configGeneration, 1);
    expect(host.changeConfig(0, 0, Uint8Array.from([7]))).toBe(-1);
    expect(driver.common(Common.configGeneration, 1)).toBe((before + 1) & 0xff);
    expect(wires.line(pciIntxGsi(1, 0))).toBe(1);
    expect(driver.isr).toBe(2);
    expect(wires.line(pciIntxGsi(1, 0))).toBe(0);
    machine.checkGuards();
  });
});

describe('status machine', () => {
  test('the whole way, with the data path told at the end', () => {
    const { driver, state, wires, dataPath } = make();
    driver.begin();
    expect(driver.status).toBe(11);
    expect(wires.dataPathWakes).toBe(0);
    driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.status = 15;
    expect(driver.status).toBe(15);
    expect(wires.dataPathWakes).toBe(1);
    expect(state.device.lifecycle[0]).toBe(Lifecycle.activating);
    dataPath();
    expect(driver.status).toBe(15);
  });

  test('several steps in one write, as SeaBIOS does', () => {
    const { driver } = make();
    driver.status = 3;
    expect(driver.status).toBe(3);
  });

  test('T16: steps out of order, cleared bits and reserved bits are refused', () => {
    const { driver, wires } = make();
    for (const wrong of [2, 4, 8, 6, 12, 0x10, 0x21]) {
      driver.status = wrong;
      expect(driver.status).toBe(0);
    }
    driver.status = 3;
    for (const wrong of [1, 2, 7, 0x13]) {
      driver.status = wrong;
      expect(driver.status).toBe(3);
    }
    expect(wires.warnings).toHaveLength(11);
    driver.status = 3 | NEEDS_RESET; // a driver writes back what it read
    expect(driver.status).toBe(3);
    driver.status = 0x83;
    expect(driver.status).toBe(0x83);
  });

  test('T15: VERSION_1 is required, what was not offered is refused', () => {
    for (const [features, ok] of [
      [1n << 32n, true],
      [(1n << 32n) | 1n, true],
      [1n, false],
      [0n, false],
      [(1n << 32n) | 2n, false],
      [(1n << 32n) | (1n << 33n), false],
      [0xffff_ffff_ffff_ffffn, false],
    ] as const) {
      const { driver } = make();
      driver.begin(features);
      expect((driver.status & 8) !== 0).toBe(ok);
      expect(driver.status & 3).toBe(3);
    }
  });

  test('a driver that is refused FEATURES_OK may try other features', () => {
    const { driver } = make();
    driver.begin(0n);
    driver.accept(1n << 32n);
    driver.status = 11;
    expect(driver.status).toBe(11);
  });

  test('features are fixed after FEATURES_OK', () => {
    const { driver, state } = make();
    driver.begin();
    driver.accept(0x1_0000_0001n);
    expect([state.device.driverFeatures0, state.device.driverFeatures1]).toEqual([0, 1]);
  });
});

describe('activation', () => {
  test('T5: freezes what the driver wrote; later writes change nothing', () => {
    const { driver, state } = make();
    driver.start();
    const frozen = (): number[] =>
      state.queues.flatMap((q) => [q.frozenSize, q.frozenDescLow, q.frozenDriverLow, q.frozenDeviceLow]);
    const before = frozen();
    expect(before).toEqual([256, 0x10_0000, 0x10_2000, 0x10_3000, 32, 0x11_0000, 0x11_2000, 0x11_3000]);
    driver.queue(0, 0, 0, 0, 8);
    driver.queue(1, 0xffff_fff0, 1, 1, 64);
    expect(frozen()).toEqual(before);
    expect([state.queues[0]!.size, state.queues[0]!.descLow]).toEqual([256, 0x10_0000]);
  });

  test('a queue that was not enabled is not served', () => {
    const { driver, state, wires } = make();
    driver.begin();
    driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.status = 15;
    expect(state.queues[1]!.frozenSize).toBe(0);
    driver.notify(1);
    expect(wires.rung).toEqual([]);
  });

  const ok = [0x10_0000, 0x10_2000, 0x10_3000] as const;
  test.each<[string, readonly [number, number, number]]>([
    ['descriptor table unaligned', [0x10_0008, ok[1], ok[2]]],
    ['available ring unaligned', [ok[0], 0x10_2001, ok[2]]],
    ['used ring unaligned', [ok[0], ok[1], 0x10_3002]],
    ['descriptor table past the end of RAM', [256 * MIB - 16, ok[1], ok[2]]],
    ['descriptor table across the end of RAM', [256 * MIB - 4096 + 16, ok[1], ok[2]]],
    ['available ring in the device hole', [ok[0], 0xc000_0000, ok[2]]],
    ['used ring in ECAM', [ok[0], ok[1], 0xe000_0000]],
    ['used ring beyond 2^53', [ok[0], ok[1], 2 ** 53]],
    ['descriptor table at the top of the address space', [2 ** 64 - 4096, ok[1], ok[2]]],
  ])('T4: %s: NEEDS_RESET, told to the driver, nothing started', (_, [desc, avail, used]) => {
    const { driver, state, wires, vm } = make();
    driver.begin();
    driver.queue(0, desc, avail, used);
    driver.status = 15;
    expect(driver.status).toBe(15 | NEEDS_RESET);
    expect(state.device.lifecycle[0]).toBe(Lifecycle.inactive);
    expect(wires.dataPathWakes).toBe(0);
    expect(driver.isr).toBe(2);
    expect(wires.warnings).toHaveLength(1);
    wires.runTasks();
    expect(vm.doorbells.size).toBe(0);
    driver.status = 0;
    expect(driver.status).toBe(0);
    driver.start();
    expect(driver.status).toBe(15);
  });

  test('rings at the very end of RAM are RAM', () => {
    const { driver } = make();
    driver.begin();
    driver.queue(1, 256 * MIB - 16 * 64, 256 * MIB - 6 - 2 * 64, 256 * MIB - 6 - 8 * 64 - 2);
    driver.status = 15;
    expect(driver.status).toBe(15);
  });

  test('RAM above the hole', () => {
    const machine = makeMachine([shape()], { ram: 5 * GIB });
    const driver = new MockDriver(machine);
    driver.begin();
    driver.queue(0, 4 * GIB, 4 * GIB + 0x1_0000, 6 * GIB - 0x1_0000);
    driver.status = 15;
    expect(driver.status).toBe(15);
    expect(machine.targets[0]!.state.queues[0]!.frozenDescHigh).toBe(1);
  });
});

describe('reset', () => {
  test('status stays non-zero until the data path confirms; registers are at reset values at once', () => {
    const { driver, state, wires, dataPath, vm } = make();
    driver.start();
    dataPath();
    wires.runTasks();
    expect(vm.doorbells.size).toBe(2);
    const wakes = wires.dataPathWakes;
    driver.status = 0;
    expect(driver.status).not.toBe(0);
    expect(wires.dataPathWakes).toBe(wakes + 1);
    expect(state.device.lifecycle[0]).toBe(Lifecycle.resetting);
    expect(driver.common(Common.queueEnable, 2)).toBe(0);
    expect(state.queues[1]!.size).toBe(64);
    expect(state.queues[0]!.frozenSize).toBe(256); // the data path still reads it
    wires.runTasks();
    expect(vm.doorbells.size).toBe(0);
    driver.status = 1; // too early
    driver.setCommon(Common.configVector, 2, 1);
    driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.notify(0);
    dataPath();
    expect(driver.status).toBe(0);
    expect(driver.common(Common.configVector, 2)).toBe(NO_VECTOR);
    expect(state.queues[0]!.enabled).toBe(0);
    expect(wires.rung).toEqual([]);
    driver.start();
    expect(driver.status).toBe(15);
  });

  test('without a running data path it is immediate', () => {
    const { driver, wires } = make();
    driver.begin();
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect(wires.dataPathWakes).toBe(0);
  });

  test('a data path that has not started yet confirms as well', () => {
    const { driver, state, dataPath } = make();
    driver.start();
    driver.status = 0;
    expect(state.device.lifecycle[0]).toBe(Lifecycle.resetting);
    dataPath();
    expect(driver.status).toBe(0);
  });

  test('lowers the line and forgets what a late data path still says', () => {
    const { driver, state, wires, dataPath, targets } = make();
    driver.start();
    dataPath();
    raiseQueue(targets[0]!, 0);
    expect(wires.line(pciIntxGsi(1, 0))).toBe(1);
    driver.status = 0;
    expect(wires.line(pciIntxGsi(1, 0))).toBe(0);
    Atomics.store(state.device.needsReset, 0, 1); // it had not seen the request
    dataPath();
    expect(driver.status).toBe(0);
    driver.status = 1;
    expect(driver.status).toBe(1);
  });

  test('NEEDS_RESET by the data path shows until reset', () => {
    const { driver, state, dataPath } = make();
    driver.start();
    dataPath();
    Atomics.store(state.device.needsReset, 0, 1);
    expect(driver.status).toBe(15 | NEEDS_RESET);
    driver.status = 0;
    dataPath();
    expect(driver.status).toBe(0);
  });
});

describe('doorbells', () => {
  test('before the ioeventfd is there a write rings the eventfd; afterwards the kernel has it', () => {
    const { driver, wires, vm, descriptors } = make();
    driver.start();
    driver.notify(0);
    driver.notify(1);
    expect(wires.rung).toEqual([...descriptors.virtio[0]!.doorbells]);
    wires.runTasks();
    const notify = driver.structures.get(2)!.address;
    expect([...vm.doorbells]).toEqual([
      [notify, 1000],
      [notify + 4, 1001],
    ]);
  });

  test('no doorbell for queues that do not exist, before DRIVER_OK, or between two', () => {
    const { driver, wires } = make();
    driver.begin();
    driver.notify(0);
    driver.start();
    driver.notify(2);
    driver.notify(1023);
    driver.mmio.write(driver.structures.get(2)!.address + 2, 2, 0);
    expect(wires.rung).toEqual([]);
  });

  test('a refusal by the kernel leaves the slow way', () => {
    const { driver, wires, vm } = make();
    vm.refuse = true;
    driver.start();
    wires.runTasks();
    expect(wires.warnings.join()).toMatch(/refuses a doorbell/);
    driver.notify(0);
    expect(wires.rung).toEqual([1000]);
    driver.status = 0;
    wires.runTasks();
    expect(vm.calls.filter((call) => call.startsWith('-'))).toEqual([]);
  });

  test('follow the BAR when it really moves, and only then (contract §6.4)', () => {
    const { driver, wires, vm } = make();
    driver.start();
    wires.runTasks();
    const calls = vm.calls.length;
    const bar = driver.barAddress();
    const notify = driver.structures.get(2)!.address - bar;
    driver.setConfig(0x10, 4, 0xffff_ffff);
    driver.setConfig(0x10, 4, bar);
    driver.setConfig(4, 2, 0x04); // decode off leaves them
    wires.runTasks();
    expect(vm.calls).toHaveLength(calls);
    driver.setConfig(4, 2, 0x06);
    wires.runTasks();
    expect(vm.calls).toHaveLength(calls);
    driver.moveBar(9 * GIB);
    wires.runTasks();
    expect([...vm.doorbells.keys()]).toEqual([9 * GIB + notify, 9 * GIB + notify + 4]);
    driver.moveBar(0x100_0000); // over RAM: decoded nowhere
    wires.runTasks();
    expect(vm.doorbells.size).toBe(0);
  });

  test('two functions that change places', () => {
    const machine = makeMachine([shape(), shape({ name: 'test1' })]);
    const [a, b] = [1, 2].map((slot) => new MockDriver(machine, slot));
    a!.start();
    b!.start();
    machine.wires.runTasks();
    const [atA, atB] = [a!.barAddress(), b!.barAddress()];
    const notify = a!.structures.get(2)!.address - atA;
    a!.moveBar(atB); // wins over b, as it is the first function
    b!.moveBar(atA);
    machine.wires.runTasks();
    expect(machine.vm.doorbells.get(atB + notify)).toBe(1000);
    expect(machine.vm.doorbells.get(atA + notify)).toBe(2000);
    expect(machine.vm.doorbells.size).toBe(4);
  });

  test('T21: a function in the place of one that is not decoded has its doorbells there', () => {
    const machine = makeMachine([shape(), shape({ name: 'test1' })]);
    const [a, b] = [1, 2].map((slot) => new MockDriver(machine, slot));
    const { wires, vm } = machine;
    a!.start();
    b!.start();
    wires.runTasks();
    const atA = a!.barAddress();
    const notify = a!.structures.get(2)!.address - atA;
    a!.setConfig(4, 2, 0x04);
    b!.moveBar(atA);
    wires.runTasks();
    expect(vm.doorbells.get(atA + notify)).toBe(2000);
    a!.setConfig(4, 2, 0x06); // the first function wins
    wires.runTasks();
    expect(vm.doorbells.get(atA + notify)).toBe(1000);
    a!.moveBar(9 * GIB);
    wires.runTasks();
    expect(vm.doorbells.get(9 * GIB + notify)).toBe(1000);
    expect(vm.doorbells.get(atA + notify)).toBe(2000);
    expect(wires.warnings.filter((text) => text.includes('host:'))).toEqual([]);
  });

  test('any vCPU finishes what another began', () => {
    const machine = makeMachine();
    const first = new MockDriver(machine);
    const second = new MockDriver(machine);
    first.start();
    machine.wires.runTasks();
    second.status = 0;
    machine.wires.runTasks();
    expect(machine.vm.doorbells.size).toBe(0);
  });

  test('bus mastering coming back rings the doorbells: work may have waited', () => {
    const { driver, wires, dataPath } = make();
    driver.start();
    dataPath();
    driver.setConfig(4, 2, 0x02);
    expect(wires.rung).toEqual([]);
    driver.setConfig(4, 2, 0x06);
    expect(wires.rung).toEqual([1000, 1001]);
  });
});

describe('interrupts', () => {
  test('INTx: level, PCI status, ISR, interrupt disable', () => {
    const { driver, wires, targets, dataPath } = make();
    const pin = pciIntxGsi(1, 0);
    driver.start();
    dataPath();
    raiseQueue(targets[0]!, 1);
    expect(wires.line(pin)).toBe(1);
    expect(driver.config(6, 2) & 0x08).toBe(0x08);
    driver.setConfig(4, 2, 0x406);
    expect(wires.line(pin)).toBe(0);
    expect(driver.config(6, 2) & 0x08).toBe(0x08);
    driver.setConfig(4, 2, 0x006);
    expect(wires.line(pin)).toBe(1);
    expect(driver.isr).toBe(1);
    expect(driver.isr).toBe(0);
    expect(wires.line(pin)).toBe(0);
    expect(driver.config(6, 2) & 0x08).toBe(0);
  });

  test('devices eight slots apart share a line', () => {
    const machine = makeMachine(Array.from({ length: 9 }, (_, i) => shape({ name: `d${i}` })));
    const [first, ninth] = [1, 9].map((slot) => new MockDriver(machine, slot));
    expect(pciIntxGsi(1, 0)).toBe(pciIntxGsi(9, 0));
    raiseQueue(machine.targets[0]!, 0);
    raiseQueue(machine.targets[8]!, 0);
    expect(first!.isr).toBe(1);
    expect(machine.wires.line(pciIntxGsi(1, 0))).toBe(1);
    expect(ninth!.isr).toBe(1);
    expect(machine.wires.line(pciIntxGsi(1, 0))).toBe(0);
  });

  test('MSI-X through configuration space and table: programmed, routed, sent, and INTx is off', () => {
    const { driver, wires, targets, vm, dataPath } = make();
    const table = driver.barAddress() + driver.config(driver.msix + 4, 4);
    driver.begin();
    driver.setConfig(driver.msix + 2, 2, 0xc000); // enabled, all masked, as Linux begins
    for (let vector = 0; vector < 3; vector++) {
      driver.mmio.write(table + 16 * vector, 4, 0xfee0_0000);
      driver.mmio.write(table + 16 * vector + 4, 4, 0);
      driver.mmio.write(table + 16 * vector + 8, 4, 0x40 + vector);
    }
    driver.setConfig(driver.msix + 2, 2, 0x8000);
    for (let vector = 0; vector < 3; vector++) driver.mmio.write(table + 16 * vector + 12, 4, 0);
    wires.runTasks();
    expect(vm.routings).toHaveLength(1);
    driver.setCommon(Common.configVector, 2, 0);
    driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.setCommon(Common.queueVector, 2, 2);
    driver.status = 15;
    dataPath();
    expect(raiseQueue(targets[0]!, 0)).toBe(1502);
    expect(raiseConfig(targets[0]!)).toBe(1500);
    expect(wires.line(pciIntxGsi(1, 0))).toBe(0);
    expect(driver.config(6, 2) & 0x08).toBe(0);
    driver.setConfig(4, 2, 0x02);
    expect(raiseQueue(targets[0]!, 0)).toBe(-1);
    wires.rung.length = 0;
    driver.setConfig(4, 2, 0x06);
    expect(wires.rung).toContain(1502);
  });

  test('the routing table has the legacy lines beside the messages', () => {
    const { driver, wires, vm } = make();
    const table = driver.barAddress() + driver.config(driver.msix + 4, 4);
    driver.setConfig(driver.msix + 2, 2, 0x8000);
    driver.mmio.write(table, 4, 0xfee0_0000);
    driver.mmio.write(table + 12, 4, 0);
    wires.runTasks();
    const routing = new Uint32Array(vm.routings[0]!.slice().buffer);
    const gsis = Array.from({ length: routing[0]! }, (_, i) => routing[2 + 12 * i]!);
    expect(gsis).toContain(gsi.serial);
    expect(gsis).toContain(gsi.msiFirst);
  });
});

describe('PCI configuration access capability', () => {
  const access = (driver: MockDriver, bar: number, offset: number, length: number): number => {
    const { at } = driver.structures.get(5)!;
    driver.setConfig(at + 4, 1, bar);
    driver.setConfig(at + 8, 4, offset);
    driver.setConfig(at + 12, 4, length);
    return at + 16;
  };

  test('reads and writes the BAR, with memory decode off as well', () => {
    const { driver } = make();
    driver.setConfig(4, 2, 0);
    let data = access(driver, 0, Common.status, 1);
    driver.setConfig(data, 1, 1);
    driver.setConfig(data, 1, 3);
    expect(driver.config(data, 1)).toBe(3);
    data = access(driver, 0, Common.queueCount, 2);
    expect(driver.config(data, 2)).toBe(2);
    data = access(driver, 0, Common.deviceFeature, 4);
    expect(driver.config(data, 4)).toBe(0x3000_0201);
    data = access(driver, 0, Common.queueSelect, 2);
    driver.setConfig(data, 2, 1);
    data = access(driver, 0, Common.queueSize, 2);
    expect(driver.config(data, 2)).toBe(64);
  });

  test('T18: anything that is not 1, 2 or 4 aligned bytes inside BAR 0 does nothing', () => {
    const { driver, state, machine } = make();
    const before = [...new Uint8Array(machine.buffer, machine.layout.virtio[0]!.device, 200)];
    for (const [bar, offset, length] of [
      [1, 0x14, 1],
      [6, 0x14, 1],
      [0, 0x14, 0],
      [0, 0x14, 3],
      [0, 0x14, 8],
      [0, 0x15, 2],
      [0, 0xffff_fffc, 4],
      [0, 0x8000, 4],
      [0, 0x7ffe, 4],
      [0, 0, 0xffff_ffff],
    ] as const) {
      const data = access(driver, bar, offset, length);
      driver.setConfig(data, 4, 0x0101_0101);
      driver.config(data, 4);
    }
    expect(state.device.status).toBe(0);
    expect([...new Uint8Array(machine.buffer, machine.layout.virtio[0]!.device, 200)]).toEqual(before);
    machine.checkGuards();
  });

  test('its header is read-only', () => {
    const { driver } = make();
    const { at } = driver.structures.get(5)!;
    const header = driver.config(at, 4);
    driver.setConfig(at, 4, 0);
    expect(driver.config(at, 4)).toBe(header);
  });
});
