/** A block device as a drive: what is in it changes while its driver stays, and how much it may do. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { OpenDisk } from '../../../../src/disk/disk-map.js';
import { Errno } from '../../../../src/host/errno.js';
import { BlkDevice } from '../../../../src/virtio/blk/blk.js';
import { BlkCounter, BlkFeature, BlkStatus, blkConfig } from '../../../../src/virtio/blk/blk-format.js';
import type { RateLimit } from '../../../../src/virtio/rate-limit.js';
import {
  ask,
  cleanups,
  disk,
  diskSize,
  flush,
  newPath,
  overlay,
  read,
  write,
  zeroes,
} from '../../support/blk-disks.js';
import { DeviceBench } from '../../support/device-bench.js';
import { engineKinds, ioUringMissing, testEngine } from '../../support/engines.js';
import { ScriptedEngine } from '../../support/scripted-slots.js';
import { mappedRam } from '../../support/test-ram.js';

const features = [BlkFeature.flush, BlkFeature.writeZeroes, BlkFeature.discard];

interface Options {
  readonly removable?: boolean;
  readonly limit?: RateLimit;
}

function bench(open: OpenDisk, options: Options, engine = new ScriptedEngine()) {
  const device = new BlkDevice({ disk: open, id: 'drive', ...options });
  const config = blkConfig({ name: 'blk0', size: open.size, readOnly: open.readOnly });
  const made = new DeviceBench(device, mappedRam(0x80_0000), {
    engine,
    features,
    config,
    queueSize: 256,
    maxChain: 256,
  });
  cleanups.push(() => made.close());
  return { bench: made, device, engine };
}

describe.each(engineKinds)('what is in it, on %s', (kind) => {
  const maybe = test.skipIf(kind === 'io_uring' && ioUringMissing !== undefined);

  maybe('is another disk after an exchange, a larger one, or nothing', async () => {
    const held = await testEngine(kind);
    cleanups.push(() => held.close());
    const [first, second] = [disk(), overlay()];
    const { bench: drive, device } = bench(first.open, { removable: true }, held.engine as ScriptedEngine);
    expect(ask(drive, read(0, 1024)).data).toEqual(first.content.subarray(0, 1024));
    ask(drive, write(0, Buffer.alloc(512, 1)));

    device.exchange(second.open);
    expect(ask(drive, read(0, 1024)).data).toEqual(second.content.subarray(0, 1024));
    ask(drive, write(5, Buffer.alloc(512, 2)));
    expect(ask(drive, read(5, 512)).data).toEqual(Buffer.alloc(512, 2));

    device.exchange(undefined);
    expect(ask(drive, read(0, 512)).status).toBe(BlkStatus.ioError);
    expect(ask(drive, write(0, Buffer.alloc(512))).status).toBe(BlkStatus.ioError);
    expect(ask(drive, zeroes([0, 1])).status).toBe(BlkStatus.ioError);
    expect(ask(drive, flush()).status).toBe(BlkStatus.ok);

    const path = newPath();
    const larger = randomBytes(2 * diskSize);
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
    cleanups.push(() => closeSync(fd));
    writeSync(fd, larger);
    device.exchange({ kind: 'file', fd, size: 2 * diskSize, readOnly: false });
    expect(ask(drive, read(diskSize / 512, 512)).data).toEqual(larger.subarray(diskSize, diskSize + 512));
    device.exchange({ kind: 'file', fd, size: diskSize, readOnly: true });
    expect(ask(drive, read(diskSize / 512, 512)).status).toBe(BlkStatus.ioError);
    expect(ask(drive, write(0, Buffer.alloc(512))).status).toBe(BlkStatus.ioError);
    expect(drive.warnings).toEqual([]);
  });
});

test('a sync flushes for nobody: the driver gets no answer, and an error is a warning', () => {
  const { bench: drive, device, engine } = bench(disk().open, { removable: true });
  device.sync();
  expect(engine.waiting.map(({ operation }) => operation)).toEqual(['dataSync']);
  engine.complete(-Errno.EIO);
  expect(drive.driver.collect()).toEqual([]);
  expect(drive.warnings).toEqual(['host: disk flush failed: EIO']);
  device.sync();
  engine.complete(0);
  device.stop();
  device.sync(); // no driver
  engine.complete(0);
  drive.activate();
  // Every place is free again: as many requests as there may be.
  for (let i = 0; i < 130; i++) drive.driver.offer(read(0, 512), 0);
  drive.start();
  expect(engine.waiting).toHaveLength(128);
  while (engine.waiting.length > 0) engine.complete(512);
});

describe('how much it may do', () => {
  const none = { bytesPerSecond: undefined, bytesBurst: undefined, opsPerSecond: undefined, opsBurst: undefined };

  test('requests beyond the limit stay in the queue until the alarm', () => {
    const limit = { ...none, opsPerSecond: 10, opsBurst: 3 };
    const { bench: drive, device, engine } = bench(disk().open, { limit });
    for (let i = 0; i < 10; i++) drive.driver.offer(read(i, 512));
    drive.start();
    expect(engine.waiting).toHaveLength(3);
    expect(drive.alarms).toHaveLength(1);
    expect(drive.counters[BlkCounter.throttled]).toBe(1);
    drive.microseconds += 300_000; // three more
    device.onAlarm();
    drive.start();
    expect(engine.waiting).toHaveLength(6);
    device.setLimit(undefined);
    drive.start();
    expect(engine.waiting).toHaveLength(10);
    device.setLimit({ ...none, bytesPerSecond: 512, bytesBurst: 512 });
    for (let i = 0; i < 10; i++) drive.driver.offer(write(i, Buffer.alloc(512)));
    drive.start();
    expect(engine.waiting).toHaveLength(11);
    while (engine.waiting.length > 0) engine.complete(512);
  });

  test('zeroes that are written count as data, those that are a hole do not', () => {
    const limit = { ...none, bytesPerSecond: 1000, bytesBurst: 1 };
    const { bench: drive, engine } = bench(disk().open, { limit });
    drive.driver.offer(zeroes([0, 100, 1]));
    drive.start();
    expect(engine.waiting.map(({ operation }) => operation)).toEqual(['allocate']);
    engine.complete(0);
    drive.driver.offer(zeroes([0, 100, 1]));
    drive.start();
    expect(drive.alarms).toEqual([]);
    engine.complete(-Errno.EOPNOTSUPP); // no holes
    engine.complete(-Errno.EOPNOTSUPP); // no ranges of zeroes
    expect(engine.waiting.map(({ operation }) => operation)).toEqual(['write']);
    drive.driver.offer(read(0, 512));
    drive.start();
    expect(drive.alarms[0]).toBeGreaterThan(50e6); // 51200 bytes at 1000 a second
    engine.complete(51_200);
  });

  test('a driver that goes and comes back finds the limit as it left it', () => {
    const { bench: drive, device, engine } = bench(disk().open, { limit: { ...none, opsPerSecond: 1, opsBurst: 1 } });
    drive.driver.offer(read(0, 512));
    drive.start();
    engine.complete(512);
    device.stop();
    drive.activate();
    drive.driver.offer(read(0, 512));
    drive.start();
    expect(engine.waiting).toEqual([]);
    expect(drive.alarms).toHaveLength(1);
    device.stop(); // and one that waits for its turn has none
    device.onAlarm();
    drive.activate();
  });
});
