/** What a disk does before it changes what a copy of it still needs. */
import { randomBytes } from 'node:crypto';
import { fstatSync, mkdtempSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type DiskFile, type DiskFileOptions, openDiskFile } from '../../../../src/disk/disk-file.js';
import type { FrozenContent } from '../../../../src/disk/frozen-content.js';
import { openFrozen } from '../../../../src/disk/frozen-file.js';
import { History, unitBytes } from '../../../../src/disk/history.js';
import { Operation } from '../../../../src/host/engine-slots.js';
import { Errno } from '../../../../src/host/errno.js';
import { BlkDevice } from '../../../../src/virtio/blk/blk.js';
import { BlkFeature, BlkStatus, blkConfig } from '../../../../src/virtio/blk/blk-format.js';
import { bytesPerOperation } from '../../support/allocation.js';
import { ask, cleanups, discard, read, scripted, sector, write, zeroes } from '../../support/blk-disks.js';
import { DeviceBench } from '../../support/device-bench.js';
import { FamilyDisk, settle } from '../../support/disk-family.js';
import { engineFor, engineKinds } from '../../support/engines.js';
import { ShuffledEngine } from '../../support/shuffled-engine.js';
import { mappedRam } from '../../support/test-ram.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-keep-'));
afterAll(() => rmSync(directory, { recursive: true }));

const features = [BlkFeature.flush, BlkFeature.discard, BlkFeature.writeZeroes];
const unitSectors = unitBytes / sector;
const units = 8;
const size = units * unitBytes + 3 * sector;
const { ok, ioError } = BlkStatus;

let files = 0;
async function opened(content: Buffer, options: Omit<DiskFileOptions, 'path'> = {}): Promise<DiskFile> {
  const path = join(directory, `disk${files++}`);
  writeFileSync(path, content);
  const file = await openDiskFile({ path, ...options });
  cleanups.push(() => void file.close());
  return file;
}

const history = (frozen: FrozenContent): History => new History(frozen.layers[0]!.open.past!.history);

/** A disk that has been frozen, on a bench whose kernel is a script. */
async function frozenDisk(content = randomBytes(size), options?: Omit<DiskFileOptions, 'path'>) {
  const file = await opened(content, options);
  const frozen = await file.freeze();
  cleanups.push(() => void frozen.release());
  const { open } = file;
  if (open.kind === 'frozen') throw new Error();
  const fd = open.kind === 'file' ? open.fd : open.overlay;
  const { bench, engine, driver } = scripted(open, features);
  const store = history(frozen).store;
  /** What was asked of the kernel since the last look. */
  let seen = 0;
  const log = () => {
    const news = engine.log.slice(seen).map(({ operation, fd: of, offset, length }) => {
      const where = of === store ? 'store' : of === fd ? 'disk' : 'else';
      return `${operation} ${where} ${offset / sector}+${length / sector}`;
    });
    seen = engine.log.length;
    return news;
  };
  return { file, frozen, content, bench, engine, driver, log, store };
}

test('what is overwritten is copied first, once, whole units of it', async () => {
  const { bench, log, content, store } = await frozenDisk();
  const data = randomBytes(2 * sector);
  expect(ask(bench, write(unitSectors - 1, data)).status).toBe(ok);
  expect(log()).toEqual(['read disk 0+256', 'write store 0+256', `write disk ${unitSectors - 1}+2`]);
  expect(ask(bench, write(5, data)).status).toBe(ok);
  expect(ask(bench, write(unitSectors, data)).status).toBe(ok);
  expect(log()).toEqual(['write disk 5+2', `write disk ${unitSectors}+2`]);
  const kept = Buffer.alloc(2 * unitBytes);
  readSync(store, kept, 0, kept.length, 0);
  expect(kept.equals(content.subarray(0, kept.length))).toBe(true);
});

test('the last unit is as long as the disk', async () => {
  const { bench, log } = await frozenDisk();
  expect(ask(bench, write(units * unitSectors + 2, Buffer.alloc(sector, 1))).status).toBe(ok);
  const at = units * unitSectors;
  expect(log()).toEqual([`read disk ${at}+3`, `write store ${at}+3`, `write disk ${at + 2}+1`]);
});

test('discarded and zeroed ranges are copied as well, in runs of units', async () => {
  const { bench, log } = await frozenDisk();
  expect(ask(bench, discard([1, 6 * unitSectors])).status).toBe(ok);
  expect(log()).toEqual([
    'read disk 0+512',
    'write store 0+512',
    'read disk 512+384',
    'write store 512+384',
    'allocate disk 1+768',
  ]);
  expect(ask(bench, zeroes([0, size / sector, 1])).status).toBe(ok);
  expect(log()).toEqual(['read disk 896+131', 'write store 896+131', 'allocate disk 0+1027']);
});

test('zeroes are not copied into a store: it stays sparse', async () => {
  const { bench, log, store } = await frozenDisk(Buffer.alloc(size));
  expect(ask(bench, write(0, Buffer.alloc(unitBytes, 1))).status).toBe(ok);
  expect(log()).toEqual(['read disk 0+128', 'write disk 0+128']);
  expect(ask(bench, write(0, Buffer.alloc(unitBytes, 2))).status).toBe(ok);
  expect(log()).toEqual(['write disk 0+128']);
  expect(fstatSync(store)).toMatchObject({ blocks: 0, size });
});

test('where an ephemeral disk had nothing there is nothing to keep', async () => {
  const file = await opened(randomBytes(size), { ephemeral: true });
  const first = scripted(file.open, features);
  expect(ask(first.bench, write(3 * unitSectors + 7, Buffer.alloc(sector, 1))).status).toBe(ok);
  const frozen = await file.freeze();
  cleanups.push(() => void frozen.release());
  const { bench, engine } = scripted(file.open, features);
  expect(ask(bench, write(0, Buffer.alloc(3 * unitBytes, 2))).status).toBe(ok);
  expect(engine.log.map(({ operation }) => operation)).toEqual(['write']);
  expect(ask(bench, write(3 * unitSectors, Buffer.alloc(sector, 3))).status).toBe(ok);
  expect(engine.log.map(({ operation }) => operation)).toEqual(['write', 'read', 'write', 'write']);
});

test('an ephemeral disk on which nothing was written is its image, and is not frozen itself', async () => {
  const file = await opened(randomBytes(size), { ephemeral: true });
  const { open } = file;
  const frozen = await file.freeze();
  expect(frozen.layers).toHaveLength(1);
  expect(frozen.layers[0]!.open.past).toBeUndefined();
  expect(file.open).toEqual({ ...open, histories: [] });
  await frozen.release();
});

test('two writes to one unit: the second waits until the first has kept it, and never copies what that wrote', async () => {
  const { bench, engine, driver, log } = await frozenDisk();
  for (const at of [0, 8, 16, unitSectors]) driver.offer(write(at, Buffer.alloc(sector, 1)));
  bench.start();
  expect(log()).toEqual(['read disk 0+128', 'read disk 128+128']);
  engine.complete(); // the first has been read
  expect(log()).toEqual(['write store 0+128']);
  engine.complete(); // the other unit
  engine.complete(); // the first is kept
  expect(log().sort()).toEqual(['write disk 0+1', 'write disk 16+1', 'write disk 8+1', 'write store 128+128']);
  bench.run();
  expect(driver.collect()).toHaveLength(4);
});

test('a copy goes on where the kernel stopped', async () => {
  const { bench, engine, content, store, log } = await frozenDisk();
  engine.limit = 20_000;
  expect(ask(bench, write(0, Buffer.alloc(sector, 1))).status).toBe(ok);
  expect(log()).toHaveLength(4 + 4 + 1);
  const kept = Buffer.alloc(unitBytes);
  readSync(store, kept, 0, kept.length, 0);
  expect(kept.equals(content.subarray(0, unitBytes))).toBe(true);
});

test.each([
  ['the store is full', (operation: string) => operation === 'write', -Errno.ENOSPC, 'ENOSPC'],
  ['the store takes nothing', (operation: string) => operation === 'write', 0, 'EIO'],
  ['the disk cannot be read', (operation: string) => operation === 'read', -Errno.EIO, 'EIO'],
  ['the disk was cut short', (operation: string) => operation === 'read', 0, 'EIO'],
])('%s: the write succeeds, and what is not kept is lost for the copy', async (_what, fails, result, name) => {
  const { file, frozen, bench, engine, driver, log, content } = await frozenDisk();
  expect(ask(bench, write(0, Buffer.alloc(sector, 1))).status).toBe(ok);
  log();
  driver.offer(write(unitSectors, Buffer.alloc(sector, 2)));
  driver.offer(write(unitSectors + 1, Buffer.alloc(sector, 3)));
  bench.start();
  if (!fails('read')) engine.complete();
  engine.complete(result);
  bench.run();
  expect(driver.collect().map(({ buffers }) => driver.read(buffers.at(-1)!)[0])).toEqual([ok, ok]);
  expect(log().filter((line) => line.startsWith('write disk'))).toHaveLength(2);
  expect(ask(bench, write(2 * unitSectors, Buffer.alloc(sector, 4))).status).toBe(ok);
  expect(log()).toEqual(['write disk 256+1']); // nothing is kept any more
  expect(bench.warnings).toEqual([
    `host: what this disk was when it was copied cannot be kept (${name}): its copies cannot read what changes from now on`,
  ]);

  const copy = await openFrozen(frozen);
  cleanups.push(() => void copy.close());
  const { bench: other } = scripted(copy.open, features);
  expect(ask(other, read(0, sector)).data.equals(content.subarray(0, sector))).toBe(true);
  expect(ask(other, read(unitSectors, sector)).status).toBe(ioError);
  expect(ask(other, write(unitSectors, Buffer.alloc(sector, 9))).status).toBe(ok);
  expect(ask(other, read(unitSectors, sector)).data).toEqual(Buffer.alloc(sector, 9));
  expect(other.warnings).toEqual([`host: disk read at byte ${unitBytes} failed: what was there is lost (${name})`]);

  // The next instant is whole again.
  const next = await file.freeze();
  const third = await openFrozen(next);
  cleanups.push(() => void third.close().then(() => next.release()));
  expect(ask(bench, write(3 * unitSectors, Buffer.alloc(sector, 5))).status).toBe(ok);
  expect(log()).toHaveLength(3);
  const { bench: last } = scripted(third.open, features);
  const expected = Buffer.from(content);
  for (const [at, fill] of [
    [0, 1],
    [unitSectors, 2],
    [unitSectors + 1, 3],
    [2 * unitSectors, 4],
  ] as const)
    expected.fill(fill, at * sector, (at + 1) * sector);
  expect(ask(last, read(0, size)).data.equals(expected)).toBe(true);
  expect(ask(other, read(3 * unitSectors, sector)).status).toBe(ioError); // and the earlier one still is not
});

test('a reset in the middle of copies frees every place, and the next driver goes on', async () => {
  const { bench, engine, driver } = await frozenDisk();
  for (let at = 0; at < 40; at++) driver.offer(write((at % 4) * unitSectors + at, Buffer.alloc(sector, 1)));
  bench.start();
  expect(engine.waiting).toHaveLength(4);
  engine.complete();
  bench.device.stop();
  while (engine.waiting.length > 0) engine.complete();
  driver.reset();
  bench.activate();
  for (let i = 0; i < 140; i++) driver.offer(write((i % 4) * unitSectors + i, Buffer.alloc(sector, 2)), 0);
  bench.start();
  bench.run();
  expect(driver.collect()).toHaveLength(140);
  const begun = engine.log.length;
  for (let i = 0; i < 140; i++) driver.offer(read(i, sector), 0);
  bench.start();
  expect(engine.log.length - begun).toBe(128);
  bench.run();
});

test('a copy that reads what is overwritten meanwhile reads it again from where it is kept', async () => {
  const content = randomBytes(size);
  const file = await opened(content);
  const engine = new ShuffledEngine();
  const disk = new FamilyDisk(file, Buffer.from(content), engine);
  const frozen = await disk.freeze();
  const copy = new FamilyDisk(await openFrozen(frozen), Buffer.from(content), engine);
  await frozen.release();
  const log: string[] = [];
  engine.interfere = ({ operation, fd, length }) => {
    const name = Object.entries(Operation).find(([, number]) => number === operation)![0];
    log.push(
      `${name === 'briefWrite' ? 'write' : name} ${fd === (file.open as { fd: number }).fd ? 'disk' : 'else'} ${length / sector}`,
    );
    return undefined;
  };
  // The read is performed before the write, or after it, and completes after it in both cases.
  for (const [unit, readsFirst] of [
    [0, true],
    [1, false],
  ] as const) {
    copy.offer({ do: 'read', at: unit * unitSectors, sectors: 4, fill: 0 });
    copy.bench.start();
    if (readsFirst) engine.turn();
    engine.choose = (count) => count - 1;
    disk.offer({ do: 'write', at: unit * unitSectors, sectors: 4, fill: 7 });
    settle([disk]);
    engine.choose = () => 0;
    settle([copy, disk]);
  }
  const written = ['read disk 128', 'write else 128', 'write disk 4'];
  expect(log).toEqual(['read else 4', ...written, 'read else 4', ...written, 'read else 4', 'read else 4']);
  copy.look();
  for (const each of [copy, disk]) await each.close();
  engine.close();
});

describe.each(engineKinds)('on %s', (kind) => {
  const { maybe, engine } = engineFor(kind);

  maybe(
    'writes to what is kept, and a copy’s reads of it and of the disk, make no garbage',
    { timeout: 60_000 },
    async () => {
      const file = await opened(randomBytes(size));
      const frozen = await file.freeze();
      const copy = await openFrozen(frozen);
      cleanups.push(() => void copy.close().then(() => frozen.release()));
      const benches = [
        { open: file.open, request: write(5, Buffer.alloc(sector, 1)) },
        { open: copy.open, request: read(5, sector) },
        { open: copy.open, request: read(unitSectors, sector) },
      ].map(({ open, request }) => {
        const options = { engine: engine(), features, config: blkConfig({ name: 'a', ...open }) };
        const bench = new DeviceBench(new BlkDevice({ disk: open, id: 'a' }), mappedRam(0x40_0000), options);
        cleanups.push(() => bench.close());
        const { driver } = bench;
        const head = driver.offer(request);
        bench.run();
        const ring = new Uint16Array(driver.ram.bytes.buffer, driver.avail, 2 + driver.size);
        // By the plainest driver there is: the mock's own objects are not to be counted.
        return (): void => {
          const published = ring[1]!;
          ring[2 + (published % driver.size)] = head;
          ring[1] = published + 1;
          bench.step();
        };
      });
      for (const step of benches) {
        const run = (requests: number): void => {
          for (let i = 0; i < requests; i++) step();
        };
        expect(bytesPerOperation(run, 10_000)).toBeLessThan(64);
      }
    },
  );
});
