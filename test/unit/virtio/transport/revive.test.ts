/** Machine state that goes on in another machine: what a driver sees there, and what the kernel is told of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import { keepTimer, stampChipset } from '../../../../src/devices/chipset.js';
import { ecam, gsi, ports, type Transport, virtioMmioPlace } from '../../../../src/devices/memory-map.js';
import { bindSerial } from '../../../../src/devices/serial-registers.js';
import { raiseConfig, raiseQueue } from '../../../../src/virtio/interrupt.js';
import { Lifecycle } from '../../../../src/virtio/registers.js';
import { reviveDevices, reviveLines } from '../../../../src/virtio/transport/platform-layout.js';
import { msiRoutes } from '../../../../src/virtio/transport/routes.js';
import { effort } from '../../../support/effort.js';
import { MmioDriver } from './mmio-driver.js';
import { shape } from './mock-device.js';
import { type Machine, MockDriver, makeMachine } from './mock-driver.js';

const devices = [shape(), shape({ name: 'test1', deviceType: 4, queueSizes: [16], configSize: 0, writableConfig: [] })];
const second = 1e9;

/** Of a host: its monotonic clock is its own, the wall's is everybody's. */
class HostTime {
  static wallMs = 1_700_000_000_000;
  ns: number;
  constructor(ns: number) {
    this.ns = ns;
  }
  readonly now = (): number => HostTime.wallMs;
  readonly monotonicNs = (): number => this.ns;
}

interface Life extends Machine {
  readonly time: HostTime;
}
const live = (transport: Transport, uptimeNs: number): Life => {
  const time = new HostTime(uptimeNs);
  return { ...makeMachine(devices, { transport }, time), time };
};

/** As a machine is saved and goes on: `captureMachine`, `Hardware`, then the first vCPU. */
function goOn(from: Life, elapsedNs = 0): Life {
  const { layout } = from;
  const saved = from.buffer.slice(0);
  stampChipset(saved, layout.chipset, from.time.ns);
  const to = live(layout.shape.transport, 5 * second);
  new Uint8Array(to.buffer).set(new Uint8Array(saved, 64, layout.end - 64), 64);
  to.wires.lines.clear();
  to.wires.lineCalls.length = 0;
  reviveDevices(to.buffer, layout);
  reviveLines(to.buffer, layout, to.targets, to.wires.setLine, { ns: to.time.ns, elapsedNs });
  for (const { run } of to.vcpu().doorbells) run();
  to.checkGuards();
  return to;
}

const slots = [0, 1, 2];
const configAddress = (slot: number, offset: number): number => ecam.start + slot * 0x8000 + offset;
const bar = (device: number): number => 0xe100_0000 + device * 0x10_0000;

/** Everything that a driver can read, in an order that is the same for both; some of it changes by being read. */
function look(machine: Life): number[] {
  const { ports: io, mmio } = machine.vcpu();
  const seen: number[] = [];
  for (const { base, size } of Object.values(ports))
    for (let port = base; port < base + size; port++) if (port !== ports.debugExit.base) seen.push(io.read(port, 1));
  for (let index = 0; index < 128; index++) {
    io.write(ports.rtc.base, 1, index);
    seen.push(io.read(ports.rtc.base + 1, 1));
  }
  for (let i = 0; i < 20; i++) seen.push(io.read(ports.serial.base, 1), io.read(ports.serial.base + 5, 1));
  if (machine.layout.pci === undefined) {
    for (const device of devices.keys()) {
      const { start } = virtioMmioPlace(device).region;
      const driver = new MmioDriver(machine, device);
      for (let queue = 0; queue < 3; queue++) {
        driver.set(0x30, queue);
        for (let at = 0; at < 0x120; at += 4) seen.push(mmio.read(start + at, 4));
      }
    }
    return seen;
  }
  for (const slot of slots) for (let at = 0; at < 256; at += 4) seen.push(mmio.read(configAddress(slot, at), 4));
  for (const slot of slots.slice(1)) {
    const driver = new MockDriver(machine, slot);
    for (let queue = 0; queue < 3; queue++) {
      driver.setCommon(0x16, 2, queue);
      for (let at = 0; at < 0x3c; at++) seen.push(driver.common(at, 1));
      for (let at = 0; at < 0x3c; at += 2) seen.push(driver.common(at, 2));
    }
    for (const { address, length } of driver.structures.values())
      for (let at = 0; at + 4 <= Math.min(length, 64); at += 4) seen.push(mmio.read(address + at, 4));
    const table = driver.barAddress() + (driver.config(driver.msix + 4, 4) & ~7);
    const pending = driver.barAddress() + (driver.config(driver.msix + 8, 4) & ~7);
    for (let at = 0; at < 64; at += 4) seen.push(mmio.read(table + at, 4));
    seen.push(mmio.read(pending, 4));
  }
  return seen;
}

type Step = (machine: Life) => void;

const size = fc.constantFrom<AccessSize>(1, 2, 4);
const value = fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.constantFrom(0, 1, 3, 7, 0xb, 0xf, 0x80, 0xff));
const device = fc.constantFrom(0, 1);
const pick = (count: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: count - 1 });

const portWrite = fc
  .tuple(fc.constantFrom(...Object.values(ports).filter((port) => port !== ports.debugExit)), pick(8), size, value)
  .map(
    ([port, offset, size, value]): Step =>
      ({ vcpu }) => {
        vcpu().ports.write(port.base + (offset % port.size), size, value);
      },
  );
const portRead = fc.tuple(fc.constantFrom(...Object.values(ports)), pick(8), size).map(
  ([port, offset, size]): Step =>
    ({ vcpu }) =>
      void vcpu().ports.read(port.base + (offset % port.size), size),
);
const rtcWrite = fc.tuple(pick(128), pick(256)).map(
  ([index, value]): Step =>
    ({ vcpu }) => {
      const { ports: io } = vcpu();
      io.write(ports.rtc.base, 1, index);
      io.write(ports.rtc.base + 1, 1, value);
    },
);
const interrupt = fc.tuple(device, pick(4)).map(
  ([device, what]): Step =>
    ({ targets, wires, vcpu }) => {
      void vcpu;
      const target = targets[device]!;
      if (Atomics.load(target.state.device.lifecycle, 0) !== Lifecycle.active) return;
      if (what === 3) raiseConfig(target);
      else raiseQueue(target, what % target.state.queues.length);
      wires.runTasks();
    },
);
const outside = fc.tuple(pick(4), device, pick(256)).map(
  ([what, device, byte]): Step =>
    ({ host, dataPath, wires }) => {
      if (what === 0) host.pressPowerButton();
      else if (what === 1) {
        host.serial.writeInput(Uint8Array.of(byte));
        host.serial.settle();
      } else if (what === 2) dataPath(device);
      else wires.runTasks();
    },
);
const drive = fc.tuple(device, pick(4)).map(
  ([device, what]): Step =>
    (machine) => {
      const mmio = machine.layout.pci === undefined;
      const driver = mmio ? new MmioDriver(machine, device) : new MockDriver(machine, device + 1);
      if (driver instanceof MockDriver && (driver.config(4, 2) & 2) === 0) driver.setConfig(4, 2, 6);
      if (what === 0) driver.status = 0;
      else {
        driver.begin();
        driver.queue(0, 0x10_0000, 0x10_2000, 0x10_3000, 16);
        driver.status = 15;
        if (what > 1) machine.dataPath(device);
      }
      machine.wires.runTasks();
    },
);
const pciWrite = fc
  .tuple(fc.constantFrom(...slots), fc.oneof(pick(256), fc.constantFrom(4, 0x3c)), size, value)
  .filter(([, offset]) => offset < 0x10 || offset >= 0x28)
  .map(
    ([slot, offset, size, value]): Step =>
      ({ vcpu, layout }) => {
        if (layout.pci !== undefined) vcpu().mmio.write(configAddress(slot, offset - (offset % size)), size, value);
      },
  );
const move = fc.tuple(device, pick(3)).map(
  ([device, where]): Step =>
    (machine) => {
      if (machine.layout.pci === undefined) return;
      new MockDriver(machine, device + 1).moveBar(bar(device) + where * 0x40_0000);
      machine.wires.runTasks();
    },
);
const virtioWrite = fc.tuple(device, pick(0x40), size, value).map(
  ([device, at, size, value]): Step =>
    (machine) => {
      const { mmio } = machine.vcpu();
      if (machine.layout.pci === undefined) mmio.write(virtioMmioPlace(device).region.start + 4 * at, 4, value);
      else mmio.write(new MockDriver(machine, device + 1).structures.get(1)!.address + (at - (at % size)), size, value);
      machine.wires.runTasks();
    },
);
const vectorWrite = fc.tuple(device, pick(3), pick(4), fc.oneof(value, fc.constantFrom(0xfee0_0000, 0xfee0_1000))).map(
  ([device, vector, word, value]): Step =>
    (machine) => {
      if (machine.layout.pci === undefined) return;
      const driver = new MockDriver(machine, device + 1);
      driver.setConfig(driver.msix + 2, 2, 0x8000);
      const table = driver.barAddress() + (driver.config(driver.msix + 4, 4) & ~7);
      driver.mmio.write(table + 16 * vector + 4 * word, 4, value);
      machine.wires.runTasks();
    },
);

const steps = fc.array(
  fc.oneof(
    portWrite,
    portRead,
    rtcWrite,
    interrupt,
    outside,
    { arbitrary: drive, weight: 3 },
    pciWrite,
    move,
    virtioWrite,
    vectorWrite,
  ),
  { maxLength: 40 },
);

describe.each(['pci', 'mmio'] as const)('a machine with virtio-%s', (transport) => {
  test('is the same to its drivers, its lines are as they were, and the kernel has its doorbells and routes', () => {
    fc.assert(
      fc.property(steps, (some) => {
        const from = live(transport, 1000 * second);
        for (const step of some) step(from);
        from.wires.runTasks();
        const levels = new Map(from.wires.lines);
        const to = goOn(from);
        for (const [line, level] of levels) expect([line, to.wires.line(line)]).toEqual([line, level]);
        for (const line of to.wires.lines.keys())
          expect([line, levels.get(line) ?? 0]).toEqual([line, to.wires.line(line)]);
        expect(msiRoutes(to.targets)).toEqual(msiRoutes(from.targets));
        for (const machine of [from, to])
          for (const slot of transport === 'pci' ? [1, 2] : []) {
            // What was left where it is because nothing is decoded is brought there by the next look.
            const { mmio } = machine.vcpu();
            mmio.write(configAddress(slot, 4), 2, mmio.read(configAddress(slot, 4), 2) | 2);
            machine.wires.runTasks();
          }
        expect(to.vm.doorbells).toEqual(from.vm.doorbells);
        expect(to.vm.matched).toEqual(from.vm.matched);
        bindSerial(from.buffer, from.layout.chipset.serial).input.clear(); // that is nobody else's
        expect(look(to)).toEqual(look(from));
      }),
      { numRuns: effort(150) },
    );
  });

  test('that had a data path has one to be begun; one in the middle of a reset still is', () => {
    for (const [was, is] of [
      [Lifecycle.inactive, Lifecycle.inactive],
      [Lifecycle.activating, Lifecycle.activating],
      [Lifecycle.active, Lifecycle.activating],
      [Lifecycle.resetting, Lifecycle.resetting],
    ] as const) {
      const from = live(transport, 0);
      Atomics.store(from.targets[1]!.state.device.lifecycle, 0, was);
      const to = goOn(from);
      expect(Atomics.load(to.targets[1]!.state.device.lifecycle, 0)).toBe(is);
      expect(Atomics.load(to.targets[0]!.state.device.lifecycle, 0)).toBe(Lifecycle.inactive);
    }
  });

  test('goes on, and what is saved of that again goes on', () => {
    const first = live(transport, 1000 * second);
    const driver = transport === 'pci' ? new MockDriver(first) : new MmioDriver(first);
    driver.start();
    first.dataPath();
    first.wires.runTasks();
    let last = first;
    for (let i = 0; i < 3; i++) {
      last = goOn(last);
      last.dataPath();
      expect(last.vm.doorbells).toEqual(first.vm.doorbells);
      expect(last.vm.matched).toEqual(first.vm.matched);
    }
    expect(first.vm.doorbells.size + first.vm.matched.size).toBe(2);
    expect(look(last)).toEqual(look(first));
  });
});

test('lines that were on are on: those of the keyboard, the clock, the serial port, power management and a device', () => {
  const from = live('pci', 1000 * second);
  const { ports: io } = from.vcpu();
  io.write(ports.i8042Command.base, 1, 0x60);
  io.write(ports.i8042Data.base, 1, 1);
  io.write(ports.i8042Command.base, 1, 0xaa);
  io.write(ports.i8042Command.base, 1, 0x60);
  io.write(ports.i8042Data.base, 1, 1);
  io.write(ports.serial.base + 1, 1, 2);
  io.write(ports.pm1Event.base + 2, 2, 0x100);
  from.host.pressPowerButton();
  io.write(ports.rtc.base, 1, 0xb);
  io.write(ports.rtc.base + 1, 1, 0x12);
  from.host.rtc.service();
  HostTime.wallMs += 2000;
  from.host.rtc.service();
  const driver = new MockDriver(from);
  driver.start();
  from.dataPath();
  raiseQueue(from.targets[0]!, 0);
  const on = [...from.wires.lines].filter(([, level]) => level === 1).map(([line]) => line);
  expect(on).toEqual(expect.arrayContaining([1, gsi.serial, gsi.rtc, gsi.sci]));
  expect(on).toHaveLength(5);
  const to = goOn(from);
  expect(
    [...to.wires.lines]
      .filter(([, level]) => level === 1)
      .map(([line]) => line)
      .sort(),
  ).toEqual(on.sort());
});

test('the timer of power management goes on: from where it was, or later by what has passed', () => {
  const ticks = fc.integer({ min: 0, max: 2 ** 45 });
  fc.assert(
    fc.property(ticks, ticks, (uptime, elapsed) => {
      const from = live('pci', uptime);
      const shows = ({ vcpu }: Life): number => vcpu().ports.read(ports.pmTimer.base, 4);
      const then = shows(from);
      expect(shows(goOn(from))).toBe(then);
      const now = shows(goOn(from, elapsed));
      from.time.ns += elapsed;
      expect((now - shows(from) + 1 + 2 ** 24) % 2 ** 24).toBeLessThanOrEqual(2);
    }),
    { numRuns: 50 },
  );
});

test('a driver that waits for an interrupt of the clock has somebody to bring it', () => {
  const from = live('pci', 1000 * second);
  const { ports: io } = from.vcpu();
  io.write(ports.rtc.base, 1, 0xb);
  io.write(ports.rtc.base + 1, 1, 0x12); // update ended, every second
  expect(from.host.rtc.unsettled).toBe(true);
  expect(from.host.rtc.service()).toBeLessThanOrEqual(1000);
  expect(from.host.rtc.unsettled).toBe(false);
  const to = goOn(from);
  expect(to.host.rtc.unsettled).toBe(true);
  HostTime.wallMs += 1000;
  to.host.rtc.service();
  expect(to.wires.line(gsi.rtc)).toBe(1);
});

test('the timer of power management of a machine that stood still and is not to know goes on from where it was', () => {
  const machine = live('pci', 1000 * second);
  const shows = (): number => machine.vcpu().ports.read(ports.pmTimer.base, 4);
  const then = shows();
  const { ns } = machine.time;
  machine.time.ns += 77 * second;
  expect(shows()).not.toBe(then);
  keepTimer(machine.buffer, machine.layout.chipset, ns, machine.time.ns);
  expect(shows()).toBe(then);
});
