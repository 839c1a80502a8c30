import { expect, test } from 'vitest';
import { hasFeature, VIRTIO_F_VERSION_1 } from '../../../../src/virtio/features.js';
import { RngCounter, RngDevice, rngShape } from '../../../../src/virtio/rng/rng.js';
import { DeviceBench } from '../../support/device-bench.js';
import { readable, writable } from '../../support/mock-driver.js';
import { fakeRam } from '../../support/test-ram.js';

const bench = (ramSize = 0x10_0000) => new DeviceBench(new RngDevice(), fakeRam(ramSize));

test('fills every buffer of a request, whole', () => {
  const { driver, run } = bindRun(bench());
  driver.offer([writable(100), writable(1), writable(4000)]);
  run();
  const [used] = driver.collect();
  expect(used!.length).toBe(4101);
  for (const buffer of used!.buffers.filter(({ length }) => length >= 100)) {
    const bytes = driver.read(buffer);
    expect(new Set(bytes).size).toBeGreaterThan(20);
    expect(bytes.subarray(-32).some((byte) => byte !== 0)).toBe(true);
  }
});

test('gives every request other bytes', () => {
  const { driver, run } = bindRun(bench());
  for (let i = 0; i < 8; i++) driver.offer([writable(32)]);
  run();
  const answers = driver.collect().map(({ buffers }) => Buffer.from(driver.read(buffers[0]!)).toString('hex'));
  expect(new Set(answers).size).toBe(8);
});

test('T14: answers an oversized request with 64 KiB and touches nothing behind them', () => {
  const { driver, run, device } = bindRun(bench());
  driver.offer([writable(65_000), writable(65_000)]);
  run();
  const [used] = driver.collect();
  expect(used!.length).toBe(65_536);
  expect(
    driver
      .read(used!.buffers[1]!)
      .subarray(536)
      .every((byte) => byte === 0),
  ).toBe(true);
  expect([...device.counters.subarray(0, 2)]).toEqual([1, 65_536]);
  expect(RngCounter).toEqual({ requests: 0, bytes: 1 });
});

test('gives a request without room back, with a warning about the driver', () => {
  const { driver, run, device } = bindRun(bench());
  driver.offer([readable(16)]);
  run();
  expect(driver.collect().map(({ length }) => length)).toEqual([0]);
  expect(device.warnings).toEqual(['guest: a request has no buffer to fill (virtio 1.2 §5.4.6)']);
});

test('is an entropy device without configuration', () => {
  const shape = rngShape('rng0');
  expect(shape.deviceType).toBe(4);
  expect(shape.queueSizes).toHaveLength(1);
  expect(shape.configSize).toBe(0);
  expect(hasFeature(shape.features, VIRTIO_F_VERSION_1)).toBe(true);
});

function bindRun(device: DeviceBench) {
  return { device, driver: device.driver, run: () => device.run() };
}
