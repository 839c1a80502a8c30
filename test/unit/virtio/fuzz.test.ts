/**
 * The bus with every register map behind it, over both transports, and the rings, fed with accesses that coverage chose:
 * whatever a guest does, nothing throws, state stays in its bounds, and what is served was validated (T1-T12, T18-T23).
 */
import { expect, test } from 'vitest';
import type { AccessSize } from '../../../src/bus/bus.js';
import { bar32Window, ecam, ports } from '../../../src/devices/memory-map.js';
import { raiseConfig, raiseQueue } from '../../../src/virtio/interrupt.js';
import { Pop, SplitQueue } from '../../../src/virtio/queue/split-queue.js';
import { Lifecycle } from '../../../src/virtio/registers.js';
import { fuzzLoop } from '../../support/coverage-fuzz.js';
import { MockDriver as RingDriver } from '../support/mock-driver.js';
import { fakeRam } from '../support/test-ram.js';
import { MmioDriver, makeMmioMachine } from './transport/mmio-driver.js';
import { shape } from './transport/mock-device.js';
import { type Machine, MIB, makeMachine } from './transport/mock-driver.js';

/** One step of a guest: what, by which vCPU and how wide, at which place of which range, with which value. */
const stepSize = 8;
const maxSteps = 200;
const Do = { in: 0, out: 1, load: 2, store: 3, tasks: 4, dataPath: 5, raise: 6, raiseConfig: 7 } as const;
const widths: readonly AccessSize[] = [1, 2, 4, 4];

const devices = () => [shape(), shape({ name: 'test1', queueSizes: [16], configSize: 0, writableConfig: [] })];
const portRanges = Object.values(ports);

/** `range` and `at` choose a place; the first byte's upper bits the vCPU and the width. */
const step = (what: number, width: number, range: number, at: number, value = 0): number[] => {
  const bytes = Buffer.alloc(stepSize);
  bytes.writeUInt8(what | (width << 4), 0);
  bytes.writeUInt8(range, 1);
  bytes.writeUInt16LE(at, 2);
  bytes.writeUInt32LE(value, 4);
  return [...bytes];
};

/** Whatever is served was validated: inside RAM, aligned, a size that the device has. */
function check(machine: Machine): void {
  for (const { state } of machine.targets) {
    const life = state.device.lifecycle[0];
    if (life !== Lifecycle.activating && life !== Lifecycle.active) continue;
    state.queues.forEach((queue, i) => {
      if (queue.frozenSize === 0) return;
      const table = queue.frozenDescHigh * 2 ** 32 + queue.frozenDescLow;
      expect(queue.frozenSize).toBeLessThanOrEqual(state.shape.queueSizes[i]!);
      expect(table + 16 * queue.frozenSize).toBeLessThanOrEqual(256 * MIB);
      expect(table % 16).toBe(0);
    });
  }
}

/** Does what all machines have in common, or answers false. */
function doOutside(machine: Machine, what: number, device: number): boolean {
  if (what === Do.tasks) machine.wires.runTasks();
  else if (what === Do.dataPath) machine.dataPath(device);
  else if (what === Do.raise) raiseQueue(machine.targets[device]!, 0);
  else if (what === Do.raiseConfig) raiseConfig(machine.targets[device]!);
  else return false;
  return true;
}

function* stepsOf(input: Buffer) {
  for (let at = 0; at + stepSize <= Math.min(input.length, maxSteps * stepSize); at += stepSize) {
    const head = input[at]!;
    yield {
      what: head & 7,
      cpu: (head >> 3) & 1,
      width: widths[(head >> 4) & 3]!,
      range: input[at + 1]!,
      at: input.readUInt16LE(at + 2),
      value: input.readUInt32LE(at + 4),
    };
  }
}

const inRange = (value: number, width: number): void => expect(value >= 0 && value < 2 ** (8 * width)).toBe(true);

/** A driver that comes up: memory on, status, one queue. Widths are 1, 2 and 4 bytes by their index. */
function comesUp(base: number): Buffer {
  const steps = [step(Do.store, 1, 0, base + 4, 6)];
  for (const status of [0, 1, 3]) steps.push(step(Do.store, 0, 2, 0x14, status));
  steps.push(step(Do.store, 2, 2, 8, 1), step(Do.store, 2, 2, 12, 1), step(Do.store, 0, 2, 0x14, 11));
  steps.push(step(Do.store, 1, 2, 0x16, 0), step(Do.store, 1, 2, 0x18, 16), step(Do.store, 1, 2, 0x1a, 0));
  for (const [at, address] of [
    [0x20, 0x1_0000],
    [0x28, 0x1_2000],
    [0x30, 0x1_3000],
  ] as const)
    steps.push(step(Do.store, 2, 2, at, address), step(Do.store, 2, 2, at + 4));
  steps.push(step(Do.store, 1, 2, 0x1c, 1), step(Do.store, 0, 2, 0x14, 15), step(Do.dataPath, 0, 0, 0));
  steps.push(
    step(Do.raise, 0, 0, 0),
    step(Do.store, 0, 2, 0x14, 0),
    step(Do.dataPath, 0, 0, 0),
    step(Do.tasks, 0, 0, 0),
  );
  return Buffer.from(steps.flat());
}

test('ports, PCI configuration and BARs', { timeout: 600_000 }, async () => {
  const seeds = [
    comesUp(0x8000),
    Buffer.from(
      portRanges.flatMap(({ size }, range) =>
        Array.from({ length: Math.min(size, 16) }, (_, at) => [
          ...step(Do.out, 0, range, at, at * 17),
          ...step(Do.in, 0, range, at),
        ]).flat(),
      ),
    ),
  ];
  const report = await fuzzLoop({
    name: 'bus-pci',
    seeds,
    runs: 1500,
    target(input) {
      const machine = makeMachine(devices());
      const vcpus = [machine.vcpu(), machine.vcpu()];
      for (const { what, cpu, width, range, at, value } of stepsOf(input)) {
        const { ports: bus, mmio } = vcpus[cpu]!;
        const ours = portRanges[range % portRanges.length]!;
        const port = range < 128 ? ours.base + (at % ours.size) : at;
        const address =
          [ecam.start, ecam.start + at * 16, bar32Window.start, bar32Window.start + 0x8000][range % 4]! + at;
        if (doOutside(machine, what, at % 2)) continue;
        if (what === Do.in) inRange(bus.read(port, width), width);
        else if (what === Do.out) bus.write(port, width, value);
        else if (what === Do.load) inRange(mmio.read(address, width), width);
        else mmio.write(address, width, value);
        check(machine);
      }
      machine.checkGuards();
    },
  });
  expect(report.kept).toBeGreaterThan(seeds.length);
});

test('registers of virtio-mmio', { timeout: 600_000 }, async () => {
  const words = [
    [0x70, 0],
    [0x70, 1],
    [0x70, 3],
    [0x24, 1],
    [0x20, 1],
    [0x70, 11],
    [0x30, 0],
    [0x38, 16],
    [0x80, 0x1_0000],
    [0x90, 0x1_2000],
    [0xa0, 0x1_3000],
    [0x44, 1],
    [0x70, 15],
  ] as const;
  const seeds = [
    Buffer.from([
      ...words.flatMap(([at, value]) => step(Do.store, 2, 0, at, value)),
      ...step(Do.dataPath, 0, 0, 0),
      ...step(Do.raise, 0, 0, 0),
      ...step(Do.load, 2, 0, 0x60),
      ...step(Do.store, 2, 0, 0x64, 3),
      ...step(Do.store, 2, 0, 0x70, 0),
      ...step(Do.dataPath, 0, 0, 0),
    ]),
  ];
  const report = await fuzzLoop({
    name: 'bus-mmio',
    seeds,
    runs: 1500,
    target(input) {
      const machine = makeMmioMachine(devices());
      const vcpus = [machine.vcpu(), machine.vcpu()];
      const drivers = vcpus.map((vcpu) => [0, 1].map((device) => new MmioDriver(machine, device, vcpu)));
      for (const { what, cpu, width, range, at, value } of stepsOf(input)) {
        if (doOutside(machine, what, at % 2)) continue;
        const driver = drivers[cpu]![range % 2]!;
        if (what === Do.load || what === Do.in) inRange(driver.get(at % 0x1000, width), width);
        else if (what === Do.store) driver.set(at % 0x200, value, width);
        else driver.set(at & 0x1fc, value);
        check(machine);
      }
      machine.checkGuards();
    },
  });
  expect(report.kept).toBeGreaterThan(seeds.length);
});

test('rings and descriptors', { timeout: 600_000 }, async () => {
  const ramSize = 0x4_0000;
  const junkSize = 0x800;
  const maxChain = 16;
  const descriptor = (address: number, length: number, flags: number, next: number): number[] => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32LE(address, 0);
    bytes.writeUInt32LE(length, 8);
    bytes.writeUInt16LE(flags, 12);
    bytes.writeUInt16LE(next, 14);
    return [...bytes];
  };
  /** How many chains are offered, whether with the event index, then what lies from the descriptor table on. */
  const seed = (offered: number, table: number[][]): Buffer => {
    const bytes = Buffer.alloc(2 + junkSize);
    bytes.writeUInt8(offered, 0);
    bytes.set(table.flat(), 2);
    return bytes;
  };
  const seeds = [
    seed(1, [descriptor(0x8000, 16, 1, 1), descriptor(0x9000, 512, 3, 2), descriptor(0xa000, 1, 2, 0)]),
    seed(1, [descriptor(0x8000, 32, 4, 0)]), // indirect, to zeroes
    seed(2, [descriptor(0x1000, 64, 4, 0), descriptor(0x8000, 16, 1, 1), descriptor(0x9000, 1, 2, 0)]),
  ];
  const report = await fuzzLoop({
    name: 'rings',
    seeds,
    runs: 3000,
    target(input) {
      if (input.length < 2) return;
      const ram = fakeRam(ramSize);
      const eventIndex = (input[1]! & 1) === 1;
      const driver = new RingDriver(ram, { eventIndex });
      ram.bytes.set(input.subarray(2, 2 + junkSize), driver.table);
      new DataView(ram.bytes.buffer).setUint16(driver.avail + 2, input[0]! % 20, true);
      const queue = SplitQueue.open(driver.registers, ram.memory, { indirect: true, eventIndex, maxChain });
      if (typeof queue === 'string') throw new Error(queue);
      for (let pops = 0; pops < 20 && queue.pop() === Pop.chain; pops++) {
        const { chain } = queue;
        expect(chain.count).toBeLessThanOrEqual(maxChain);
        for (let i = 0; i < chain.count; i++) expect(chain.guest[i]! + chain.length[i]!).toBeLessThanOrEqual(ramSize);
        queue.push(chain.head, 0);
        queue.publish();
      }
      queue.armDoorbell();
      expect(queue.inFlight).toBe(0);
      ram.close();
    },
  });
  expect(report.kept).toBeGreaterThan(seeds.length);
});
