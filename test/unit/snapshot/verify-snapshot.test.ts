/** Whether memory and disks are what was written: which difference is found, and how it is named. */
import { closeSync, cpSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TsvmmError } from '../../../src/errors.js';
import { writeCrashDump } from '../../../src/snapshot/crash-dump.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { mergeSnapshot } from '../../../src/snapshot/merge-snapshot.js';
import { verifySnapshot } from '../../../src/snapshot/verify-snapshot.js';
import { writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { contentOf, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());

const size = 12 * MIB;
beforeAll(async () => {
  const layer = bench.layer(size, { 0: pattern(5 * MIB, 1), [9 * MIB]: pattern(page, 2) });
  const pieces = [{ offset: 0, length: size, layer, layerOffset: 0 }];
  const disks = [true, false].map((digests) => ({
    kind: 'copy' as const,
    digests,
    write: async (path: string) => writeFileSync(path, pattern(3 * MIB, 4)),
  }));
  await writeSnapshot(bench.path('base'), contentOf(pieces, { disks }));
  await using base = await openSnapshot(bench.path('base'));
  const changed = [
    { offset: 0, length: 4 * MIB, layer: bench.layer(4 * MIB, { 0: pattern(4 * MIB, 3) }), layerOffset: 0 },
    { offset: 4 * MIB, length: size - 4 * MIB, layer, layerOffset: 4 * MIB },
  ];
  await writeSnapshot(bench.path('diff'), contentOf(changed, { parent: { snapshot: base, pieces } }));
});

let count = 0;
/** A copy of both, beside each other. */
function pair(): string {
  const place = bench.path(`pair${count++}`);
  for (const name of ['base', 'diff']) cpSync(bench.path(name), join(place, name), { recursive: true });
  return place;
}
function spoil(file: string, at: number): void {
  const fd = openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Buffer.from([byte[0]! ^ 0x40]), 0, 1, at);
  closeSync(fd);
}
async function failure(directory: string): Promise<TsvmmError> {
  await using snapshot = await openSnapshot(directory);
  return verifySnapshot(snapshot).then(
    () => Promise.reject(new Error('nothing was found')),
    (error: TsvmmError) => error,
  );
}

test('T49: any byte of memory, with the file and where in it', async () => {
  const place = pair();
  const file = join(place, 'base/memory.bin');
  await fc.assert(
    fc.asyncProperty(fc.nat(size - 1), async (at) => {
      spoil(file, at);
      const error = await failure(join(place, 'base'));
      expect(error).toMatchObject({
        code: 'ERR_TSVMM_SNAPSHOT',
        message: expect.stringContaining('memory.bin differs from what was written'),
        details: { directory: join(place, 'base'), file: 'memory.bin', offset: Math.floor(at / (2 * MIB)) * 2 * MIB },
      });
      spoil(file, at);
    }),
    { numRuns: 30 },
  );
});

test('the first of several', async () => {
  const place = pair();
  for (const at of [11 * MIB, 5 * MIB, 3 * MIB]) spoil(join(place, 'base/memory.bin'), at);
  expect((await failure(join(place, 'base'))).details).toMatchObject({ offset: 2 * MIB });
});

test('a byte of a parent, if the difference shows it', async () => {
  const place = pair();
  spoil(join(place, 'base/memory.bin'), MIB);
  await using diff = await openSnapshot(join(place, 'diff'));
  await verifySnapshot(diff); // it has other bytes there
  spoil(join(place, 'base/memory.bin'), 4 * MIB + 5);
  const error = await failure(join(place, 'diff'));
  expect(error.details).toEqual({ directory: join(place, 'base'), file: 'memory.bin', offset: 4 * MIB });
});

test('digests that changed, of memory and of a disk', async () => {
  const place = pair();
  spoil(join(place, 'base/memory.hashes'), 40);
  expect((await failure(join(place, 'base'))).message).toContain('memory.hashes is not what was written');
  expect((await failure(join(place, 'diff'))).message).toContain('memory.hashes is not what was written');
  const other = pair();
  spoil(join(other, 'base/disk0.hashes'), 0);
  expect((await failure(join(other, 'base'))).message).toContain('disk0.hashes is not what was written');
});

test('a byte of a disk; one without digests is not looked at', async () => {
  const place = pair();
  spoil(join(place, 'base/disk1.raw'), 5);
  await using before = await openSnapshot(join(place, 'base'));
  await verifySnapshot(before);
  spoil(join(place, 'base/disk0.raw'), 2 * MIB);
  expect((await failure(join(place, 'base'))).details).toMatchObject({ file: 'disk0.raw', offset: 2 * MIB });
});

test('data where there was none, none where there was data', async () => {
  const place = pair();
  spoil(join(place, 'base/memory.bin'), 7 * MIB);
  expect((await failure(join(place, 'base'))).details).toMatchObject({ offset: 6 * MIB });
  const other = pair();
  const file = join(other, 'base/memory.bin');
  truncateSync(file, 8 * MIB);
  truncateSync(file, size);
  expect((await failure(join(other, 'base'))).details).toMatchObject({ offset: 8 * MIB });
});

describe('what reads memory to write it elsewhere compares it as well', () => {
  test.each([
    ['merging', (place: string) => join(place, 'merged'), mergeSnapshot],
    ['a crash dump', (place: string) => join(place, 'vmcore'), writeCrashDump],
  ] as const)('%s', async (_what, target, act) => {
    const place = pair();
    spoil(join(place, 'base/memory.bin'), 9 * MIB + 1);
    await using diff = await openSnapshot(join(place, 'diff'));
    const { existsSync, readdirSync } = await import('node:fs');
    await expect(act(diff, target(place))).rejects.toMatchObject({
      code: 'ERR_TSVMM_SNAPSHOT',
      details: { file: 'memory.bin', offset: 8 * MIB },
    });
    expect(existsSync(target(place))).toBe(false);
    expect(readdirSync(place).sort()).toEqual(['base', 'diff']);
  });
});

test('an aborted comparison ends with the reason', async () => {
  await using base = await openSnapshot(bench.path('base'));
  const reason = new Error('enough');
  await expect(verifySnapshot(base, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const during = new AbortController();
  const onProgress = (): void => during.abort(reason);
  await expect(verifySnapshot(base, { signal: during.signal, onProgress })).rejects.toBe(reason);
});

test('a snapshot that is disposed of stays open until it is compared', async () => {
  const base = await openSnapshot(bench.path('base'));
  const compared = verifySnapshot(base);
  await base[Symbol.asyncDispose]();
  await compared;
});
