import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OpenDisk } from '../../../../src/disk/disk-map.js';
import { FallocateMode } from '../../../../src/host/engine-slots.js';
import { Errno } from '../../../../src/host/errno.js';
import { BlkDevice, maxRequestBytes } from '../../../../src/virtio/blk/blk.js';
import {
  BlkCounter,
  BlkFeature,
  BlkStatus,
  blkConfig,
  blkShape,
  writebackOffset,
} from '../../../../src/virtio/blk/blk-format.js';
import { hasFeature } from '../../../../src/virtio/features.js';
import {
  ask,
  cleanups,
  discard,
  disk,
  diskSize,
  header,
  newPath,
  overlay,
  read,
  type Segment,
  scripted,
  sector,
  segments,
  Type,
  write,
  zeroes,
} from '../../support/blk-disks.js';
import { DeviceBench } from '../../support/device-bench.js';
import { engineFor, engineKinds, ioUringMissing } from '../../support/engines.js';
import { type MockBuffer, readable, writable } from '../../support/mock-driver.js';
import { mappedRam } from '../../support/test-ram.js';

if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

const features = [BlkFeature.flush, BlkFeature.configWce, BlkFeature.discard, BlkFeature.writeZeroes];
const mebibyte = 2 ** 20;
const { punchHole, zeroRange } = FallocateMode;
const { ok, ioError, unsupported } = BlkStatus;

const unmap = 1;

/** `size` bytes of content at the start of a file that is as large as `total`. */
function large(total: number, content = Buffer.alloc(0)): OpenDisk & { kind: 'file' } {
  const fd = openSync(newPath(), constants.O_RDWR | constants.O_CREAT);
  cleanups.push(() => closeSync(fd));
  writeSync(fd, content);
  ftruncateSync(fd, total);
  return { kind: 'file', fd, size: total, readOnly: false };
}

describe.each(engineKinds)('on %s', (kind) => {
  const { maybe, engine } = engineFor(kind);
  const onDisk = (open: OpenDisk): DeviceBench => {
    const config = blkConfig({ name: 'blk0', size: open.size, readOnly: open.readOnly });
    const options = { engine: engine(), features, config, queueSize: 256, maxChain: 256 };
    const bench = new DeviceBench(new BlkDevice({ disk: open, id: 'serial-0' }), mappedRam(0x40_0000), options);
    cleanups.push(() => bench.close());
    return bench;
  };

  const range = fc.tuple(fc.nat(255), fc.integer({ min: 0, max: 60 }), fc.constantFrom(0, unmap));
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('read', 'write'), at: fc.nat(255), sectors: fc.integer({ min: 1, max: 40 }) }),
    fc.record({
      do: fc.constantFrom('discard', 'zeroes'),
      ranges: fc.array(range, { minLength: 1, maxLength: 16 }),
      cache: fc.constantFrom(0, 1),
    }),
  );

  maybe.each(['file', 'overlay'] as const)('a disk of zeroes and holes is an array of sectors (%s)', (sort) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (list) => {
        const { open, content } = sort === 'file' ? disk() : overlay();
        const base = Buffer.from(content);
        const bench = onDisk(open);
        for (const step of list) {
          if ('ranges' in step) {
            bench.config[writebackOffset] = step.cache;
            const inside = step.ranges.map(([at, count, flags]): Segment => {
              const sectors = Math.min(count, 256 - at);
              content.fill(0, at * sector, (at + sectors) * sector);
              return [at, sectors, step.do === 'zeroes' ? flags : 0];
            });
            const answer = ask(bench, step.do === 'zeroes' ? zeroes(...inside) : discard(...inside));
            expect([answer.status, answer.length]).toEqual([ok, 1]);
            continue;
          }
          const bytes = Math.min(step.sectors, 256 - step.at) * sector;
          const range = content.subarray(step.at * sector, step.at * sector + bytes);
          if (step.do === 'write') {
            randomBytes(bytes).copy(range);
            expect(ask(bench, write(step.at, range)).status).toBe(ok);
          } else expect(ask(bench, read(step.at, bytes)).data.equals(range)).toBe(true);
        }
        expect(ask(bench, read(0, diskSize)).data.equals(content)).toBe(true);
        if (open.kind === 'overlay') {
          const now = Buffer.alloc(diskSize);
          readSync(open.layers[0]!.fd, now, 0, diskSize, 0);
          expect(now.equals(base)).toBe(true);
        }
        expect(bench.warnings).toEqual([]);
        expect(bench.counters[BlkCounter.errors]).toBe(0);
        for (const cleanup of cleanups.splice(0).reverse()) cleanup();
      }),
      { numRuns: 30 },
    );
  });

  maybe('sparse stays sparse, and becomes so', () => {
    const open = large(64 * mebibyte, randomBytes(4 * mebibyte));
    const bench = onDisk(open);
    const blocks = () => fstatSync(open.fd).blocks * 512;
    const before = blocks();
    const sectors = (64 * mebibyte) / sector;
    expect(ask(bench, zeroes([8192, sectors - 8192, unmap])).status).toBe(ok);
    expect(blocks()).toBe(before); // 60 MiB of zeroes where there was a hole
    expect(ask(bench, discard([0, 4096])).status).toBe(ok);
    expect(blocks()).toBeLessThanOrEqual(before - 2 * mebibyte);
    expect(ask(bench, zeroes([4096, 4096, unmap])).status).toBe(ok);
    expect(blocks()).toBeLessThan(mebibyte);
    expect(ask(bench, read(0, mebibyte)).data.every((byte) => byte === 0)).toBe(true);
    expect(fstatSync(open.fd).size).toBe(64 * mebibyte);
  });

  maybe('zeroes that are not to be unmapped keep their room', () => {
    const open = large(mebibyte, randomBytes(mebibyte));
    const bench = onDisk(open);
    const before = fstatSync(open.fd).blocks;
    expect(ask(bench, zeroes([0, 2048])).status).toBe(ok);
    expect(fstatSync(open.fd).blocks).toBeGreaterThanOrEqual(before);
    expect(ask(bench, read(0, mebibyte)).data.every((byte) => byte === 0)).toBe(true);
  });
});

describe('requests', () => {
  /** One sector beyond what a disk can have of them, as the upper half of a sector number says it. */
  const huge = 0x20_0000n << 32n;
  const answered: [name: string, buffers: MockBuffer[], status: number][] = [
    ['a discard', discard([0, 8]), ok],
    ['of the last sector', discard([255, 1]), ok],
    ['T11: past the end', discard([255, 2]), ioError],
    ['T11: at the end', zeroes([256, 1]), ioError],
    ['T25: far past the end', zeroes([huge, 1]), ioError],
    ['T25: a sector that wraps', discard([2n ** 64n - 1n, 2]), ioError],
    ['T25: counts that add up to more than 32 bits', discard([0, 0xffff_ffff], [0, 0xffff_ffff]), ioError],
    ['one good range and one bad', zeroes([0, 8], [250, 8]), ioError],
    ['a discard that is to unmap', discard([0, 8, unmap]), unsupported],
    ['unknown flags', zeroes([0, 8, 2]), unsupported],
    ['all flags', zeroes([0, 8, 0xffff_ffff]), unsupported],
    ['unknown flags behind a good range', zeroes([0, 8], [8, 8, 0x8000_0001]), unsupported],
    ['no range', [readable(header(Type.discard)), writable(1)], ioError],
    ['part of a range', [readable(header(Type.discard)), readable(segments([0, 8]).subarray(1)), writable(1)], ioError],
    ['a range and a half', [readable(header(Type.discard)), readable(Buffer.alloc(24)), writable(1)], ioError],
    ['16 ranges', discard(...new Array<Segment>(16).fill([1, 1])), ok],
    ['17 ranges', discard(...new Array<Segment>(17).fill([1, 1])), ioError],
    ['a range of nothing', zeroes([3, 0]), ok],
    ['a range of nothing at the end', zeroes([256, 0]), ok],
    ['a range of nothing past the end', zeroes([257, 0]), ioError],
  ];
  test.each(answered)('%s', (_name, buffers, status) => {
    const { bench, engine } = scripted(disk().open, features);
    const answer = ask(bench, buffers);
    expect([answer.status, answer.length]).toEqual([status, 1]);
    expect(bench.violations).toEqual([undefined]);
    expect(bench.counters[BlkCounter.errors]).toBe(status === ioError ? 1 : 0);
    if (status !== ok) expect(engine.log).toEqual([]); // nothing is done of a request that is refused
  });

  test('are taken however the driver cut them', () => {
    const { bench, engine } = scripted(disk().open, features);
    const bytes = Buffer.concat([header(Type.writeZeroes), segments([1, 2, unmap], [5, 6])]);
    const cuts = [3, 10, 1, 2, 25, 7].map((length, i, all) => {
      const from = all.slice(0, i).reduce((sum, part) => sum + part, 0);
      return readable(bytes.subarray(from, from + length));
    });
    expect(ask(bench, [...cuts, writable(1)]).status).toBe(ok);
    expect(engine.log.map(({ offset, length, flags }) => [offset / sector, length / sector, flags])).toEqual([
      [1, 2, punchHole],
      [5, 6, zeroRange],
    ]);
  });

  test('T17: of a read-only disk are refused, whatever the driver negotiated', () => {
    const { bench, engine } = scripted(disk(true).open, features);
    for (const buffers of [discard([0, 8]), zeroes([0, 8])]) expect(ask(bench, buffers).status).toBe(ioError);
    expect(engine.log).toEqual([]);
  });

  test('T15: that were not negotiated are not supported', () => {
    const { bench } = scripted(disk().open, [BlkFeature.flush, BlkFeature.writeZeroes]);
    expect(ask(bench, discard([0, 8])).status).toBe(unsupported);
    expect(ask(bench, zeroes([0, 8])).status).toBe(ok);
  });

  test('T11, T25: whatever a driver writes, only sectors of the disk are touched', () => {
    const { bench, engine } = scripted(disk().open, features);
    const number = fc.oneof(fc.nat(300), fc.constantFrom(2 ** 21, 2 ** 21 + 1, 2 ** 31, 2 ** 32 - 1));
    const upper = fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, number);
    const flags = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(0, 1) }, number);
    const segment = fc.tuple(number, upper, number, flags);
    const payload = fc.tuple(fc.array(segment, { maxLength: 18 }), fc.constantFrom(0, 0, 0, 1, 15));
    fc.assert(
      fc.property(payload, fc.constantFrom(Type.discard, Type.writeZeroes), ([list, more], type) => {
        const before = engine.log.length;
        const data = Buffer.alloc(list.length * 16 + more);
        list.forEach((words, i) => {
          words.forEach((word, j) => {
            data.writeUInt32LE(word, i * 16 + j * 4);
          });
        });
        const buffers = [readable(header(type)), ...(data.length > 0 ? [readable(data)] : []), writable(1)];
        const { status } = ask(bench, buffers);
        const bad = list.map(([low, high, count, flags]) =>
          (flags & ~(type === Type.discard ? 0 : 1)) !== 0
            ? unsupported
            : high !== 0 || low + count > 256
              ? ioError
              : ok,
        );
        const countable = list.length > 0 && list.length <= 16 && more === 0;
        expect(status).toBe(countable ? (bad.find((status) => status !== ok) ?? ok) : ioError);
        const log = engine.log.slice(before);
        for (const { offset, length } of log) {
          expect(offset + length).toBeLessThanOrEqual(diskSize);
          expect(length).toBeGreaterThan(0);
        }
        expect(log).toHaveLength(status === ok ? list.filter(([, , count]) => count > 0).length : 0);
      }),
    );
    expect(bench.violations).toEqual([undefined]);
    expect(bench.inFlight).toBe(0);
  });

  test('T9: go on by what they said at first', () => {
    const { bench, engine, driver } = scripted(disk().open, features);
    const head = driver.offer(discard([1, 1], [2, 2]));
    bench.start();
    driver.ram.bytes.set(segments([100, 1], [100, 100]), driver.chains.get(head)![1]!.address);
    bench.run();
    expect(engine.log.map(({ offset, length }) => [offset / sector, length / sector])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  test('are counted', () => {
    const { bench } = scripted(disk().open, features);
    ask(bench, discard([0, 8], [16, 8]));
    ask(bench, zeroes([0, 8]));
    expect([bench.counters[BlkCounter.discards], bench.counters[BlkCounter.writeZeroes]]).toEqual([1, 1]);
  });
});

describe('T39: large ranges', () => {
  test('are done in parts, and a disk has only so many under way', () => {
    const { bench, engine, driver } = scripted(large(2 ** 32), features);
    expect(ask(bench, discard([3, 2 ** 21])).status).toBe(ok);
    expect(engine.log).toHaveLength(32);
    expect(engine.log.every(({ length }) => length === 32 * mebibyte)).toBe(true);
    expect(engine.log.at(-1)!.offset).toBe(3 * sector + 31 * 32 * mebibyte);
    for (let i = 0; i < 40; i++) driver.offer(discard([i * 4096, 4096]));
    bench.start();
    expect(engine.waiting).toHaveLength(8);
    bench.run();
    expect(driver.collect()).toHaveLength(40);
  });

  test('a range is at most 1 GiB', () => {
    const { bench } = scripted(large(2 ** 32), features);
    expect(ask(bench, discard([0, 2 ** 21 + 1])).status).toBe(ioError);
  });
});

describe('a file system that cannot', () => {
  const unable = -Errno.EOPNOTSUPP;
  const content = randomBytes(3 * mebibyte);
  const size = content.length;

  test('make holes: discards do nothing, zeroes keep their room', () => {
    const open = large(size, content);
    const { bench, engine } = scripted(open, features);
    engine.unable.set(punchHole, unable);
    expect(ask(bench, discard([0, 64], [128, 64])).status).toBe(ok);
    expect(ask(bench, discard([0, 64])).status).toBe(ok);
    expect(engine.log).toHaveLength(1); // it is not asked again
    const now = Buffer.alloc(size);
    readSync(open.fd, now, 0, size, 0);
    expect(now.equals(content)).toBe(true);
    expect(ask(bench, zeroes([0, 64, unmap])).status).toBe(ok);
    expect(engine.log.at(-1)).toMatchObject({ operation: 'allocate', flags: zeroRange, length: 64 * sector });
    expect(bench.warnings).toEqual([]);
  });

  test.each([unable, -Errno.ENOSYS, -Errno.ENODEV, -Errno.EINVAL])(
    'do either: zeroes are written, in parts (%d)',
    (answer) => {
      const open = large(size, content);
      const { bench, engine } = scripted(open, features);
      engine.unable.set(punchHole, answer).set(zeroRange, answer);
      expect(ask(bench, zeroes([1, 5000, unmap])).status).toBe(ok);
      const written = engine.log.filter(({ operation }) => operation === 'write');
      expect(written.map(({ length }) => length)).toEqual([mebibyte, mebibyte, 5000 * sector - 2 * mebibyte]);
      const expected = Buffer.from(content).fill(0, sector, 5001 * sector);
      const now = Buffer.alloc(size);
      readSync(open.fd, now, 0, size, 0);
      expect(now.equals(expected)).toBe(true);
      const asked = engine.log.length;
      expect(ask(bench, zeroes([0, 8])).status).toBe(ok);
      // What may be wrong with one range alone is tried again with the next.
      expect(engine.log.length - asked).toBe(answer === -Errno.EINVAL ? 2 : 1);
    },
  );

  test('do either, for an overlay: the base does not shine through', () => {
    const { open } = overlay();
    const { bench, engine } = scripted(open, features);
    engine.unable.set(punchHole, unable).set(zeroRange, unable);
    expect(ask(bench, zeroes([10, 20, unmap])).status).toBe(ok);
    expect(ask(bench, read(10, 20 * sector)).data.every((byte) => byte === 0)).toBe(true);
  });

  test('do it now: the request fails, and the host is told', () => {
    const { bench, engine, driver } = scripted(disk().open, features);
    for (const buffers of [discard([4, 4]), zeroes([4, 4, unmap], [9, 1]), zeroes([4, 4])]) {
      driver.offer(buffers);
      bench.start();
      engine.complete(-Errno.EIO);
    }
    bench.run();
    expect(driver.collect().map(({ buffers }) => driver.read(buffers.at(-1)!)[0])).toEqual([ioError, ioError, ioError]);
    expect(engine.log).toHaveLength(3);
    expect(bench.warnings).toEqual([
      'host: disk discard at byte 2048 failed: EIO',
      'host: disk zeroing at byte 2048 failed: EIO',
      'host: disk zeroing at byte 2048 failed: EIO',
    ]);
  });
});

describe('without a write cache (contract §5.3)', () => {
  test('zeroes are durable before they are answered', () => {
    const { bench, engine, driver } = scripted(disk().open, features);
    bench.config[writebackOffset] = 0;
    driver.offer(zeroes([0, 8, unmap], [16, 8]));
    bench.start();
    engine.complete();
    engine.complete();
    expect(engine.waiting.map(({ operation }) => operation)).toEqual(['dataSync']);
    expect(driver.collect()).toEqual([]);
    bench.run();
    expect(driver.collect()).toHaveLength(1);
    expect(engine.log.map(({ operation }) => operation)).toEqual(['allocate', 'allocate', 'dataSync']);
  });

  test('so are those that had to be written, and a failed sync fails them', () => {
    const { bench, engine, driver } = scripted(disk().open, [BlkFeature.writeZeroes]);
    engine.unable.set(zeroRange, -Errno.EOPNOTSUPP);
    driver.offer(zeroes([0, 8]));
    bench.start();
    engine.complete();
    engine.complete();
    engine.complete(-Errno.EIO);
    bench.run();
    expect(engine.log.map(({ operation }) => operation)).toEqual(['allocate', 'write', 'dataSync']);
    expect(driver.collect().map(({ buffers }) => driver.read(buffers.at(-1)!)[0])).toEqual([ioError]);
  });

  test('nothing else is synced: not with a cache, not an ephemeral disk', () => {
    const cached = scripted(disk().open, features);
    ask(cached.bench, zeroes([0, 8]));
    const ephemeral = scripted(overlay().open, [BlkFeature.writeZeroes]);
    ask(ephemeral.bench, zeroes([0, 8]));
    const { log } = cached.engine;
    expect([...log, ...ephemeral.engine.log].map(({ operation }) => operation)).toEqual(['allocate', 'allocate']);
  });
});

test('a reset in the middle of a request ends it, and frees its place', () => {
  const { bench, engine, driver } = scripted(large(2 ** 30), features);
  for (let i = 0; i < 8; i++) driver.offer(discard([0, 2 ** 20], [0, 2 ** 20]));
  bench.start();
  bench.device.stop();
  while (engine.waiting.length > 0) engine.complete();
  expect(engine.log).toHaveLength(8);
  const { config } = bench;
  const options = { engine, features, config, queueSize: 256, maxChain: 256 };
  const again = new DeviceBench(bench.device, mappedRam(0x20_0000), options);
  for (let i = 0; i < 8; i++) again.driver.offer(zeroes([i, 1]));
  again.start();
  expect(engine.waiting).toHaveLength(8);
  again.run();
  expect(again.driver.collect()).toHaveLength(8);
  again.ram.close();
});

describe('an ephemeral disk with a limit', () => {
  test('has room for holes when all is given out, not for zeroes that keep it', () => {
    const { open } = overlay(4096);
    const { bench } = scripted(open, features);
    expect(ask(bench, write(0, randomBytes(sector))).status).toBe(ok);
    expect(ask(bench, zeroes([64, 8])).status).toBe(ioError);
    expect(ask(bench, zeroes([64, 8, unmap])).status).toBe(ok);
    expect(ask(bench, discard([80, 8])).status).toBe(ok);
    const zero = (at: number) => ask(bench, read(at, 8 * sector)).data.every((byte) => byte === 0);
    expect([zero(64), zero(72), zero(80)]).toEqual([true, false, true]);
  });

  test.each(['discards', 'zeroes'])('has room again for a guest that %s what it wrote', (how) => {
    const { open, overlay: fd } = overlay(8 * 4096);
    const { bench } = scripted(open, features);
    for (let round = 0; round < 10; round++) {
      const at = 64 * (round % 4);
      expect(ask(bench, write(at, randomBytes(64 * sector))).status, `round ${round}`).toBe(ok);
      expect(ask(bench, write((at + 64) % 256, randomBytes(sector))).status).toBe(ioError);
      expect(fstatSync(fd).blocks).toBe(64);
      expect(ask(bench, how === 'zeroes' ? zeroes([at, 64, unmap]) : discard([at, 64])).status).toBe(ok);
      expect(fstatSync(fd).blocks).toBe(0);
      expect(ask(bench, read(at, 64 * sector)).data.every((byte) => byte === 0)).toBe(true);
    }
  });

  test('is not passed by a write and a discard under way at once', () => {
    const { open } = overlay(4096);
    const { bench, engine, driver } = scripted(open, features);
    for (const together of [write(0, randomBytes(4096)), discard([0, 8])]) driver.offer(together);
    bench.start();
    expect(engine.waiting).toHaveLength(2);
    bench.run();
    expect(driver.collect()).toHaveLength(2);
    expect(ask(bench, write(8, randomBytes(4096))).status).toBe(ioError);
    expect(ask(bench, discard([0, 8])).status).toBe(ok);
    expect(ask(bench, write(8, randomBytes(4096))).status).toBe(ok);
  });
});

describe('what the driver finds', () => {
  const options = { name: 'blk0', size: 10 * 2 ** 30, readOnly: false };

  test('configuration as virtio 1.2 §5.2.4', () => {
    const config = Buffer.from(blkConfig(options));
    const words = [36, 40, 44, 48, 52].map((at) => config.readUInt32LE(at));
    expect(words).toEqual([2 ** 21, 16, 8, 2 ** 21, 16]);
    expect([...config.subarray(56)]).toEqual([1, 0, 0, 0]);
  });

  test('a read-only disk has nothing to discard', () => {
    for (const readOnly of [false, true]) {
      const shape = blkShape({ ...options, readOnly });
      expect(hasFeature(shape.features, BlkFeature.discard)).toBe(!readOnly);
      expect(hasFeature(shape.features, BlkFeature.writeZeroes)).toBe(!readOnly);
    }
  });

  test.each([
    // [what the host likes, logical block] -> [physical block, what it is good to transfer], in logical blocks
    [4096, 512, 8, 0],
    [4096, 4096, 1, 0],
    [512, 512, 1, 0],
    [1024, 512, 2, 0],
    [512, 4096, 1, 0],
    [1024 * 1024, 512, 8, 2048],
    [128 * 1024, 4096, 1, 32],
    [5000, 512, 8, 0],
    [0, 512, 1, 0],
    [Number.NaN, 512, 1, 0],
    [2 ** 40, 512, 8, 0],
  ] as const)('topology of a file: %d bytes at a time, blocks of %d', (ioSize, blockSize, physical, best) => {
    const config = Buffer.from(blkConfig({ ...options, ioSize, blockSize }));
    expect([2 ** config[24]!, config.readUInt16LE(26), config.readUInt32LE(28)]).toEqual([physical, physical, best]);
  });
});

test('the longest request that a driver can make of its segments is one that is performed', () => {
  const config = Buffer.from(blkConfig({ name: 'blk0', size: 2 ** 40, readOnly: false }));
  const [sizeMax, segMax] = [config.readUInt32LE(8), config.readUInt32LE(12)];
  expect([sizeMax, segMax]).toEqual([2 ** 20, 254]);
  expect(sizeMax * segMax).toBeLessThanOrEqual(maxRequestBytes);
});

test('what is read behind the end of what was ever written to an overlay is zero', () => {
  const { open, overlay: fd } = overlay();
  const { bench } = scripted(open, features);
  expect(ask(bench, discard([200, 56])).status).toBe(ok);
  expect(ask(bench, read(200, 56 * sector)).data.every((byte) => byte === 0)).toBe(true);
  expect(fstatSync(fd).size).toBe(diskSize);
  expect(readFileSync(`/proc/self/fd/${fd}`).every((byte) => byte === 0)).toBe(true);
});
