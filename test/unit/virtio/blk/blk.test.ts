import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, readSync } from 'node:fs';
import { constants as system } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { OpenDisk } from '../../../../src/disk/disk-map.js';
import { Errno } from '../../../../src/host/errno.js';
import { BlkDevice } from '../../../../src/virtio/blk/blk.js';
import {
  BlkCounter,
  BlkFeature,
  BlkStatus,
  blkConfig,
  blkShape,
  writebackOffset,
} from '../../../../src/virtio/blk/blk-format.js';
import { hasFeature } from '../../../../src/virtio/features.js';
import { bytesPerOperation } from '../../support/allocation.js';
import {
  ask,
  cleanups,
  disk,
  diskSize,
  flush,
  header,
  newPath,
  overlay,
  read,
  scripted,
  sector,
  Type,
  write,
  writeback,
} from '../../support/blk-disks.js';
import { DeviceBench } from '../../support/device-bench.js';
import { engineFor, engineKinds, ioUringMissing } from '../../support/engines.js';
import { type MockBuffer, type Placed, readable, writable } from '../../support/mock-driver.js';
import { ScriptedEngine } from '../../support/scripted-slots.js';
import { mappedRam } from '../../support/test-ram.js';

if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

describe.each(engineKinds)('on %s', (kind) => {
  const { maybe, engine } = engineFor(kind);

  const onDisk = (open: OpenDisk, features: readonly number[] = writeback, queues = 1): DeviceBench => {
    const options = { name: 'blk0', size: open.size, readOnly: open.readOnly, queues };
    const bench = new DeviceBench(new BlkDevice({ disk: open, id: 'serial-0' }), mappedRam(0x40_0000), {
      engine: engine(),
      features,
      config: blkConfig(options),
      queues,
      queueSize: 256,
      maxChain: 256,
    });
    cleanups.push(() => bench.close());
    return bench;
  };

  maybe('reads and writes through to the file', () => {
    const { open, content, path } = disk();
    const bench = onDisk(open);
    expect(ask(bench, read(3, 1024))).toEqual({
      status: BlkStatus.ok,
      length: 1025,
      data: content.subarray(3 * sector, 5 * sector),
    });
    const data = randomBytes(1536);
    expect(ask(bench, write(100, data))).toEqual({ status: BlkStatus.ok, length: 1, data: Buffer.alloc(0) });
    expect(
      readFileSync(path)
        .subarray(100 * sector, 103 * sector)
        .equals(data),
    ).toBe(true);
    expect(ask(bench, flush())).toEqual({ status: BlkStatus.ok, length: 1, data: Buffer.alloc(0) });
    expect(ask(bench, read(254, 512, 512)).data.equals(content.subarray(254 * sector))).toBe(true);
    const { reads, writes, flushes, bytesRead, bytesWritten, errors } = BlkCounter;
    const counted = [reads, writes, flushes, bytesRead, bytesWritten, errors].map((i) => bench.counters[i]);
    expect(counted).toEqual([2, 1, 1, 2048, 1536, 0]);
  });

  maybe('takes a request however the driver cut it', () => {
    const { open, content } = disk();
    const bench = onDisk(open);
    const head = header(Type.in, 7);
    // Header in three pieces; data in odd ones; the status byte at the end of the last.
    const pieces = [
      readable(head.subarray(0, 3)),
      readable(head.subarray(3, 10)),
      readable(head.subarray(10)),
      writable(100),
      writable(413),
    ];
    expect(ask(bench, pieces).data.equals(content.subarray(7 * sector, 8 * sector))).toBe(true);
    // Header and data in one buffer.
    const data = randomBytes(512);
    expect(ask(bench, [readable(Buffer.concat([header(Type.out, 9), data])), writable(1)]).status).toBe(BlkStatus.ok);
    expect(ask(bench, read(9, 512), 0).data.equals(data)).toBe(true);
    // 254 buffers.
    const many = ask(bench, read(0, ...new Array(254).fill(512)), 0);
    expect(many.data.subarray(0, 7 * sector).equals(content.subarray(0, 7 * sector))).toBe(true);
    expect(many.length).toBe(254 * 512 + 1);
  });

  maybe('serves more requests than it has places, on several queues', () => {
    const { open, content } = disk();
    const bench = onDisk(open, [...writeback, BlkFeature.multiQueue], 2);
    for (const driver of bench.drivers) for (let i = 0; i < 80; i++) driver.offer(read(i, 512));
    bench.run();
    for (const driver of bench.drivers) {
      const answers = driver.collect();
      expect(answers).toHaveLength(80);
      for (const { length, buffers } of answers) {
        const at = Buffer.from(driver.read(buffers[0] as Placed)).readUInt32LE(8);
        expect(length).toBe(513);
        expect(
          Buffer.from(driver.read(buffers[1] as Placed)).equals(content.subarray(at * sector, (at + 1) * sector)),
        ).toBe(true);
      }
    }
    expect(bench.inFlight).toBe(0);
  });

  const requests = fc.array(
    fc.record({
      write: fc.boolean(),
      at: fc.integer({ min: 0, max: 255 }),
      sectors: fc.integer({ min: 1, max: 40 }),
      cuts: fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 5 }),
      batch: fc.boolean(),
    }),
    { maxLength: 30 },
  );
  const cut = (length: number, cuts: readonly number[]): number[] => {
    const parts: number[] = [];
    for (const part of cuts) {
      if (part < length) {
        parts.push(part);
        length -= part;
      }
    }
    return [...parts, length];
  };

  maybe.each(['file', 'overlay'] as const)('behaves as an array of sectors (%s)', (sort) => {
    fc.assert(
      fc.property(requests, (list) => {
        const { open, content } = sort === 'file' ? disk() : overlay();
        const base = Buffer.from(content);
        const bench = onDisk(open);
        for (const { write: writes, at, sectors, cuts } of list) {
          const count = Math.min(sectors, 256 - at) * sector;
          const range = content.subarray(at * sector, at * sector + count);
          if (writes) {
            const data = randomBytes(count);
            const parts: Buffer[] = [];
            for (let from = 0, lengths = cut(count, cuts); from < count; from += parts.at(-1)!.length) {
              parts.push(data.subarray(from, from + lengths[parts.length]!));
            }
            expect(ask(bench, write(at, ...parts)).status).toBe(BlkStatus.ok);
            data.copy(range);
          } else {
            const answer = ask(bench, read(at, ...cut(count, cuts)));
            expect(answer.status).toBe(BlkStatus.ok);
            expect(answer.data.equals(range)).toBe(true);
          }
        }
        const whole = ask(bench, read(0, diskSize));
        expect(whole.data.equals(content)).toBe(true);
        if (open.kind === 'overlay') {
          const now = Buffer.alloc(diskSize);
          expect(readAll(open.layers[0]!.fd, now).equals(base)).toBe(true);
        }
        for (const cleanup of cleanups.splice(0).reverse()) cleanup();
      }),
      { numRuns: 25 },
    );
  });

  maybe('requests make no garbage', { timeout: 60_000 }, () => {
    const { open } = disk();
    const bench = onDisk(open);
    const { driver } = bench;
    const head = driver.offer(read(5, 512, 512));
    bench.run();
    // The same chain again and again, by the plainest driver there is: the mock's own objects are not to be counted.
    const chain = driver.chains.get(head)!;
    const ring = new Uint16Array(driver.ram.bytes.buffer, driver.avail, 2 + driver.size);
    const run = (requests: number) => {
      for (let i = 0; i < requests; i++) {
        const published = ring[1]!;
        ring[2 + (published % driver.size)] = head;
        ring[1] = published + 1;
        bench.step();
      }
    };
    expect(chain).toHaveLength(4);
    // A few numbers beyond 31 bits are boxed on their way; no object, array or closure per request.
    expect(bytesPerOperation(run)).toBeLessThan(64);
    expect(bench.counters[BlkCounter.errors]).toBe(0);
  });
});

function readAll(fd: number, into: Buffer): Buffer {
  readSync(fd, into, 0, into.length, 0);
  return into;
}

describe('requests that are refused', () => {
  const refused: [string, MockBuffer[]][] = [
    ['T11: past the end', read(255, 1024)],
    ['T11: far past the end', read(2 ** 40, 512)],
    [
      'T25: a sector number of 2^63',
      [readable(Buffer.concat([header(Type.in), Buffer.alloc(0)]).fill(0x80, 15)), writable(512), writable(1)],
    ],
    [
      'T25: a sector number that wraps',
      [readable(Buffer.concat([header(Type.in)]).fill(0xff, 8)), writable(512), writable(1)],
    ],
    ['half a sector', read(0, 256)],
    ['a write past the end', write(256, Buffer.alloc(512))],
    ['a write of half a sector', write(0, Buffer.alloc(513))],
  ];
  test.each(refused)('%s', (_name, buffers) => {
    const { open, content, path } = disk();
    const { bench, engine } = scripted(open);
    const answer = ask(bench, buffers);
    expect([answer.status, answer.length]).toEqual([BlkStatus.ioError, 1]);
    expect(engine.log).toEqual([]);
    expect(readFileSync(path).equals(content)).toBe(true);
    expect(bench.violations).toEqual([undefined]);
    expect(bench.counters[BlkCounter.errors]).toBe(1);
  });

  test('T11: exactly the sectors of the disk can be reached', () => {
    const { bench, engine } = scripted(disk().open);
    fc.assert(
      fc.property(
        fc.constantFrom(0, 250, 2 ** 32, 2 ** 40, 2 ** 53 - 8).chain((base) => fc.nat(7).map((near) => base + near)),
        fc.nat(8),
        fc.boolean(),
        (at, sectors, writes) => {
          const before = engine.log.length;
          const buffers = writes ? write(at, Buffer.alloc(sectors * sector)) : read(at, sectors * sector);
          const allowed = at + sectors <= diskSize / sector;
          expect(ask(bench, buffers).status).toBe(allowed ? BlkStatus.ok : BlkStatus.ioError);
          for (const { offset, length } of engine.log.slice(before))
            expect(offset + length).toBeLessThanOrEqual(diskSize);
        },
      ),
    );
  });

  test('T17: writes to a read-only disk, whatever the driver negotiated', () => {
    const { open } = disk(true);
    const { bench, engine } = scripted(open, [BlkFeature.flush]);
    expect(ask(bench, write(0, Buffer.alloc(512))).status).toBe(BlkStatus.ioError);
    expect(engine.log).toEqual([]);
    expect(ask(bench, read(0, 512)).status).toBe(BlkStatus.ok);
  });

  test('unknown types, with their answer', () => {
    const { bench } = scripted(disk().open);
    expect(ask(bench, [readable(header(Type.discard)), readable(16), writable(1)]).status).toBe(BlkStatus.unsupported);
    expect(ask(bench, [readable(header(0xffff_ffff)), writable(1)]).status).toBe(BlkStatus.unsupported);
  });

  test('without a header or a status byte the driver has broken the protocol', () => {
    for (const buffers of [[readable(15), writable(513)], [readable(header(Type.in))], [writable(513)]]) {
      const { bench, driver } = scripted(disk().open);
      driver.offer(buffers);
      bench.start();
      expect(bench.violations[0]).toMatch(/no header or no status byte/);
    }
  });

  test('reads and writes of nothing are done at once', () => {
    const { bench, engine } = scripted(disk().open);
    expect(ask(bench, read(0)).status).toBe(BlkStatus.ok);
    expect(ask(bench, write(256)).status).toBe(BlkStatus.ok);
    expect(ask(bench, read(257)).status).toBe(BlkStatus.ioError);
    expect(engine.log).toEqual([]);
  });
});

describe('the identity', () => {
  test('is 20 bytes, padded with zeroes', () => {
    const { bench } = scripted(disk().open);
    const answer = ask(bench, [readable(header(Type.getId)), writable(20), writable(1)]);
    expect(answer.status).toBe(BlkStatus.ok);
    expect(answer.data.toString('latin1')).toBe('serial-0'.padEnd(20, '\0'));
    expect(answer.length).toBe(21);
  });

  test.each(['', 'twenty bytes exactly', 'more than twenty bytes of it'])('may have any length (%j)', (id) => {
    const { open } = disk();
    const engine = new ScriptedEngine();
    const bench = new DeviceBench(new BlkDevice({ disk: open, id }), mappedRam(0x10_0000), {
      engine,
      config: new Uint8Array(64),
    });
    cleanups.push(() => bench.close());
    const answer = ask(bench, [readable(header(Type.getId)), writable(20), writable(1)]);
    expect(answer.data.toString('latin1')).toBe(id.slice(0, 20).padEnd(20, '\0'));
  });

  test('is cut to what the driver has room for', () => {
    const { bench } = scripted(disk().open);
    expect(ask(bench, [readable(header(Type.getId)), writable(7)]).data.toString()).toBe('serial');
  });
});

describe('T39: large requests', () => {
  const mebibyte = 2 ** 20;
  const size = 64 * mebibyte;
  function large() {
    const path = newPath();
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
    ftruncateSync(fd, size);
    cleanups.push(() => closeSync(fd));
    return scripted({ kind: 'file', fd, size, readOnly: false }, writeback, 64 * mebibyte);
  }

  test('are performed in parts, one after the other', () => {
    const { bench, engine, driver } = large();
    driver.offer(read(0, 2 * mebibyte, mebibyte));
    bench.run();
    expect(engine.log.map(({ offset }) => offset / mebibyte)).toEqual([0, 1, 2]);
    expect(driver.collect()).toHaveLength(1);
    expect(bench.counters[BlkCounter.bytesRead]).toBe(3 * mebibyte);
  });

  test('have no more than a few mebibytes under way at a time, and all get their turn', () => {
    const { bench, engine, driver } = large();
    for (let i = 0; i < 40; i++) driver.offer(read(i, mebibyte));
    bench.start();
    expect(engine.waiting).toHaveLength(8);
    bench.run();
    expect(driver.collect()).toHaveLength(40);
  });
});

describe('what the kernel answers', () => {
  test('short transfers go on where they stopped, between two files too', () => {
    const { open, content } = overlay();
    const { bench, engine } = scripted(open);
    for (const limit of [1, 100, 511, 512, 700]) {
      engine.limit = limit;
      const data = randomBytes(1536);
      const at = limit % 200;
      expect(ask(bench, write(at + 1, data.subarray(0, 1000), data.subarray(1000))).status).toBe(BlkStatus.ok);
      data.copy(content, (at + 1) * sector);
      const answer = ask(bench, read(at, 700, 836, 1024));
      expect(answer.data.equals(content.subarray(at * sector, (at + 5) * sector))).toBe(true);
    }
  });

  test('short transfers go on where they stopped', () => {
    const { open, content, path } = disk();
    const { bench, engine } = scripted(open);
    for (const limit of [1, 100, 511, 512, 700]) {
      engine.limit = limit;
      expect(ask(bench, read(2, 300, 212, 1024)).data.equals(content.subarray(2 * sector, 5 * sector))).toBe(true);
      const data = randomBytes(1536);
      expect(ask(bench, write(20, data.subarray(0, 1000), data.subarray(1000))).status).toBe(BlkStatus.ok);
      expect(
        readFileSync(path)
          .subarray(20 * sector, 23 * sector)
          .equals(data),
      ).toBe(true);
    }
  });

  test('an error fails the request and is told to the host', () => {
    const { bench, engine, driver } = scripted(disk().open);
    for (const buffers of [read(4, 512), write(4, Buffer.alloc(512)), flush()]) {
      driver.offer(buffers);
      bench.start();
      if (engine.waiting.length > 0) engine.complete(-Errno.EIO);
    }
    bench.run();
    const statuses = driver.collect().map(({ buffers, length }) => [driver.read(buffers.at(-1)!)[0], length]);
    expect(statuses).toEqual([
      [BlkStatus.ioError, 1],
      [BlkStatus.ioError, 1],
      [BlkStatus.ioError, 1],
    ]);
    expect(bench.warnings).toEqual([
      'host: disk read at byte 2048 failed: EIO',
      'host: disk write at byte 2048 failed: EIO',
      'host: disk flush failed: EIO',
    ]);
  });

  test.each(['EIO', 'ENOSPC', 'EDQUOT', 'ESTALE', 'EFBIG', 'EROFS'] as const)(
    '%s is an I/O error of its request alone, and a warning that names it',
    (name) => {
      const { open } = disk();
      const { bench, engine } = scripted(open);
      for (const at of [1, 2]) bench.driver.offer(write(at, Buffer.alloc(512)));
      bench.start();
      engine.complete(-system.errno[name]);
      engine.complete(512);
      bench.run();
      const statuses = bench.driver.collect().map(({ buffers }) => bench.driver.read(buffers.at(-1)!)[0]);
      expect(statuses.sort()).toEqual([BlkStatus.ok, BlkStatus.ioError]);
      expect(bench.warnings).toEqual([`host: disk write at byte 512 failed: ${name}`]);
    },
  );

  test('with stopOnError the guest gets no answer, and the machine is to end', () => {
    const { open } = disk();
    const engine = new ScriptedEngine();
    const config = blkConfig({ name: 'blk0', size: open.size, readOnly: open.readOnly });
    const bench = new DeviceBench(
      new BlkDevice({ disk: open, id: 'serial-0', stopOnError: true }),
      mappedRam(0x40_0000),
      {
        engine,
        features: writeback,
        config,
        queueSize: 256,
        maxChain: 256,
      },
    );
    cleanups.push(() => bench.close());
    expect(ask(bench, read(255, 1024)).status).toBe(BlkStatus.ioError); // the driver's own mistake
    expect(bench.failures).toEqual([]);
    for (const at of [1, 2, 3]) bench.driver.offer(write(at, Buffer.alloc(512)));
    bench.start();
    engine.complete(-Errno.EIO);
    bench.run();
    bench.driver.offer(flush());
    bench.start();
    expect(engine.waiting).toEqual([]);
    expect(bench.driver.collect()).toEqual([]);
    expect(bench.failures).toEqual(['a disk write failed: EIO']);
    expect(bench.warnings).toEqual(['host: disk write at byte 512 failed: EIO']);
  });

  test('a file that was truncated fails reads past its end', () => {
    const { open } = disk();
    ftruncateSync((open as { fd: number }).fd, 1000);
    const { bench } = scripted(open);
    expect(ask(bench, read(0, 1024)).status).toBe(BlkStatus.ioError);
    expect(bench.warnings).toHaveLength(1);
  });
});

describe('the write cache (contract §5.3)', () => {
  const RWF_DSYNC = 2;
  const flagsOf = (features: number[], cache?: number): number => {
    const { bench, engine } = scripted(disk().open, features);
    if (cache !== undefined) bench.config[writebackOffset] = cache;
    ask(bench, write(0, Buffer.alloc(512)));
    return engine.log[0]!.flags;
  };

  test('a driver that flushes gets a cache', () => {
    expect(flagsOf([BlkFeature.flush])).toBe(0);
    expect(flagsOf([BlkFeature.flush, BlkFeature.configWce])).toBe(0);
  });

  test('one that does not, or turned it off, gets durable writes', () => {
    expect(flagsOf([])).toBe(RWF_DSYNC);
    expect(flagsOf([BlkFeature.configWce])).toBe(RWF_DSYNC);
    expect(flagsOf([BlkFeature.flush, BlkFeature.configWce], 0)).toBe(RWF_DSYNC);
  });

  test('configuration shows it, and a reset turns it on again', () => {
    const { bench } = scripted(disk().open, [BlkFeature.configWce]);
    expect(bench.config[writebackOffset]).toBe(0);
    bench.device.stop();
    expect(bench.config[writebackOffset]).toBe(1);
  });

  test('a flush syncs the file; an ephemeral disk has nothing to sync', () => {
    const plain = scripted(disk().open);
    expect(ask(plain.bench, flush()).status).toBe(BlkStatus.ok);
    expect(plain.engine.log.map(({ operation }) => operation)).toEqual(['dataSync']);
    const ephemeral = scripted(overlay().open, []);
    expect(ask(ephemeral.bench, flush()).status).toBe(BlkStatus.ok);
    expect(ask(ephemeral.bench, write(0, Buffer.alloc(512))).status).toBe(BlkStatus.ok);
    expect(ephemeral.engine.log.map(({ operation, flags }) => [operation, flags])).toEqual([['write', 0]]);
  });
});

describe('reset with requests in flight', () => {
  test('T9: a request goes on by what it said at first, whatever is written over it meanwhile', () => {
    const { open, content, path } = disk();
    const { bench, engine, driver } = scripted(open);
    engine.limit = 512;
    const head = driver.offer(read(4, 1024));
    bench.start();
    const [request, data, status] = driver.chains.get(head)! as [Placed, Placed, Placed];
    driver.ram.bytes.set(header(Type.out, 9), request.address);
    for (let i = 0; i < 3; i++) driver.describe(i, 0x1000, 0xffff_ffff, 7, 0);
    bench.run();
    expect(engine.log.map(({ operation, offset }) => [operation.slice(0, 4), offset])).toEqual([
      ['read', 4 * sector],
      ['read', 5 * sector],
    ]);
    expect(Buffer.from(driver.read(data)).equals(content.subarray(4 * sector, 6 * sector))).toBe(true);
    expect(driver.read(status)[0]).toBe(BlkStatus.ok);
    expect(readFileSync(path).equals(content)).toBe(true);
    expect(driver.collect().map(({ length }) => length)).toEqual([1025]);
  });

  test('T53: late completions touch neither guest memory nor rings, and free their places', () => {
    const { bench, engine, driver } = scripted(disk().open);
    const heads = Array.from({ length: 80 }, (_, i) => driver.offer(read(i, 512)));
    bench.start();
    expect(engine.waiting).toHaveLength(80);
    const status = driver.chains.get(heads[0]!)!.at(-1)!;
    driver.ram.bytes[status.address] = 0xee;
    bench.device.stop();
    const before = Buffer.from(driver.ram.bytes.subarray(0x1000, driver.chains.get(heads[0]!)![0]!.address));
    while (engine.waiting.length > 0) engine.complete(512);
    expect(driver.ram.bytes[status.address]).toBe(0xee);
    expect(Buffer.from(driver.ram.bytes.subarray(0x1000, 0x1000 + before.length)).equals(before)).toBe(true);
  });

  test('the next driver finds all places free', () => {
    const { bench, engine, driver } = scripted(disk().open);
    for (let i = 0; i < 80; i++) driver.offer(read(i, 512));
    bench.start();
    bench.device.stop();
    while (engine.waiting.length > 0) engine.complete(-Errno.EIO);
    expect(bench.warnings).toEqual([]);
    const again = new DeviceBench(bench.device, mappedRam(0x20_0000), {
      engine,
      features: writeback,
      config: bench.config,
      queueSize: 256,
      maxChain: 256,
    });
    for (let i = 0; i < 80; i++) again.driver.offer(read(i, 512));
    again.run();
    expect(again.driver.collect()).toHaveLength(80);
    again.ram.close();
  });
});

describe('an ephemeral disk', () => {
  test('with a limit refuses new blocks beyond it, and keeps what it has', () => {
    const { open, content, overlay: fd } = overlay(4096);
    const { bench } = scripted(open);
    const data = randomBytes(4 * sector);
    expect(ask(bench, write(10, data)).status).toBe(BlkStatus.ok);
    expect(ask(bench, write(50, data.subarray(0, 512))).status).toBe(BlkStatus.ioError);
    expect(bench.warnings[0]).toMatch(/ENOSPC/);
    expect(ask(bench, write(11, data.subarray(0, 512))).status).toBe(BlkStatus.ok);
    expect(ask(bench, read(50, 512)).data.equals(content.subarray(50 * sector, 51 * sector))).toBe(true);
    expect(fstatSync(fd).size).toBe(diskSize);
  });
});

describe('what the driver finds', () => {
  const options = { name: 'blk0', size: 10 * 2 ** 30, readOnly: false };

  test('configuration as virtio 1.2 §5.2.4', () => {
    const config = Buffer.from(blkConfig(options));
    expect(config.readBigUInt64LE(0)).toBe(BigInt(options.size / 512));
    expect(config.readUInt32LE(12)).toBe(254);
    expect(config.readUInt32LE(20)).toBe(512);
    expect([config[24], config[25], config.readUInt16LE(26)]).toEqual([3, 0, 8]);
    expect(config[32]).toBe(1);
    expect(config.readUInt16LE(34)).toBe(1);
    expect(config.length).toBe(blkShape(options).configSize);
  });

  test('blocks of 4096 bytes, with the capacity in sectors all the same', () => {
    const config = Buffer.from(blkConfig({ ...options, blockSize: 4096 }));
    expect(config.readBigUInt64LE(0)).toBe(BigInt(options.size / 512));
    expect(config.readUInt32LE(20)).toBe(4096);
    expect([config[24], config[25], config.readUInt16LE(26)]).toEqual([0, 0, 1]);
  });

  test('features follow what the disk is', () => {
    const shape = blkShape(options);
    expect(hasFeature(shape.features, BlkFeature.readOnly)).toBe(false);
    expect(hasFeature(shape.features, BlkFeature.flush)).toBe(true);
    expect(hasFeature(shape.features, BlkFeature.multiQueue)).toBe(false);
    expect(shape.writableConfig).toEqual([writebackOffset]);
    const readOnly = blkShape({ ...options, readOnly: true, queues: 4 });
    expect(hasFeature(readOnly.features, BlkFeature.readOnly)).toBe(true);
    expect(hasFeature(readOnly.features, BlkFeature.multiQueue)).toBe(true);
    expect(readOnly.queueSizes).toEqual([256, 256, 256, 256]);
    expect(readOnly.writableConfig).toEqual([]);
  });
});
