import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConsoleDevice } from '../../../../src/virtio/console/console.js';
import {
  ConsoleCounter,
  ConsoleFeature,
  consoleConfig,
  consoleShape,
} from '../../../../src/virtio/console/console-format.js';
import { ConsoleHost } from '../../../../src/virtio/console/console-host.js';
import { type ConsoleOptions, layoutConsole } from '../../../../src/virtio/console/console-state.js';
import { hasFeature } from '../../../../src/virtio/features.js';
import { DeviceBench } from '../../support/device-bench.js';
import { readable, writable } from '../../support/mock-driver.js';
import { fakeRam } from '../../support/test-ram.js';

function setUp(options: ConsoleOptions = {}) {
  const layout = layoutConsole(0, options);
  const shared = new SharedArrayBuffer(layout.end);
  const device = new ConsoleDevice(shared, layout);
  const bench = new DeviceBench(device, fakeRam(0x10_0000), { queues: 2, queueSize: 16 });
  let woken = 0;
  const host = new ConsoleHost(shared, layout, () => {
    woken++;
    device.onWake();
  });
  const [receive, transmit] = bench.drivers as [typeof bench.driver, typeof bench.driver];
  const read = (most = 1 << 20) => {
    const target = Buffer.alloc(most);
    return target.subarray(0, host.readOutput(target));
  };
  return { bench, host, receive, transmit, read, woken: () => woken };
}

describe('output', () => {
  test('arrives in order, from buffers of any cut', () => {
    const { bench, transmit, read } = setUp();
    transmit.offer([readable(Buffer.from('hello ')), readable(Buffer.from('w'))]);
    transmit.offer([readable(Buffer.from('orld'))]);
    bench.run();
    expect(read().toString()).toBe('hello world');
    expect(transmit.collect().map(({ length }) => length)).toEqual([0, 0]);
    expect(bench.wakes).toBeGreaterThan(0);
    expect(bench.counters[ConsoleCounter.bytesOut]).toBe(11);
  });

  test('that nobody reads is dropped and counted, and does not stop the guest', () => {
    const { bench, host, transmit, read } = setUp({ outputCapacity: 64 });
    const bytes = randomBytes(100);
    transmit.offer([readable(bytes.subarray(0, 60)), readable(bytes.subarray(60))]);
    transmit.offer([readable(10)]);
    bench.run();
    expect(transmit.collect()).toHaveLength(2);
    expect(read().equals(bytes.subarray(0, 64))).toBe(true);
    expect(host.droppedBytes).toBe(46);
  });

  test('with `block` stays with the driver until main has read', () => {
    const { bench, host, transmit, read, woken } = setUp({ outputCapacity: 64, blockWhenFull: true });
    const bytes = randomBytes(120);
    for (let at = 0; at < 120; at += 40) transmit.offer([readable(bytes.subarray(at, at + 40))]);
    bench.run();
    expect(transmit.collect()).toHaveLength(1);
    const parts = [read(30)];
    expect(woken()).toBe(1);
    bench.run();
    expect(transmit.collect()).toHaveLength(1);
    parts.push(read());
    bench.run();
    parts.push(read());
    expect(transmit.collect()).toHaveLength(1);
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    expect(host.droppedBytes).toBe(0);
  });

  test('T14: a buffer larger than the ring cannot block for ever', () => {
    const { bench, host, transmit, read } = setUp({ outputCapacity: 64, blockWhenFull: true });
    transmit.offer([readable(1)]);
    transmit.offer([readable(200)]);
    bench.run();
    expect(transmit.collect()).toHaveLength(1);
    read();
    bench.run();
    expect(transmit.collect()).toHaveLength(1);
    expect(read().length).toBe(64);
    expect(host.droppedBytes).toBe(136);
  });

  test('T2: empty buffers go back', () => {
    const { bench, transmit } = setUp();
    transmit.offer([readable(0)]);
    transmit.offer([writable(5)]);
    bench.run();
    expect(transmit.collect().map(({ length }) => length)).toEqual([0, 0]);
  });
});

describe('input', () => {
  test('waits for buffers, and buffers for input', () => {
    const { bench, host, receive } = setUp();
    expect(host.writeInput(Buffer.from('before'))).toBe(6);
    bench.run();
    receive.offer([writable(4)]);
    receive.offer([writable(100)]);
    receive.offer([writable(100)]);
    bench.run();
    const answers = receive.collect();
    expect(answers.map(({ length }) => length)).toEqual([4, 2]);
    expect(
      Buffer.concat(answers.map(({ buffers, length }) => receive.read(buffers[0]!).subarray(0, length))).toString(),
    ).toBe('before');
    host.writeInput(Buffer.from('after'));
    bench.run();
    expect(receive.collect().map(({ length }) => length)).toEqual([5]);
  });

  test('beyond the ring is taken when the guest has made room, and main is told', () => {
    const { bench, host, receive } = setUp();
    const input = randomBytes(6000);
    let taken = host.writeInput(input);
    expect(taken).toBe(4096);
    const got: Uint8Array[] = [];
    for (let i = 0; i < 10 && taken <= 6000; i++) {
      receive.offer([writable(1000)]);
      const before = bench.wakes;
      bench.run();
      for (const { buffers, length } of receive.collect()) got.push(receive.read(buffers[0]!).subarray(0, length));
      if (taken < 6000) {
        expect(bench.wakes).toBe(before + 1);
        taken += host.writeInput(input.subarray(taken));
      }
    }
    expect(Buffer.concat(got).equals(input)).toBe(true);
  });
});

test('against a model: nothing is lost or doubled when main and guest take turns', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('out' as const), length: fc.integer({ min: 1, max: 90 }) }),
    fc.record({ do: fc.constant('read' as const), length: fc.integer({ min: 1, max: 90 }) }),
    fc.record({ do: fc.constant('in' as const), length: fc.integer({ min: 1, max: 90 }) }),
    fc.record({ do: fc.constant('buffer' as const), length: fc.integer({ min: 1, max: 90 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { bench, host, receive, transmit, read } = setUp({ outputCapacity: 128, blockWhenFull: true });
      const sent: Buffer[] = [];
      const seen: Buffer[] = [];
      const typed: Buffer[] = [];
      const got: Uint8Array[] = [];
      for (const { do: what, length } of steps) {
        const bytes = randomBytes(length);
        if (what === 'out' && transmit.freeDescriptors > 0) {
          transmit.offer([readable(bytes)]);
          sent.push(bytes);
        } else if (what === 'read') seen.push(Buffer.from(read(length)));
        else if (what === 'in') typed.push(bytes.subarray(0, host.writeInput(bytes)));
        else if (what === 'buffer' && receive.freeDescriptors > 0) receive.offer([writable(length)]);
        bench.run();
        transmit.collect();
        for (const { buffers, length } of receive.collect()) got.push(receive.read(buffers[0]!).subarray(0, length));
      }
      for (let i = 0; i < 40; i++) {
        seen.push(Buffer.from(read()));
        if (receive.freeDescriptors > 0) receive.offer([writable(90)]);
        bench.run();
        transmit.collect();
        for (const { buffers, length } of receive.collect()) got.push(receive.read(buffers[0]!).subarray(0, length));
      }
      seen.push(Buffer.from(read()));
      expect(Buffer.concat(seen).equals(Buffer.concat(sent))).toBe(true);
      const input = Buffer.concat(typed);
      expect(Buffer.concat(got).equals(input)).toBe(true);
    }),
    { numRuns: 60 },
  );
});

test('the driver finds a size and no more ports', () => {
  const shape = consoleShape('console');
  expect(shape.deviceType).toBe(3);
  expect(hasFeature(shape.features, ConsoleFeature.size)).toBe(true);
  expect(hasFeature(shape.features, 1)).toBe(false);
  const config = Buffer.from(consoleConfig(132, 43));
  expect([config.readUInt16LE(0), config.readUInt16LE(2)]).toEqual([132, 43]);
  expect(config.length).toBe(shape.configSize);
});
