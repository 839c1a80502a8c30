import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import { acpiReset, bar32Window, ecam, gsi, ports } from '../../../../src/devices/memory-map.js';
import { MachineEvent } from '../../../../src/devices/wires.js';
import { TsvmmError } from '../../../../src/errors.js';
import { raiseConfig, raiseQueue } from '../../../../src/virtio/interrupt.js';
import { Lifecycle } from '../../../../src/virtio/registers.js';
import { layoutPlatform, type PlatformShape, resetPlatform } from '../../../../src/virtio/transport/platform.js';
import { shape } from './mock-device.js';
import { GIB, MIB, MockDriver, makeMachine } from './mock-driver.js';

describe('layout', () => {
  test('is pure, 8-aligned and survives being posted to a worker', () => {
    const of: PlatformShape = {
      cpus: 4,
      ram: 8 * GIB,
      physicalBits: 46,
      transport: 'pci',
      virtio: [shape(), shape({ queueSizes: [16, 16, 16] })],
    };
    const layout = layoutPlatform(of, 128);
    expect(layoutPlatform(of, 128)).toEqual(layout);
    expect(structuredClone(layout)).toEqual(layout);
    expect(layout.end % 8).toBe(0);
    expect(layout.chipset.rtc).toBe(128);
  });

  test('no two parts overlap: filling one device leaves the others alone', () => {
    const machine = makeMachine([shape(), shape({ name: 'test1' })]);
    const { state: first } = machine.targets[0]!;
    const { state: second } = machine.targets[1]!;
    const before = JSON.stringify([...second.config, ...second.msixTable, second.queues.map((q) => q.size)]);
    first.config.fill(0xff);
    first.msixTable.fill(-1);
    first.msixPending.fill(-1);
    first.queues[1]!.signalledUsedValid = 0xffff;
    expect(JSON.stringify([...second.config, ...second.msixTable, second.queues.map((q) => q.size)])).toBe(before);
    machine.checkGuards();
  });

  test('too many devices and too large ones are the user mistake', () => {
    const of = { cpus: 1, ram: GIB, physicalBits: 40, transport: 'pci' } as const;
    expect(() => layoutPlatform({ ...of, virtio: new Array(32).fill(shape()) })).toThrow(TsvmmError);
    expect(() => layoutPlatform({ ...of, virtio: [shape({ configSize: 5000 })] })).toThrow(/test0/);
    expect(() => layoutPlatform({ ...of, virtio: [shape({ queueSizes: new Array(1025).fill(16) })] })).toThrow(/test0/);
    expect(() => layoutPlatform({ ...of, virtio: new Array(31).fill(shape()) })).not.toThrow();
  });

  test('a device with a thousand queues works to its last', () => {
    const machine = makeMachine([shape({ queueSizes: new Array(1024).fill(16) })]);
    const driver = new MockDriver(machine);
    driver.begin();
    driver.queue(1023, 0x10_0000, 0x10_2000, 0x10_3000);
    driver.status = 15;
    driver.notify(1023);
    expect(machine.wires.rung).toEqual([1000 + 1023]);
    const table = driver.barAddress() + driver.config(driver.msix + 4, 4);
    driver.mmio.write(table + 1024 * 16 + 8, 4, 0x77);
    expect(driver.mmio.read(table + 1024 * 16 + 8, 4)).toBe(0x77);
    machine.checkGuards();
  });
});

describe('the machine as a whole', () => {
  test('every port of the map answers', () => {
    const { vcpu } = makeMachine();
    const { ports: bus } = vcpu();
    for (const { base, size } of Object.values(ports)) {
      for (let port = base; port < base + size; port++) expect(bus.claims(port, 1)).toBe(true);
    }
    expect(bus.read(0x80, 1)).toBe(0xff);
  });

  test('BARs lie in the window that the tables announce, and are decoded at power-on', () => {
    const machine = makeMachine([shape(), shape({ name: 'b' })]);
    for (const slot of [1, 2]) {
      const driver = new MockDriver(machine, slot);
      const at = driver.barAddress();
      expect(at >= bar32Window.start && at < bar32Window.start + bar32Window.size).toBe(true);
      expect(driver.mmio.claims(at)).toBe(true);
      expect(driver.status).toBe(0);
    }
  });

  test('a scan of the bus finds the bridge and the devices and nothing else', () => {
    const { vcpu } = makeMachine([shape(), shape({ name: 'b', deviceType: 4 })]);
    const { mmio } = vcpu();
    const found: [number, string][] = [];
    for (let slot = 0; slot < 32; slot++) {
      const id = mmio.read(ecam.start + slot * 0x8000, 4);
      if (id !== 0xffff_ffff) found.push([slot, id.toString(16)]);
    }
    expect(found).toEqual([
      [0, '81b36'],
      [1, '10421af4'],
      [2, '10441af4'],
    ]);
    expect(mmio.read(ecam.start + 2 ** 20, 4)).toBe(0xffff_ffff);
  });

  test('reset, power off, panic, debug exit', () => {
    const { vcpu, wires } = makeMachine();
    const { ports: bus } = vcpu();
    bus.write(acpiReset.port, 1, acpiReset.value);
    bus.write(ports.pm1Control.base, 2, (5 << 10) | (1 << 13));
    bus.write(ports.pvpanic.base, 1, 1);
    bus.write(ports.debugExit.base, 1, 3);
    expect(wires.raised.map(([event]) => event)).toEqual([
      MachineEvent.reset,
      MachineEvent.powerOff,
      MachineEvent.panic,
      MachineEvent.debugExit,
    ]);
  });

  test('the debug exit port is only there on request', () => {
    const { vcpu } = makeMachine([shape()], { debugExit: false });
    expect(vcpu().ports.claims(ports.debugExit.base, 1)).toBe(false);
  });

  test('state written by one vCPU is read by another', () => {
    const { vcpu } = makeMachine();
    const [a, b] = [vcpu(), vcpu()];
    a.ports.write(ports.serial.base + 7, 1, 0x5a);
    expect(b.ports.read(ports.serial.base + 7, 1)).toBe(0x5a);
    a.ports.write(ports.pciConfigAddress.base, 4, 0x8000_0800);
    expect(b.ports.read(ports.pciConfigData.base, 4)).toBe(0x1042_1af4);
  });
});

describe("main's handle", () => {
  test('console, power button, clock', () => {
    const { vcpu, host, wires } = makeMachine();
    const { ports: bus } = vcpu();
    bus.write(ports.serial.base, 1, 0x68);
    const into = new Uint8Array(8);
    expect(host.serial.readOutput(into)).toBe(1);
    expect(into[0]).toBe(0x68);
    bus.write(ports.serial.base + 1, 1, 1);
    host.serial.writeInput(Uint8Array.from([0x69]));
    host.serial.settle();
    expect(wires.line(gsi.serial)).toBe(1);
    expect(bus.read(ports.serial.base, 1)).toBe(0x69);
    bus.write(ports.pm1Event.base + 2, 2, 0x100);
    host.pressPowerButton();
    expect(wires.line(gsi.sci)).toBe(1);
    expect(host.rtc.service()).toBeGreaterThan(0);
  });

  test('MSI-X configuration changes give an eventfd to ring', () => {
    const machine = makeMachine();
    const driver = new MockDriver(machine);
    driver.setConfig(driver.msix + 2, 2, 0x8000);
    driver.mmio.write(driver.barAddress() + driver.config(driver.msix + 4, 4) + 12, 4, 0);
    machine.wires.runTasks();
    driver.setCommon(0x10, 2, 0);
    driver.start();
    driver.setCommon(0x10, 2, 0);
    expect(machine.host.changeConfig(0, 0, Uint8Array.from([1]))).toBe(1500);
  });
});

describe('reset of the platform', () => {
  test('gives back the power-on state, but for the configuration of devices', () => {
    const machine = makeMachine();
    const fresh = makeMachine();
    const { state } = machine.targets[0]!;
    const driver = new MockDriver(machine);
    const { ports: bus } = machine.vcpu();
    state.config[0] = 0x42;
    driver.moveBar(9 * GIB);
    driver.begin();
    driver.setConfig(driver.msix + 2, 2, 0xffff);
    for (const port of [0x3f9, 0x3fb, 0x3fc, 0x71, 0x64, 0x602]) bus.write(port, 1, 0x05);
    bus.write(0xcf8, 4, 0x8000_0000);
    driver.status = 0;
    resetPlatform(machine.buffer, machine.layout);
    state.config[0] = 0;
    const bytes = (m: typeof machine, from: number, to: number): number[] => [
      ...new Uint8Array(m.buffer, from, to - from),
    ];
    const { chipset, pci, virtio, end } = machine.layout;
    expect(bytes(machine, chipset.rtc, chipset.serial.output)).toEqual(
      bytes(fresh, chipset.rtc, chipset.serial.output),
    );
    expect(bytes(machine, pci!.functions[0]!, pci!.end)).toEqual(bytes(fresh, pci!.functions[0]!, pci!.end));
    expect(bytes(machine, virtio[0]!.queues[0]!, end)).toEqual(bytes(fresh, virtio[0]!.queues[0]!, end));
    expect(new MockDriver(machine).barAddress()).toBe(new MockDriver(fresh).barAddress());
  });

  test('is refused while a data path runs', () => {
    const machine = makeMachine();
    new MockDriver(machine).start();
    expect(() => resetPlatform(machine.buffer, machine.layout)).toThrow(/data path/);
  });
});

test('hostile guests: any access anywhere never throws, stays in its state, and the machine still works', () => {
  const size = fc.constantFrom<AccessSize>(1, 2, 4);
  const value = fc.oneof(
    fc.nat(0xffff_ffff),
    fc.nat(0xff),
    fc.constantFrom(0, 0xffff_ffff, 0xfee0_0000, 0x8000, 0xc000),
  );
  const port = fc.oneof(
    fc.nat(0xffff),
    fc.constantFrom(
      ...Object.values(ports).flatMap((range) => Array.from({ length: range.size }, (_, i) => range.base + i)),
    ),
  );
  const address = fc.oneof(
    fc.nat(2 ** 20).map((n) => ecam.start + n),
    fc.tuple(fc.nat(3), fc.nat(0x10f)).map(([slot, at]) => ecam.start + slot * 0x8000 + at),
    fc
      .tuple(fc.nat(1), fc.nat(0x3f), fc.nat(5))
      .map(([device, at, page]) => bar32Window.start + device * 0x8000 + page * 0x1000 + at),
    fc.nat(0x8000).map((n) => bar32Window.start + n),
    fc.maxSafeNat(),
  );
  const action = fc.oneof(
    fc.record({ kind: fc.constantFrom('in', 'out'), at: port, size, value, cpu: fc.nat(1) }),
    fc.record({ kind: fc.constantFrom('load', 'store', 'store', 'store'), at: address, size, value, cpu: fc.nat(1) }),
    // What a driver would do, in any order: status and queue registers at their own width.
    fc.record({
      kind: fc.constant('store'),
      at: fc.constant(bar32Window.start + 0x14),
      size: fc.constant<AccessSize>(1),
      value: fc.constantFrom(0, 1, 3, 11, 15),
      cpu: fc.nat(1),
    }),
    fc.record({
      kind: fc.constant('store'),
      at: fc.nat(9).map((n) => bar32Window.start + 0x16 + 2 * (n % 4)),
      size: fc.constant<AccessSize>(2),
      value: fc.nat(3),
      cpu: fc.nat(1),
    }),
    fc.record({
      kind: fc.constant('store'),
      at: fc.nat(5).map((n) => bar32Window.start + 0x20 + 4 * n),
      size: fc.constant<AccessSize>(4),
      value: fc.nat(0x3000).map((n) => n * 16),
      cpu: fc.nat(1),
    }),
    fc.record({ kind: fc.constantFrom('tasks', 'data path', 'raise'), at: fc.nat(1), size, value, cpu: fc.nat(1) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const machine = makeMachine([
        shape(),
        shape({ name: 'test1', queueSizes: [16], configSize: 0, writableConfig: [] }),
      ]);
      const vcpus = [machine.vcpu(), machine.vcpu()];
      for (const { kind, at, size: width, value: what, cpu } of actions) {
        const { ports: bus, mmio } = vcpus[cpu]!;
        if (kind === 'in' || kind === 'load') {
          const got = kind === 'in' ? bus.read(at, width) : mmio.read(at, width);
          expect(got >= 0 && got < 2 ** (8 * width)).toBe(true);
        } else if (kind === 'out') bus.write(at, width, what);
        else if (kind === 'store') mmio.write(at, width, what);
        else if (kind === 'tasks') machine.wires.runTasks();
        else if (kind === 'data path') machine.dataPath(at);
        else if (what % 2 === 0) raiseQueue(machine.targets[at]!, 0);
        else raiseConfig(machine.targets[at]!);
        for (const { state } of machine.targets) {
          const life = state.device.lifecycle[0];
          if (life !== Lifecycle.activating && life !== Lifecycle.active) continue;
          // Whatever is served was validated: inside RAM, aligned, a size that the device has.
          state.queues.forEach((queue, i) => {
            if (queue.frozenSize === 0) return;
            expect(queue.frozenSize).toBeLessThanOrEqual(state.shape.queueSizes[i]!);
            expect(queue.frozenDescHigh * 2 ** 32 + queue.frozenDescLow + 16 * queue.frozenSize).toBeLessThanOrEqual(
              256 * MIB,
            );
            expect(queue.frozenDescLow % 16).toBe(0);
          });
        }
      }
      machine.checkGuards();
      // The other device is as good as new once it is reset.
      machine.dataPath(0);
      const driver = new MockDriver(machine);
      driver.moveBar(11 * GIB);
      driver.setConfig(4, 2, 0);
      driver.setConfig(4, 2, 6);
      const again = new MockDriver(machine);
      again.status = 0;
      machine.dataPath(0);
      again.start();
      expect(again.status).toBe(15);
    }),
    { numRuns: 150 },
  );
});
