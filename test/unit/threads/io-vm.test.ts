import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { OpenDisk } from '../../../src/disk/disk-map.js';
import { native } from '../../../src/host/addon.js';
import type { IoEngine } from '../../../src/host/engine.js';
import { type IoReport, readCounters } from '../../../src/threads/io-protocol.js';
import { IoVm } from '../../../src/threads/io-vm.js';
import { BlkDevice } from '../../../src/virtio/blk/blk.js';
import { BlkFeature, blkConfig, blkShape } from '../../../src/virtio/blk/blk-format.js';
import { consoleShape } from '../../../src/virtio/console/console-format.js';
import { ConsoleHost } from '../../../src/virtio/console/console-host.js';
import { layoutConsole } from '../../../src/virtio/console/console-state.js';
import { Lifecycle } from '../../../src/virtio/registers.js';
import { rngShape } from '../../../src/virtio/rng/rng.js';
import { bytesPerOperation } from '../support/allocation.js';
import { engineKinds, ioUringMissing, type TestEngine, testEngine } from '../support/engines.js';
import { type BenchDevice, MachineBench } from '../support/machine-bench.js';
import { readable, writable } from '../support/mock-driver.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-io-vm-'));
afterAll(() => rmSync(directory, { recursive: true }));
if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

const RNG = 0;
const BLK = 1;
const CONSOLE = 2;
const diskSize = 1 << 20;

function header(type: number, at: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(at, 8);
  return bytes;
}
const readRequest = (at: number) => [readable(header(0, at)), writable(512), writable(1)];

describe.each(engineKinds)('on %s', (kind) => {
  const maybe = test.skipIf(kind === 'io_uring' && ioUringMissing !== undefined);
  let held: TestEngine;
  let engine: IoEngine;
  beforeAll(async () => {
    if (kind === 'io_uring' && ioUringMissing) return;
    held = await testEngine(kind);
    engine = held.engine;
  });
  afterAll(() => held?.close());

  const cleanups: (() => void)[] = [];
  afterEach(() => {
    for (const cleanup of cleanups.splice(0).reverse()) cleanup();
  });

  const content = randomBytes(diskSize);
  const path = join(directory, kind);
  const disk = (): OpenDisk => {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
    writeSync(fd, content, 0, diskSize, 0);
    cleanups.push(() => closeSync(fd));
    return { kind: 'file', fd, size: diskSize, readOnly: false };
  };

  /** A machine with an rng, a disk and a console, attached. */
  function setUp() {
    const layout = layoutConsole(MachineBench.extraBase);
    const open = disk();
    const options = { name: 'blk0', size: diskSize, readOnly: false };
    const devices: BenchDevice[] = [
      { shape: rngShape('rng0'), spec: { kind: 'rng' } },
      { shape: blkShape(options), spec: { kind: 'blk', disk: open, id: 'disk' }, config: blkConfig(options) },
      { shape: consoleShape('console'), spec: { kind: 'console', layout } },
    ];
    const machine = new MachineBench('test', devices, layout.end - MachineBench.extraBase);
    const reports: IoReport[] = [];
    const alarms: number[] = [];
    const vm = new IoVm(
      7,
      machine.attachment,
      engine,
      (report) => reports.push(report),
      (micros) => void alarms.push(micros),
    );
    cleanups.push(() => {
      vm.detach();
      turn(() => vm.isDetached);
      machine.close();
    });
    /** Batches until `done`; the engine never sleeps here. */
    const turn = (done: () => boolean) => {
      const deadline = performance.now() + 30_000; // a helper thread has to start first, on a host that may be busy
      while (!done()) {
        if (performance.now() > deadline) throw new Error('it does not happen');
        vm.work();
        engine.turn(false);
      }
    };
    /** Batches until nothing happens any more. */
    const settle = () => {
      for (let quiet = 0; quiet < 3; quiet = engine.turn(false) > 0 || vm.hasWork ? 0 : quiet + 1) vm.work();
    };
    const host = new ConsoleHost(machine.attachment.state, layout, () => machine.wakeDataPath());
    return { machine, vm, reports, alarms, turn, settle, host };
  }

  const types = (reports: IoReport[]) => reports.map(({ type }) => type);

  maybe('a driver that comes up is served, from what it had queued before', () => {
    const { machine, turn } = setUp();
    const [driver] = machine.start(RNG);
    const head = driver!.offer([writable(64)]);
    turn(() => machine.lifecycle(RNG) === Lifecycle.active && driver!.usedIndex === 1);
    expect(driver!.collect()).toMatchObject([{ head, length: 64 }]);
    expect(machine.interrupts(RNG)).toBe(1);
    expect(machine.interrupts(RNG, -1)).toBe(0);
  });

  maybe('doorbells bring requests to the disk, interrupts bring them back', () => {
    const { machine, turn } = setUp();
    const [driver] = machine.start(BLK, [BlkFeature.flush]);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    for (let round = 0; round < 20; round++) {
      driver!.wantInterrupt();
      driver!.offer(readRequest(round));
      if (driver!.mustKick()) machine.kick(BLK);
      turn(() => driver!.usedIndex === round + 1);
      expect(machine.interrupts(BLK)).toBe(1); // with the answer, not in a later batch
      const [used] = driver!.collect();
      expect(used!.length).toBe(513);
      expect(
        Buffer.from(driver!.read(used!.buffers[1]!)).equals(content.subarray(round * 512, round * 512 + 512)),
      ).toBe(true);
    }
    driver!.offer([readable(header(1, 9)), readable(Buffer.alloc(512, 3)), writable(1)]);
    machine.kick(BLK);
    turn(() => driver!.usedIndex === 21);
    expect(
      readFileSync(path)
        .subarray(9 * 512, 10 * 512)
        .every((byte) => byte === 3),
    ).toBe(true);
    const { devices, latencies } = readCounters(machine.attachment);
    expect(devices['blk0']).toMatchObject({ reads: 20, writes: 1, bytesRead: 20 * 512, interrupts: 20 });
    expect(devices['blk0']!['doorbells']).toBeGreaterThan(0);
    expect(devices['blk0']!['suppressedInterrupts']).toBe(1); // of the write
    expect(Object.keys(devices)).toEqual(['rng0', 'blk0', 'console']);
    expect(Object.keys(latencies)).toEqual(['blk0']);
    const sums = Object.entries(latencies['blk0']!).map(([kind, counts]) => [kind, counts.reduce((a, b) => a + b)]);
    expect(sums).toEqual([
      ['read', 20],
      ['write', 1],
      ['flush', 0],
      ['clear', 0],
    ]);
  });

  maybe('a driver is asked to ring only before the worker sleeps; until then its queue is looked at', () => {
    const { machine, vm, turn, settle } = setUp();
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    for (let round = 0; round < 20; round++) {
      driver!.offer(readRequest(round));
      turn(() => driver!.usedIndex === round + 1);
      driver!.collect();
    }
    driver!.mustKick(); // what it asked for when the device came up
    driver!.offer(readRequest(0));
    expect(driver!.mustKick()).toBe(false);
    turn(() => driver!.usedIndex === 21);

    settle();
    driver!.offer(readRequest(1));
    expect(vm.armDoorbells()).toBe(true); // it came before it was asked to ring
    expect(vm.hasWork).toBe(true);
    turn(() => driver!.usedIndex === 22);
    settle();
    expect(vm.armDoorbells()).toBe(false);
    driver!.offer(readRequest(2));
    expect(driver!.mustKick()).toBe(true);
    settle();
    expect(driver!.usedIndex).toBe(22); // armed: only the doorbell tells
    machine.kick(BLK);
    turn(() => driver!.usedIndex === 23);
  });

  maybe('a queue that stands still is no work to look for (T39)', () => {
    const { machine, vm, turn, settle } = setUp();
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    settle();
    driver!.publish(0xffff); // no such head
    turn(() => machine.needsReset(BLK));
    settle();
    driver!.publish(0xffff);
    expect([vm.look(), vm.armDoorbells(), vm.hasWork]).toEqual([false, false, false]);

    const [rng] = machine.start(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.active);
    settle();
    Atomics.store(machine.states[RNG]!.device.busMaster, 0, 0);
    rng!.offer([writable(8)]);
    expect([vm.look(), vm.armDoorbells(), vm.hasWork]).toEqual([false, false, false]);
    Atomics.store(machine.states[RNG]!.device.busMaster, 0, 1);
    machine.kick(RNG);
    turn(() => rng!.usedIndex === 1);

    vm.quiesce();
    settle();
    rng!.offer([writable(8)]);
    expect([vm.look(), vm.armDoorbells(), vm.hasWork]).toEqual([false, false, false]);
    vm.resume();
    turn(() => rng!.usedIndex === 2);
  });

  maybe('the console talks with main, whom it wakes once', () => {
    const { machine, turn, settle, host } = setUp();
    const [receive, transmit] = machine.start(CONSOLE);
    receive!.offer([writable(100)]);
    transmit!.offer([readable(Buffer.from('to main'))]);
    transmit!.offer([readable(Buffer.from(', again'))]);
    turn(() => transmit!.usedIndex === 2);
    expect(machine.mainRings()).toBe(1);
    const out = Buffer.alloc(64);
    expect(out.toString('latin1', 0, host.readOutput(out))).toBe('to main, again');
    host.writeInput(Buffer.from('to guest'));
    turn(() => receive!.usedIndex === 1);
    settle();
    const [used] = receive!.collect();
    expect(Buffer.from(receive!.read(used!.buffers[0]!).subarray(0, used!.length)).toString()).toBe('to guest');
  });

  maybe('a reset is confirmed when the kernel has nothing left, and the next driver is served', () => {
    const { machine, turn, settle } = setUp();
    for (let cycle = 0; cycle < 5; cycle++) {
      const [driver] = machine.start(BLK);
      turn(() => machine.lifecycle(BLK) === Lifecycle.active);
      for (let i = 0; i < 20; i++) driver!.offer(readRequest(i));
      machine.kick(BLK);
      machine.reset(BLK);
      Atomics.store(machine.states[BLK]!.device.isr, 0, 1); // told before it had seen the request
      turn(() => machine.lifecycle(BLK) === Lifecycle.inactive);
      expect(Atomics.load(machine.states[BLK]!.device.isr, 0)).toBe(0);
      // From here on the memory is the driver's: nothing may change in it.
      const before = Buffer.from(machine.ram.bytes.subarray(0x1000, 0x4_0000));
      machine.kick(BLK);
      settle();
      expect(Buffer.from(machine.ram.bytes.subarray(0x1000, 0x4_0000)).equals(before)).toBe(true);
    }
  });

  maybe('without bus mastering nothing is answered, and afterwards everything', () => {
    const { machine, vm, turn, settle } = setUp();
    const { busMaster } = machine.states[BLK]!.device;
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    for (let i = 0; i < 20; i++) driver!.offer(readRequest(i));
    const statuses = [...driver!.chains.values()].map((buffers) => buffers[2]!.address);
    for (const address of statuses) machine.ram.bytes[address] = 0xee;
    machine.kick(BLK);
    engine.turn(false); // the doorbell
    vm.work(); // requests begin
    Atomics.store(busMaster, 0, 0);
    settle();
    expect(driver!.usedIndex).toBe(0);
    expect(statuses.every((address) => machine.ram.bytes[address] === 0xee)).toBe(true);
    Atomics.store(busMaster, 0, 1);
    machine.kick(BLK); // as the transport does
    turn(() => driver!.usedIndex === 20);
    expect(statuses.every((address) => machine.ram.bytes[address] === 0)).toBe(true);

    driver!.offer(readRequest(0));
    machine.kick(BLK);
    engine.turn(false);
    vm.work();
    Atomics.store(busMaster, 0, 0);
    settle();
    machine.reset(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.inactive);
  });

  maybe('a pause does not wait for a driver that has turned bus mastering off', () => {
    const { machine, vm, turn, reports } = setUp();
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    driver!.offer(readRequest(0));
    machine.kick(BLK);
    engine.turn(false); // the doorbell
    vm.work(); // the request begins
    Atomics.store(machine.states[BLK]!.device.busMaster, 0, 0);
    vm.quiesce();
    vm.work(); // it is still with the kernel
    turn(() => types(reports).includes('quiesced'));
    expect(reports).toContainEqual({ type: 'quiesced', vm: 7, held: ['blk0'] }); // nobody else could give it that answer
    expect(driver!.usedIndex).toBe(0);
    vm.resume();
    Atomics.store(machine.states[BLK]!.device.busMaster, 0, 1);
    machine.kick(BLK);
    turn(() => driver!.usedIndex === 1);
  });

  maybe('a reset before the data path has seen the driver is confirmed as well', () => {
    const { machine, turn } = setUp();
    machine.start(RNG);
    machine.reset(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.inactive);
    const [driver] = machine.start(RNG);
    driver!.offer([writable(8)]);
    turn(() => driver!.usedIndex === 1);
  });

  maybe('a protocol violation stops the device until its reset, and only that device', () => {
    const { machine, turn, settle, reports } = setUp();
    const [bad] = machine.start(RNG);
    const [good] = machine.start(BLK);
    turn(() => machine.lifecycle(RNG) === Lifecycle.active && machine.lifecycle(BLK) === Lifecycle.active);
    bad!.describe(0, 0xffff_ffff_f000, 64, 2, 0);
    bad!.publish(0);
    machine.kick(RNG);
    turn(() => machine.needsReset(RNG));
    settle();
    expect(machine.interrupts(RNG, -1)).toBe(1);
    expect(reports.filter(({ type }) => type === 'warning')).toEqual([
      {
        type: 'warning',
        vm: 7,
        source: 'guest',
        device: 'rng0',
        message: 'driver: a buffer is not in RAM',
        suppressed: 0,
      },
    ]);
    for (let i = 0; i < 50; i++) machine.kick(RNG);
    settle();
    expect(reports).toHaveLength(1);
    good!.offer(readRequest(0));
    machine.kick(BLK);
    turn(() => good!.usedIndex === 1);
    machine.reset(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.inactive);
    Atomics.store(machine.states[RNG]!.device.needsReset, 0, 0);
    const [again] = machine.start(RNG);
    again!.offer([writable(16)]);
    turn(() => again!.usedIndex === 1);
  });

  maybe('rings that are not in RAM: the device needs a reset at once', () => {
    const { machine, turn, reports } = setUp();
    machine.start(RNG);
    machine.states[RNG]!.queues[0]!.frozenDescHigh = 5;
    turn(() => machine.needsReset(RNG));
    expect(machine.lifecycle(RNG)).toBe(Lifecycle.active);
    expect(reports).toMatchObject([{ message: 'driver: a ring is not in RAM' }]);
    machine.reset(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.inactive);
  });

  maybe('an exception in a device stops that device for good, and nothing else', () => {
    const { machine, turn, settle, reports } = setUp();
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    const real = BlkDevice.prototype.onChain;
    BlkDevice.prototype.onChain = () => {
      throw new Error('a bug');
    };
    try {
      driver!.offer(readRequest(0));
      machine.kick(BLK);
      turn(() => machine.needsReset(BLK));
    } finally {
      BlkDevice.prototype.onChain = real;
    }
    expect(reports).toMatchObject([{ source: 'device', device: 'blk0', message: expect.stringContaining('a bug') }]);
    machine.reset(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.inactive);
    Atomics.store(machine.states[BLK]!.device.needsReset, 0, 0);
    machine.start(BLK);
    turn(() => machine.needsReset(BLK));
    const [rng] = machine.start(RNG);
    rng!.offer([writable(8)]);
    turn(() => rng!.usedIndex === 1);
    settle();
  });

  maybe('without bus mastering nothing is read or written; its return rings the doorbells', () => {
    const { machine, turn, settle } = setUp();
    const [driver] = machine.start(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.active);
    settle();
    Atomics.store(machine.states[RNG]!.device.busMaster, 0, 0);
    driver!.offer([writable(8)]);
    machine.kick(RNG);
    settle();
    expect(driver!.usedIndex).toBe(0);
    Atomics.store(machine.states[RNG]!.device.busMaster, 0, 1);
    machine.kick(RNG);
    turn(() => driver!.usedIndex === 1);
  });

  maybe('a pause takes no chains, finishes what was begun, and is followed by an interrupt for each queue', () => {
    const { machine, vm, turn, settle, reports } = setUp();
    const [driver] = machine.start(BLK);
    const [rng] = machine.start(RNG);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active && machine.lifecycle(RNG) === Lifecycle.active);
    settle();
    for (let i = 0; i < 20; i++) driver!.offer(readRequest(i));
    machine.kick(BLK);
    engine.turn(false);
    vm.work(); // the requests are started
    vm.quiesce();
    turn(() => types(reports).includes('quiesced'));
    expect(driver!.usedIndex).toBe(20);
    machine.interrupts(BLK);
    rng!.offer([writable(8)]);
    machine.kick(RNG);
    driver!.offer(readRequest(1));
    machine.kick(BLK);
    settle();
    expect([driver!.usedIndex, rng!.usedIndex]).toEqual([20, 0]);
    expect(machine.states[BLK]!.queues[0]!.nextUsed).toBe(20);
    vm.resume();
    turn(() => driver!.usedIndex === 21 && rng!.usedIndex === 1);
    settle();
    expect(types(reports).filter((type) => type !== 'warning')).toEqual(['quiesced', 'resumed']);
    expect(machine.interrupts(BLK)).toBeGreaterThan(0);
    expect(machine.interrupts(RNG)).toBeGreaterThan(0);
  });

  maybe('a paused device finishes what it has and takes no more; with another disk it goes on', () => {
    const { machine, vm, turn, settle, reports } = setUp();
    const [driver] = machine.start(BLK, [BlkFeature.flush]);
    const [rng] = machine.start(RNG);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active && machine.lifecycle(RNG) === Lifecycle.active);
    for (let i = 0; i < 10; i++) driver!.offer(readRequest(i));
    machine.kick(BLK);
    vm.work();
    engine.turn(false);
    vm.pauseDevice(BLK, true);
    turn(() => reports.length > 0);
    expect(reports).toEqual([{ type: 'device-paused', vm: 7, device: BLK }]);
    const done = driver!.usedIndex;
    driver!.offer(readRequest(20));
    machine.kick(BLK);
    rng!.offer([writable(64)]); // the others go on
    machine.kick(RNG);
    turn(() => rng!.usedIndex === 1);
    settle();
    expect(driver!.usedIndex).toBe(done);
    const other = disk() as { fd: number };
    const zeroed = Buffer.alloc(diskSize);
    writeSync(other.fd, zeroed, 0, diskSize, 0);
    vm.resumeDevice(BLK, { disk: other as never });
    turn(() => driver!.usedIndex === 11);
    const used = driver!.collect();
    expect(Buffer.from(driver!.read(used.at(-1)!.buffers[1]!))).toEqual(Buffer.alloc(512));
    expect(reports.at(-1)).toEqual({ type: 'device-resumed', vm: 7, device: BLK, error: undefined });
  });

  maybe('a device that has no medium to exchange says so and goes on; so does one that is not paused', () => {
    const { machine, vm, turn, reports } = setUp();
    const [rng] = machine.start(RNG);
    turn(() => machine.lifecycle(RNG) === Lifecycle.active);
    vm.pauseDevice(RNG, true);
    turn(() => reports.length > 0);
    vm.resumeDevice(RNG, { disk: undefined });
    expect(reports.at(-1)).toMatchObject({
      type: 'device-resumed',
      error: { message: expect.stringMatching(/exchanged/) },
    });
    rng!.offer([writable(64)]);
    machine.kick(RNG);
    turn(() => rng!.usedIndex === 1);
    vm.resumeDevice(BLK, { disk: undefined });
    expect(reports.at(-1)).toMatchObject({
      type: 'device-resumed',
      error: { message: expect.stringMatching(/exchanged/) },
    });
  });

  maybe('a pause waits for a driver that lets nothing be answered, and ends when that is reset', () => {
    const { machine, vm, turn, settle, reports } = setUp();
    const [driver] = machine.start(BLK, [BlkFeature.flush]);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    driver!.offer(readRequest(1));
    machine.kick(BLK);
    vm.work();
    Atomics.store(machine.states[BLK]!.device.busMaster, 0, 0);
    settle();
    vm.pauseDevice(BLK, false);
    settle();
    expect(reports).toEqual([]);
    machine.reset(BLK);
    turn(() => reports.length > 0);
    expect(reports[0]).toEqual({ type: 'device-paused', vm: 7, device: BLK });
    vm.resumeDevice(BLK, undefined);
  });

  maybe('a limit holds requests back until the alarm', () => {
    const { machine, vm, turn, settle, alarms } = setUp();
    const [driver] = machine.start(BLK, [BlkFeature.flush]);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    const opsPerSecond = 1;
    const none = { bytesPerSecond: undefined, bytesBurst: undefined };
    vm.limitDevice(BLK, { ...none, opsPerSecond, opsBurst: 2 });
    for (let i = 0; i < 5; i++) driver!.offer(readRequest(i));
    machine.kick(BLK);
    settle();
    expect(driver!.usedIndex).toBe(2);
    expect(alarms.length).toBeGreaterThan(0);
    vm.onAlarm(); // too soon: it asks again
    settle();
    expect(driver!.usedIndex).toBe(2);
    vm.limitDevice(BLK, undefined);
    turn(() => driver!.usedIndex === 5);
  });

  maybe('after detach nothing refers to the machine: its slots, memory and eventfds', () => {
    const { machine, vm, turn, reports } = setUp();
    const holders = native().memoryHolders(machine.ram.regions[0]!.hostAddress);
    const [driver] = machine.start(BLK);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active);
    for (let i = 0; i < 20; i++) driver!.offer(readRequest(i));
    machine.kick(BLK);
    engine.turn(false);
    vm.work();
    engine.turn(false);
    vm.detach();
    vm.detach();
    turn(() => vm.isDetached);
    expect(types(reports)).toEqual(['detached']);
    expect(machine.lifecycle(BLK)).toBe(Lifecycle.inactive);
    expect(native().memoryHolders(machine.ram.regions[0]!.hostAddress)).toBeGreaterThanOrEqual(holders);
    // The same doorbell can be watched by the next machine.
    const next = new IoVm(
      8,
      machine.attachment,
      engine,
      () => {},
      () => {},
    );
    next.detach();
    turn(() => {
      next.work();
      return next.isDetached;
    });
  });

  maybe('a queue gets 64 chains at a time, then others have their turn', () => {
    const { machine, vm, turn, settle } = setUp();
    const [disk] = machine.start(BLK);
    const [rng] = machine.start(RNG);
    turn(() => machine.lifecycle(BLK) === Lifecycle.active && machine.lifecycle(RNG) === Lifecycle.active);
    settle();
    for (let i = 0; i < 120; i++) disk!.offer([readable(header(99, 0)), writable(1)]);
    machine.kick(BLK);
    engine.turn(false);
    rng!.offer([writable(1)]);
    machine.kick(RNG);
    engine.turn(false);
    vm.work();
    expect([disk!.usedIndex, rng!.usedIndex]).toEqual([64, 1]);
    expect(vm.hasWork).toBe(true);
    vm.work();
    expect(disk!.usedIndex).toBe(120);
    vm.work();
    expect(vm.hasWork).toBe(false);
  });
});

describe.skipIf(ioUringMissing !== undefined)('the whole path of a request', () => {
  test('makes no garbage', { timeout: 60_000 }, async () => {
    const held = await testEngine('io_uring');
    const path = join(directory, 'path');
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
    writeSync(fd, Buffer.alloc(diskSize));
    const options = { name: 'blk0', size: diskSize, readOnly: false };
    const spec = { kind: 'blk', disk: { kind: 'file', fd, size: diskSize, readOnly: false }, id: '' } as const;
    const machine = new MachineBench('path', [{ shape: blkShape(options), spec, config: blkConfig(options) }]);
    const vm = new IoVm(
      1,
      machine.attachment,
      held.engine,
      () => {},
      () => {},
    );
    const [driver] = machine.start(0, [BlkFeature.flush]);
    const head = driver!.offer(readRequest(5));
    const avail = new Uint16Array(machine.ram.bytes.buffer, driver!.avail, 3 + driver!.size);
    const used = new Uint16Array(machine.ram.bytes.buffer, driver!.used, 2);
    const doorbell = machine.descriptors[0]!.doorbells[0]!;
    const vector = machine.descriptors[0]!.vectors[1]!;
    const counter = new Uint8Array(8);
    let interrupts = 0;
    const run = (requests: number) => {
      for (let i = 0; i < requests; i++) {
        const published = avail[1]!;
        while (used[1] !== published) {
          vm.work();
          held.engine.turn(false);
        }
        avail[2 + driver!.size] = published; // an interrupt for the next element
        avail[2 + (published % driver!.size)] = head;
        avail[1] = published + 1;
        native().ring(doorbell);
        while (native().syscall(0, vector, counter, 8) !== 8) {
          vm.work();
          held.engine.turn(false);
        }
        interrupts++;
      }
    };
    expect(bytesPerOperation(run, 5000)).toBeLessThan(100);
    expect(interrupts).toBeGreaterThan(50_000);
    vm.detach();
    while (!vm.isDetached) {
      vm.work();
      held.engine.turn(false);
    }
    machine.close();
    closeSync(fd);
    await held.close();
  });
});

describe('an engine without room', () => {
  test('refuses a machine and keeps nothing of it', async () => {
    const held = await testEngine('epoll', 64);
    const options = { name: 'blk0', size: diskSize, readOnly: false };
    const devices: BenchDevice[] = [
      { shape: rngShape('rng0'), spec: { kind: 'rng' } },
      {
        shape: blkShape(options),
        spec: { kind: 'blk', disk: { kind: 'file', fd: -1, size: diskSize, readOnly: false }, id: '' },
      },
    ];
    const machine = new MachineBench('big', devices);
    expect(
      () =>
        new IoVm(
          1,
          machine.attachment,
          held.engine,
          () => {},
          () => {},
        ),
    ).toThrow(/no room/);
    expect(held.engine.claim({ onCompletion: () => {} }, 64)?.count).toBe(64);
    machine.close();
    await held.close();
  });
});
