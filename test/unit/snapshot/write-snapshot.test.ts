/** What is written is what is read again. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { TsvmmError } from '../../../src/errors.js';
import { GuestRam, type Piece } from '../../../src/memory/ram.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { mappable } from '../../../src/snapshot/mappable.js';
import { integer, type JsonValue, object } from '../../../src/snapshot/schema.js';
import { verifySnapshot } from '../../../src/snapshot/verify-snapshot.js';
import { diskReference, type SnapshotDisk, writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { openTargets } from '../../support/descriptors.js';
import { allocated, contentOf, MIB, page, pattern, ramOf, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());
let count = 0;
const fresh = (): string => `round${count++}`;

test('a machine is written and read again: description, sections, memory, disks', async () => {
  const data = pattern(3 * page, 5);
  const layer = bench.layer(8 * MIB, { [page]: data, [5 * MIB]: data });
  writeFileSync(bench.path('image'), 'a disk');
  const disks: SnapshotDisk[] = [
    { kind: 'empty' },
    await diskReference(bench.path('image')),
    { kind: 'copy', write: async (path) => writeFileSync(path, pattern(3 * MIB, 9)), digests: true },
    { kind: 'copy', write: async (path) => writeFileSync(path, 'without digests'), digests: false },
  ];
  const pieces = [{ offset: 0, length: 8 * MIB, layer, layerOffset: 0 }];
  const content = contentOf(pieces, { disks, machine: { cpus: 3, name: 'ünïcode "quoted" \u0007' } });
  const before = Date.now();
  await using snapshot = await bench.write('whole', content);
  expect(snapshot.machine(object({ cpus: integer(1, 8), name: (value) => value as string }))).toEqual(content.machine);
  expect(Date.parse(snapshot.manifest.createdAt)).toBeGreaterThanOrEqual(before);
  expect([...snapshot.sections.keys()]).toEqual([...content.sections.keys()]);
  for (const [name, bytes] of content.sections) expect(Buffer.from(snapshot.section(name))).toEqual(bytes);
  const ram = Buffer.alloc(8 * MIB);
  ram.set(data, page);
  ram.set(data, 5 * MIB);
  expect(ramOf(snapshot).equals(ram)).toBe(true);
  expect(snapshot.manifest.disks).toEqual([
    { kind: 'empty' },
    disks[1],
    { kind: 'copy', file: 'disk2.raw', size: 3 * MIB, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    { kind: 'copy', file: 'disk3.raw', size: 15 },
  ]);
  expect(statSync(bench.path('whole')).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(bench.path('whole')))
    if (!name.startsWith('disk')) expect(statSync(bench.path(`whole/${name}`)).mode & 0o777, name).toBe(0o600);
  await verifySnapshot(snapshot);
});

test('what is zero takes no room, and is a piece of its own where it is long', async () => {
  const layer = bench.layer(64 * MIB, { [10 * MIB]: pattern(page, 1), [33 * MIB]: Buffer.alloc(2 * MIB) });
  const pieces = [{ offset: 0, length: 64 * MIB, layer, layerOffset: 0 }];
  await using snapshot = await bench.write('sparse', contentOf(pieces));
  expect(statSync(bench.path('sparse/memory.bin'))).toMatchObject({ size: 64 * MIB });
  expect(allocated(bench.path('sparse/memory.bin'))).toBeLessThanOrEqual(16 * 1024);
  expect(snapshot.manifest.memory.pieces).toEqual([
    { length: 10 * MIB },
    { length: 2 * MIB, layer: 0 },
    { length: 52 * MIB },
  ]);
  const hashes = readFileSync(bench.path('sparse/memory.hashes'));
  const digested = Array.from({ length: 32 }, (_, i) =>
    hashes.subarray(i * 32, i * 32 + 32).some((byte) => byte !== 0),
  );
  expect(digested.flatMap((is, index) => (is ? index : []))).toEqual([5]);
});

test('a machine maps what was opened, and keeps it when the snapshot is disposed of', async () => {
  const layer = bench.layer(8 * MIB, { [page]: pattern(page, 7) });
  const snapshot = await bench.write('mapped', contentOf([{ offset: 0, length: 8 * MIB, layer, layerOffset: 0 }]));
  const ram = GuestRam.map(snapshot.memorySize, { pieces: mappable(snapshot) });
  await snapshot[Symbol.asyncDispose]();
  try {
    const { native } = await import('../../../src/host/addon.js');
    const seen = Buffer.alloc(page);
    native().copyOut(ram.hostAddress + page, seen);
    expect(seen).toEqual(pattern(page, 7));
    native().copyIn(ram.hostAddress + page, Buffer.alloc(page));
    await using again = await openSnapshot(bench.path('mapped'));
    await verifySnapshot(again); // what a machine writes is its own
  } finally {
    ram.release();
  }
});

test('memory beyond 4 GiB, in two regions', async () => {
  const size = 6 * 1024 * MIB;
  const far = 5 * 1024 * MIB + 3 * page;
  const layer = bench.layer(size, { [far]: pattern(page, 4), [size - page]: pattern(page, 6) });
  const regions = [
    { start: 0, size: 3 * 1024 * MIB },
    { start: 4 * 1024 * MIB, size: 3 * 1024 * MIB },
  ];
  const pieces = [{ offset: 0, length: size, layer, layerOffset: 0 }];
  await using snapshot = await bench.write('large', contentOf(pieces, { memory: { regions, pieces } }));
  const seen = Buffer.alloc(3 * page);
  snapshot.readMemory(far - page, seen);
  expect(seen).toEqual(Buffer.concat([Buffer.alloc(page), pattern(page, 4), Buffer.alloc(page)]));
  snapshot.readMemory(size - page, seen.subarray(page * 2));
  expect(seen.subarray(page * 2)).toEqual(pattern(page, 6));
  await verifySnapshot(snapshot);
});

/** Layers that are shown in pieces of any size, in any order, at any offset. */
const randomRam = fc
  .array(fc.record({ pages: fc.integer({ min: 1, max: 700 }), shown: fc.boolean(), filled: fc.boolean() }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((runs) => {
    const total = runs.reduce((sum, { pages }) => sum + pages, 0) * page;
    const ram = Buffer.alloc(total);
    const file = Buffer.alloc(total + page);
    let offset = 0;
    const shape = runs.map(({ pages, shown, filled }, index) => {
      const length = pages * page;
      if (shown && filled) {
        const bytes = pattern(length, index);
        if (pages > 2) bytes.fill(0, page, 2 * page);
        ram.set(bytes, offset);
        file.set(bytes, offset + page);
      }
      offset += length;
      return { offset: offset - length, length, shown };
    });
    return { ram, file, shape };
  });

test('any pieces of any layers', async () => {
  await fc.assert(
    fc.asyncProperty(randomRam, async ({ ram, file, shape }) => {
      const layer = bench.layer(file.length, { 0: file });
      const pieces = shape.map(
        ({ offset, length, shown }): Piece =>
          shown ? { offset, length, layer, layerOffset: offset + page } : { offset, length },
      );
      await using snapshot = await bench.write(fresh(), contentOf(pieces));
      expect(ramOf(snapshot).equals(ram)).toBe(true);
      await verifySnapshot(snapshot);
    }),
    { numRuns: 25 },
  );
});

test('any sections and any description', async () => {
  const layer = bench.layer(page);
  const pieces = [{ offset: 0, length: page, layer, layerOffset: 0 }];
  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}([.-][a-z0-9]{1,4}){0,3}$/);
  const sections = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 300 })), { selector: ([key]) => key });
  await fc.assert(
    fc.asyncProperty(sections, fc.jsonValue({ maxDepth: 6 }), async (entries, machine) => {
      const plain = JSON.parse(JSON.stringify(machine)) as JsonValue;
      const content = contentOf(pieces, { sections: new Map(entries), machine: plain });
      await using snapshot = await bench.write(fresh(), content);
      expect(snapshot.manifest.machine).toEqual(plain);
      expect([...snapshot.sections].map(([key, bytes]) => [key, [...bytes]])).toEqual(
        entries.map(([key, bytes]) => [key, [...bytes]]),
      );
    }),
    { numRuns: 50 },
  );
});

test('sections are the bytes of the moment of the call', async () => {
  const state = new Uint8Array(new SharedArrayBuffer(64)).fill(7);
  const layer = bench.layer(page);
  const pieces = [{ offset: 0, length: page, layer, layerOffset: 0 }];
  const done = writeSnapshot(bench.path('moment'), contentOf(pieces, { sections: new Map([['state', state]]) }));
  state.fill(9);
  await done;
  await using snapshot = await openSnapshot(bench.path('moment'));
  expect([...snapshot.section('state')]).toEqual(Array(64).fill(7));
  // A section begins where every kind of view can begin.
  expect(new BigUint64Array(snapshot.section('state').buffer, snapshot.section('state').byteOffset, 8)[0]).toBe(
    0x0707_0707_0707_0707n,
  );
});

test('progress ends at its total, and never goes back', async () => {
  const layer = bench.layer(32 * MIB, { [9 * MIB]: pattern(MIB, 3) });
  const pieces = [{ offset: 0, length: 32 * MIB, layer, layerOffset: 0 }];
  const disks: SnapshotDisk[] = [
    { kind: 'copy', write: async (path) => writeFileSync(path, pattern(5 * MIB, 1)), digests: true },
  ];
  const told: [number, number][] = [];
  const onProgress = (done: number, total: number): unknown => told.push([done, total]);
  await writeSnapshot(bench.path('progress'), contentOf(pieces, { disks }), { onProgress });
  expect(told.length).toBeGreaterThan(16);
  expect(told.at(-1)).toEqual([37 * MIB, 37 * MIB]);
  expect(told.map(([done]) => done)).toEqual(told.map(([done]) => done).sort((a, b) => a - b));
});

describe('refused before anything is written', () => {
  const pieces: Piece[] = [{ offset: 0, length: page }];
  const refusals: [string, string, Parameters<typeof contentOf>[1], string][] = [
    ['a description that is too large', 'big', { machine: 'x'.repeat(2 * MIB) }, 'more than 1048576'],
    ['one that is too deep', 'deep', { machine: JSON.parse('['.repeat(40) + ']'.repeat(40)) as JsonValue }, 'nested'],
    ['a name of a section', 'name', { sections: new Map([['../x', new Uint8Array(1)]]) }, 'state[0].name'],
    ['the name of an unfinished one', `x.tmp-${'0'.repeat(24)}`, {}, 'not whole yet'],
    ['a place that is not there', 'no/where', {}, 'cannot be written'],
  ];
  test.each(refusals)('%s', async (_what, name, more, says) => {
    const before = readdirSync(bench.directory);
    const error = await writeSnapshot(bench.path(name), contentOf(pieces, more)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TsvmmError);
    expect(error).toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT', message: expect.stringContaining(says) });
    expect((error as TsvmmError).hint).toBeTruthy();
    expect(readdirSync(bench.directory)).toEqual(before);
  });

  test('T36: whatever is there already', async () => {
    writeFileSync(bench.path('file'), 'precious');
    const { mkdirSync, symlinkSync } = await import('node:fs');
    mkdirSync(bench.path('empty'));
    symlinkSync('nowhere', bench.path('dangling'));
    for (const name of ['file', 'empty', 'dangling', 'whole'])
      await expect(writeSnapshot(bench.path(name), contentOf(pieces))).rejects.toMatchObject({
        code: 'ERR_TSVMM_SNAPSHOT',
        message: expect.stringContaining('exists already'),
        hint: expect.stringContaining('rm -r'),
      });
    expect(readFileSync(bench.path('file'), 'utf8')).toBe('precious');
    expect(readdirSync(bench.path('empty'))).toEqual([]);
  });
});

test('what comes while it is written stays', async () => {
  const { mkdirSync } = await import('node:fs');
  for (const kind of ['file', 'directory'] as const) {
    const place = bench.path(`late-${kind}`);
    const disks: SnapshotDisk[] = [
      {
        kind: 'copy',
        digests: false,
        async write(path) {
          writeFileSync(path, 'x');
          if (kind === 'file') writeFileSync(place, 'precious');
          else mkdirSync(place);
        },
      },
    ];
    const error = await writeSnapshot(place, contentOf([{ offset: 0, length: page }], { disks })).catch((e) => e);
    expect(error).toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT', message: expect.stringContaining('exists already') });
    if (kind === 'file') expect(readFileSync(place, 'utf8')).toBe('precious');
    else expect(readdirSync(place)).toEqual([]);
    expect(readdirSync(bench.directory).filter((name) => name.includes('.tmp-'))).toEqual([]);
  }
});

test('no descriptor is left open', async () => {
  const files = (): string[] =>
    openTargets()
      .filter((target) => target.startsWith(bench.directory))
      .sort();
  const before = files();
  const snapshot = await openSnapshot(bench.path('whole'));
  expect(files().length).toBeGreaterThan(before.length);
  await snapshot[Symbol.asyncDispose]();
  await snapshot[Symbol.asyncDispose]();
  expect(files()).toEqual(before);
  expect(() => ramOf(snapshot)).toThrow('has been disposed');
  await expect(verifySnapshot(snapshot)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
});
