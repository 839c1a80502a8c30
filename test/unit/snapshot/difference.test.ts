/** Snapshots that are only the difference to others: what is shared, what is not, and how they become whole again. */
import { readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { PageFile } from '../../../src/memory/layer.js';
import type { Piece } from '../../../src/memory/ram.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { chunkSize, digestSize } from '../../../src/snapshot/manifest.js';
import { type PlannedPiece, planMemory, withHoles } from '../../../src/snapshot/memory-plan.js';
import { mergeSnapshot } from '../../../src/snapshot/merge-snapshot.js';
import type { OpenSnapshot } from '../../../src/snapshot/open-snapshot.js';
import { verifySnapshot } from '../../../src/snapshot/verify-snapshot.js';
import { type SnapshotDisk, writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { allocated, contentOf, MIB, page, pattern, ramOf, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());
let count = 0;
const fresh = (): string => `snapshot${count++}`;

/** RAM as a machine has it: it writes, freezes what it wrote into a new layer, and is written to a snapshot. */
class FakeMachine {
  readonly ram: Buffer;
  pieces: Piece[];

  constructor(size: number, pieces: readonly Piece[] = [{ offset: 0, length: size }]) {
    this.ram = Buffer.alloc(size);
    this.pieces = [...pieces];
  }

  /** Writes to pages and freezes: they are shown by a new layer from then on, each at its own place in it. */
  freeze(written: readonly { readonly page: number; readonly bytes: Buffer }[]): void {
    for (const { page: at, bytes } of written) this.ram.set(bytes, at * page);
    const ranges = written.map(({ page: at, bytes }) => ({ offset: at * page, length: bytes.length }));
    const layer = bench.layer(this.ram.length);
    for (const { offset, length } of ranges) {
      writeSync(layer.fd, this.ram, offset, length, offset);
      this.#show({ offset, length, layer, layerOffset: offset });
    }
  }

  #show(piece: Piece): void {
    const end = piece.offset + piece.length;
    const cut = (old: Piece, from: number, to: number): Piece[] =>
      from >= to
        ? []
        : [{ ...old, offset: from, length: to - from, layerOffset: (old.layerOffset ?? 0) + from - old.offset }];
    this.pieces = this.pieces
      .flatMap((old) => {
        const oldEnd = old.offset + old.length;
        if (oldEnd <= piece.offset || old.offset >= end) return [old];
        return [...cut(old, old.offset, piece.offset), ...cut(old, end, oldEnd)];
      })
      .concat(piece)
      .sort((a, b) => a.offset - b.offset);
  }
}

test('only what changed is written, and the rest is where it was', async () => {
  const machine = new FakeMachine(64 * MIB);
  machine.freeze([{ page: 10, bytes: pattern(16 * MIB, 1) }]);
  const pieces = machine.pieces;
  await using base = await bench.write('base', contentOf(pieces));
  machine.freeze([{ page: 1000, bytes: pattern(2 * page, 2) }]);
  const content = contentOf(machine.pieces, { parent: { snapshot: base, pieces } });
  await using diff = await bench.write('diff', content);
  expect(allocated(bench.path('diff/memory.bin'))).toBeLessThanOrEqual(16 * 1024);
  expect(diff.manifest.parents).toEqual([{ directory: '../base', id: base.manifest.id, sha256: base.sha256 }]);
  expect(diff.manifest.memory.pieces).toContainEqual({ length: 2 * page, layer: 0 });
  expect(ramOf(diff).equals(machine.ram)).toBe(true);
  await verifySnapshot(diff);
});

test('a difference to a difference names all that it needs, and not what it does not', async () => {
  const machine = new FakeMachine(8 * MIB);
  machine.freeze([{ page: 0, bytes: pattern(4 * MIB, 1) }]);
  let then = machine.pieces;
  await using a = await bench.write('a', contentOf(then));
  machine.freeze([{ page: 8, bytes: pattern(8 * page, 2) }]);
  await using b = await bench.write('b', contentOf(machine.pieces, { parent: { snapshot: a, pieces: then } }));
  then = machine.pieces;
  machine.freeze([{ page: 12, bytes: pattern(page, 3) }]);
  await using c = await bench.write('c', contentOf(machine.pieces, { parent: { snapshot: b, pieces: then } }));
  expect(c.manifest.parents.map(({ directory }) => directory).sort()).toEqual(['../a', '../b']);
  expect(ramOf(c).equals(machine.ram)).toBe(true);
  await verifySnapshot(c);
  then = machine.pieces;
  machine.freeze([{ page: 0, bytes: pattern(8 * MIB, 4) }]);
  await using d = await bench.write('d', contentOf(machine.pieces, { parent: { snapshot: c, pieces: then } }));
  expect(d.manifest.parents).toEqual([]);
});

test('what a machine was restored from is a parent with the pieces that it mapped', async () => {
  await using base = await openSnapshot(bench.path('base'));
  const machine = new FakeMachine(64 * MIB, base.pieces);
  base.readMemory(0, machine.ram);
  machine.freeze([{ page: 256, bytes: pattern(page, 9) }]);
  const content = contentOf(machine.pieces, { parent: { snapshot: base, pieces: base.pieces } });
  await using diff = await bench.write('after', content);
  expect(ramOf(diff).equals(machine.ram)).toBe(true);
  expect(allocated(bench.path('after/memory.bin'))).toBeLessThanOrEqual(8 * 1024);
});

test('a layer that other machines show differently is not taken for the same', async () => {
  // Two machines of one layer; the first goes on, and its snapshot has other bytes at a place where the second has the layer's.
  const first = new FakeMachine(2 * MIB);
  first.freeze([{ page: 0, bytes: pattern(2 * MIB, 1) }]);
  const second = first.pieces;
  const ram = Buffer.from(first.ram);
  first.freeze([{ page: 3, bytes: pattern(page, 2) }]);
  await using parent = await bench.write('first', contentOf(first.pieces));
  const content = contentOf(second, { parent: { snapshot: parent, pieces: first.pieces } });
  await using diff = await bench.write('second', content);
  expect(ramOf(diff).equals(ram)).toBe(true);
  expect(ramOf(parent).equals(first.ram)).toBe(true);
});

const runs = fc.array(fc.record({ page: fc.nat(1023), pages: fc.integer({ min: 1, max: 60 }), zero: fc.boolean() }), {
  minLength: 1,
  maxLength: 6,
});

test('any history, as a chain of differences and merged', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(runs, { minLength: 2, maxLength: 5 }), fc.boolean(), async (history, mergeAll) => {
      const machine = new FakeMachine(4 * MIB);
      let parent: OpenSnapshot | undefined;
      let then: readonly Piece[] = [];
      const opened: OpenSnapshot[] = [];
      for (const [index, written] of history.entries()) {
        machine.freeze(
          written.map(({ page: at, pages, zero }, seed) => {
            const length = Math.min(pages, 1024 - at) * page;
            return { page: at, bytes: zero ? Buffer.alloc(length) : pattern(length, seed + index * 7) };
          }),
        );
        const more = parent === undefined ? {} : { parent: { snapshot: parent, pieces: then } };
        parent = await bench.write(fresh(), contentOf(machine.pieces, more));
        opened.push(parent);
        then = machine.pieces;
        expect(ramOf(parent).equals(machine.ram)).toBe(true);
      }
      await verifySnapshot(parent!);
      if (mergeAll) {
        const name = fresh();
        await mergeSnapshot(parent!, bench.path(name));
        await using merged = await openSnapshot(bench.path(name));
        expect(merged.manifest.parents).toEqual([]);
        expect(ramOf(merged).equals(machine.ram)).toBe(true);
        await verifySnapshot(merged);
      }
      for (const snapshot of opened) await snapshot[Symbol.asyncDispose]();
    }),
    { numRuns: 15 },
  );
});

describe('refused', () => {
  test('a difference that does not lie beside its parent', async () => {
    await using base = await openSnapshot(bench.path('base'));
    const { mkdirSync } = await import('node:fs');
    mkdirSync(bench.path('elsewhere'));
    const content = contentOf(base.pieces, { parent: { snapshot: base, pieces: base.pieces } });
    await expect(writeSnapshot(bench.path('elsewhere/diff'), content)).rejects.toMatchObject({
      code: 'ERR_TSVMM_SNAPSHOT',
      message: expect.stringContaining('has to lie beside it'),
      hint: expect.stringContaining(bench.path('diff')),
    });
  });

  test('one of memory of another size', async () => {
    await using base = await openSnapshot(bench.path('base'));
    const content = contentOf([{ offset: 0, length: page }], { parent: { snapshot: base, pieces: base.pieces } });
    await expect(writeSnapshot(bench.path('size'), content)).rejects.toThrow('memory of another size');
  });
});

describe('merging', () => {
  test('keeps what the machine was, and needs its parents no more', async () => {
    const place = bench.path('merging');
    const { cpSync, mkdirSync } = await import('node:fs');
    mkdirSync(place);
    for (const name of ['base', 'diff']) cpSync(bench.path(name), `${place}/${name}`, { recursive: true });
    let ram: Buffer;
    {
      await using diff = await openSnapshot(`${place}/diff`);
      ram = ramOf(diff);
      await mergeSnapshot(diff, `${place}/merged`);
    }
    rmSync(`${place}/base`, { recursive: true });
    rmSync(`${place}/diff`, { recursive: true });
    await using merged = await openSnapshot(`${place}/merged`);
    expect(ramOf(merged).equals(ram)).toBe(true);
    await using original = await openSnapshot(bench.path('diff'));
    expect(merged.manifest.createdAt).toBe(original.manifest.createdAt);
    expect(merged.manifest.id).not.toBe(original.manifest.id);
    expect(merged.manifest.machine).toEqual(original.manifest.machine);
    expect([...merged.sections]).toEqual([...original.sections]);
  });

  test('copies disks, holes as holes, and gives digests to those without', async () => {
    const disks: SnapshotDisk[] = [true, false].map((digests) => ({
      kind: 'copy',
      digests,
      async write(path) {
        writeFileSync(path, pattern(page, 3));
        truncateSync(path, 100 * MIB + 512);
      },
    }));
    await using snapshot = await bench.write('disks', contentOf([{ offset: 0, length: page }], { disks }));
    await mergeSnapshot(snapshot, bench.path('disks-merged'));
    await using merged = await openSnapshot(bench.path('disks-merged'));
    for (const [index, entry] of merged.manifest.disks.entries()) {
      expect(entry).toEqual({
        kind: 'copy',
        file: `disk${index}.raw`,
        size: 100 * MIB + 512,
        sha256: expect.anything(),
      });
      const file = bench.path(`disks-merged/disk${index}.raw`);
      expect(readFileSync(file).equals(readFileSync(bench.path(`disks/disk${index}.raw`)))).toBe(true);
      expect(allocated(file)).toBeLessThanOrEqual(8 * 1024);
    }
    await verifySnapshot(merged);
  });

  test('never onto something that is there', async () => {
    await using base = await openSnapshot(bench.path('base'));
    await expect(mergeSnapshot(base, bench.path('diff'))).rejects.toThrow('exists already');
  });
});

describe('the plan of memory', () => {
  const layer: PageFile = { fd: -1 };
  const own = (offset: number, length: number): PlannedPiece => ({ offset, length, from: 'own' });

  test('neighbours of one kind are one piece', () => {
    const pieces = [0, 1, 2, 3].map((at) => ({ offset: at * page, length: page, layer, layerOffset: 9 * page }));
    expect(planMemory(pieces, undefined, 256)).toEqual([own(0, 4 * page)]);
  });

  test('with too many pieces the smallest become part of the own file', () => {
    const pieces: Piece[] = [];
    for (let at = 0, index = 0; index < 40; index++) {
      const length = (index % 2 === 0 ? 1 : index) * page;
      pieces.push(index % 2 === 0 ? { offset: at, length, layer, layerOffset: at } : { offset: at, length });
      at += length;
    }
    const plan = planMemory(pieces, undefined, 9);
    expect(plan.length).toBeLessThanOrEqual(9);
    expect(plan.reduce((end, piece) => (piece.offset === end ? end + piece.length : Number.NaN), 0)).toBe(
      pieces.reduce((sum, { length }) => sum + length, 0),
    );
    expect(plan.filter(({ from }) => from === 'zeroes').map(({ length }) => length / page)).toEqual([33, 35, 37, 39]);
  });

  test('holes: whole chunks, the longest first, as many as there is room for', () => {
    const hashes = new Uint8Array(16 * digestSize);
    for (const index of [0, 3, 4, 9, 15]) hashes[index * digestSize] = 1;
    const plan = [own(0, 16 * chunkSize)];
    const shape = (pieces: readonly PlannedPiece[]): (string | number)[][] =>
      pieces.map(({ offset, length, from }) => [offset / chunkSize, length / chunkSize, String(from)]);
    expect(shape(withHoles(plan, hashes, 3))).toEqual([
      [0, 10, 'own'],
      [10, 5, 'zeroes'],
      [15, 1, 'own'],
    ]);
    expect(shape(withHoles(plan, hashes, 64)).filter(([, , from]) => from === 'zeroes')).toEqual([
      [1, 2, 'zeroes'],
      [5, 4, 'zeroes'],
      [10, 5, 'zeroes'],
    ]);
    // A chunk that is only partly its own is none.
    expect(withHoles([own(page, chunkSize)], new Uint8Array(2 * digestSize), 64)).toEqual([own(page, chunkSize)]);
  });
});
