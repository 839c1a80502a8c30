import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type DiskFileOptions, openDiskFile } from '../../../../src/disk/disk-file.js';
import type { OpenDisk } from '../../../../src/disk/disk-map.js';
import { DIRECT } from '../../../../src/host/engine-slots.js';
import { BlkDevice } from '../../../../src/virtio/blk/blk.js';
import { BlkFeature, BlkStatus, blkConfig, writebackOffset } from '../../../../src/virtio/blk/blk-format.js';
import { bounceBytes } from '../../../../src/virtio/blk/bounce.js';
import {
  ask,
  cleanups,
  discard,
  disk,
  diskSize,
  flush,
  newPath,
  overlay,
  read,
  scripted,
  sector,
  write,
  zeroes,
} from '../../support/blk-disks.js';
import { DeviceBench } from '../../support/device-bench.js';
import { engineKinds, ioUringMissing, type TestEngine, testEngine } from '../../support/engines.js';
import { mappedRam } from '../../support/test-ram.js';

if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

const features = [BlkFeature.flush, BlkFeature.configWce, BlkFeature.discard, BlkFeature.writeZeroes];
const RWF_DSYNC = 2;

/** A disk of random content, opened as main does it. */
async function opened(options: Omit<DiskFileOptions, 'path'>): Promise<{ open: OpenDisk; content: Buffer }> {
  const path = newPath();
  const content = randomBytes(diskSize);
  writeFileSync(path, content);
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
  const file = await openDiskFile({ path, ...options });
  cleanups.push(() => void file.close());
  return { open: file.open, content };
}

const whyNoDirect = await opened({ cache: 'direct' }).then(
  () => undefined,
  (error: Error) => error.message,
);
for (const cleanup of cleanups.splice(0)) cleanup();
if (whyNoDirect !== undefined) console.warn(`skipped: ${whyNoDirect}`);

describe.each(engineKinds)('direct I/O on %s', (kind) => {
  const maybe = test.skipIf(whyNoDirect !== undefined || (kind === 'io_uring' && ioUringMissing !== undefined));
  let held: TestEngine;
  beforeAll(async () => {
    if (kind === 'epoll' || ioUringMissing === undefined) held = await testEngine(kind);
  });
  afterAll(() => held?.close());
  const onDisk = (open: OpenDisk): DeviceBench => {
    const config = blkConfig({ name: 'blk0', size: open.size, readOnly: open.readOnly });
    const options = { engine: held.engine, features, config, queueSize: 256, maxChain: 256 };
    const bench = new DeviceBench(new BlkDevice({ disk: open, id: 'serial-0' }), mappedRam(0x40_0000), options);
    cleanups.push(() => bench.close());
    return bench;
  };

  const step = fc.record({
    do: fc.constantFrom('read', 'write', 'zeroes'),
    at: fc.nat(31),
    blocks: fc.integer({ min: 1, max: 31 }),
    cuts: fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 4 }),
    aligned: fc.boolean(),
    cache: fc.constantFrom(0, 1),
  });

  // Blocks of 4096 bytes: right for whatever unit the file system under the tests has.
  maybe.each([false, true])('a disk is an array of blocks wherever buffers are (ephemeral: %s)', async (ephemeral) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (list) => {
        const { open, content } = await opened({ cache: 'direct', ephemeral });
        expect(open.direct).toBeDefined();
        const bench = onDisk(open);
        for (const { do: what, at, blocks, cuts, aligned, cache } of list) {
          bench.config[writebackOffset] = cache;
          const bytes = Math.min(blocks, 32 - at) * 4096;
          const range = content.subarray(at * 4096, at * 4096 + bytes);
          // The header ends where a page does, so that the data begins with one.
          if (aligned) bench.driver.place(4096 - 16, 4096);
          const parts: number[] = [];
          let left = bytes;
          for (const cut of aligned ? [] : cuts) {
            if (cut >= left) continue;
            parts.push(cut);
            left -= cut;
          }
          parts.push(left);
          if (what === 'read') {
            const answer = ask(bench, read(at * 8, ...parts));
            expect([answer.status, answer.data.equals(range)]).toEqual([BlkStatus.ok, true]);
          } else if (what === 'write') {
            randomBytes(bytes).copy(range);
            const pieces: Buffer[] = [];
            for (let from = 0; from < bytes; from += pieces.at(-1)!.length)
              pieces.push(range.subarray(from, from + parts[pieces.length]!));
            expect(ask(bench, write(at * 8, ...pieces)).status).toBe(BlkStatus.ok);
          } else {
            range.fill(0);
            expect(ask(bench, zeroes([at * 8, bytes / sector])).status).toBe(BlkStatus.ok);
          }
        }
        expect(ask(bench, flush()).status).toBe(BlkStatus.ok);
        expect(ask(bench, read(0, diskSize)).data.equals(content)).toBe(true);
        expect(bench.warnings).toEqual([]);
        for (const cleanup of cleanups.splice(0).reverse()) cleanup();
      }),
      { numRuns: 15 },
    );
  });

  maybe('many requests at once, of aligned and other buffers', async () => {
    const { open, content } = await opened({ cache: 'direct' });
    const bench = onDisk(open);
    const { driver } = bench;
    for (let i = 0; i < 32; i++) {
      if (i % 2 === 0) driver.place(4096 - 16, 4096);
      driver.offer(read(i * 8, 4096));
    }
    bench.run();
    for (const { buffers } of driver.collect()) {
      const at = Buffer.from(driver.read(buffers[0]!)).readUInt32LE(8) * sector;
      expect(content.subarray(at, at + 4096).equals(driver.read(buffers[1]!))).toBe(true);
    }
    expect(bench.inFlight).toBe(0);
  });
});

describe('what is asked of the kernel', () => {
  const direct = { memory: 512, offset: 4096 } as const;
  const open = (): OpenDisk => ({ ...(disk().open as OpenDisk & { kind: 'file' }), direct });

  test('requests for parts of a block are refused, with nothing begun', () => {
    const { bench, engine } = scripted(open(), features);
    const data = Buffer.alloc(4096);
    for (const buffers of [read(1, 4096), read(0, 512), write(4, data), write(8, data.subarray(512))])
      expect(ask(bench, buffers).status).toBe(BlkStatus.ioError);
    for (const buffers of [zeroes([0, 7]), discard([4, 8])]) expect(ask(bench, buffers).status).toBe(BlkStatus.ioError);
    expect(engine.log).toEqual([]);
    expect(ask(bench, read(8, 4096)).status).toBe(BlkStatus.ok);
  });

  test("aligned buffers are the guest's own, others are copied in bounded parts", () => {
    const { bench, engine } = scripted({ ...open(), size: diskSize }, features);
    bench.driver.place(4096 - 16, 4096);
    ask(bench, read(0, 65_536 + 4096));
    expect(engine.log.map(({ length }) => length)).toEqual([65_536 + 4096]);
    bench.driver.place(4096 - 15, 4096);
    ask(bench, read(0, 65_536 + 4096));
    expect(engine.log.slice(1).map(({ length, address }) => [length, address % 4096])).toEqual([
      [bounceBytes, 0],
      [4096, 0],
    ]);
  });

  test('short transfers go on where they stopped, through the copies too', () => {
    const { open: plain, content } = disk();
    const { bench, engine } = scripted({ ...(plain as OpenDisk & { kind: 'file' }), direct }, features);
    engine.limit = 1536;
    const data = randomBytes(8192);
    expect(ask(bench, write(8, data.subarray(0, 5000), data.subarray(5000))).status).toBe(BlkStatus.ok);
    data.copy(content, 4096);
    expect(ask(bench, read(0, 100, 8092, 4096)).data.equals(content.subarray(0, 12_288))).toBe(true);
  });

  test('what was copied of memory that the host has lost is not written', () => {
    const { bench, engine } = scripted(open(), features);
    bench.driver.place(4096 - 15, 4096);
    vi.spyOn(bench.memory, 'isLost', 'get').mockReturnValue(true);
    expect(ask(bench, write(0, Buffer.alloc(4096))).status).toBe(BlkStatus.ioError);
    expect(engine.log).toEqual([]);
  });

  test('every operation says that it waits for the device; durable ones are so', () => {
    const { bench, engine } = scripted(open(), features);
    ask(bench, read(0, 4096));
    bench.config[writebackOffset] = 0;
    ask(bench, write(0, Buffer.alloc(4096)));
    expect(engine.log.map(({ flags }) => flags)).toEqual([DIRECT, DIRECT | RWF_DSYNC]);
  });

  test('of an ephemeral disk only the base is read so', () => {
    const plain = overlay().open as OpenDisk & { kind: 'overlay' };
    const layers = plain.layers.map((layer) => ({ ...layer, direct: true }));
    const { bench, engine } = scripted({ ...plain, layers, direct }, features);
    ask(bench, write(0, Buffer.alloc(4096)));
    ask(bench, read(0, 8192));
    expect(engine.log.map(({ operation, flags }) => [operation, flags])).toEqual([
      ['write', 0],
      ['read', 0],
      ['read', DIRECT],
    ]);
  });

  test('after a reset nothing is copied into the memory of the guest', () => {
    const { bench, engine, driver } = scripted(open(), features);
    const head = driver.offer(read(0, 4096));
    bench.start();
    const data = driver.chains.get(head)![1]!;
    driver.ram.bytes.fill(0xee, data.address, data.address + 4096);
    bench.device.stop();
    engine.complete();
    expect(driver.read(data).every((byte) => byte === 0xee)).toBe(true);
  });
});

describe('an unsafe disk', () => {
  test('flushes nothing and makes nothing durable, and is written all the same', () => {
    const { open, path } = disk();
    const { bench, engine } = scripted({ ...(open as OpenDisk & { kind: 'file' }), unsafe: true }, features);
    const data = randomBytes(sector);
    bench.config[writebackOffset] = 0;
    expect(ask(bench, write(0, data)).status).toBe(BlkStatus.ok);
    expect(ask(bench, flush()).status).toBe(BlkStatus.ok);
    expect(ask(bench, zeroes([8, 8])).status).toBe(BlkStatus.ok);
    expect(engine.log.map(({ operation, flags }) => [operation, flags & RWF_DSYNC])).toEqual([
      ['write', 0],
      ['allocate', 0],
    ]);
    expect(readFileSync(path).subarray(0, sector).equals(data)).toBe(true);
  });
});
