import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DiskMap, openDiskMap } from '../../../src/disk/disk-map.js';
import { OverlayMap } from '../../../src/disk/overlay-map.js';
import { allocateWritten, extendWritten } from '../../../src/disk/overlay-written.js';

const BASE = 10;
const OVERLAY = 11;
const sector = 512;
const block = 4096;

/** A map asked with offsets; of one request where none is named. */
class AskedMap {
  readonly #offsets: Float64Array;
  readonly #map: DiskMap;

  constructor(written: SharedArrayBuffer, size: number, requests = 1, limit?: number) {
    this.#offsets = new Float64Array(requests);
    const disk = {
      kind: 'overlay',
      layers: [{ fd: BASE }],
      overlay: OVERLAY,
      written,
      size,
      readOnly: false,
      limit,
    } as const;
    this.#map = new OverlayMap({ ...disk, givesBack: true }, this.#offsets);
  }

  get fd(): number {
    return this.#map.fd;
  }

  get syncFd(): number {
    return this.#map.syncFd;
  }

  locateRead(offset: number, length: number): number {
    this.#offsets[0] = offset;
    return this.#map.locateRead(0, length);
  }

  locateWrite(request: number, offset: number, length: number): number {
    this.#offsets[request] = offset;
    return this.#map.locateWrite(request, length);
  }

  locateHole(request: number, offset: number, length: number): number {
    this.#offsets[request] = offset;
    return this.#map.locateHole(request, length);
  }

  ended(request: number, result: number): void {
    this.#map.ended(request, result);
  }

  wrote(offset: number, length: number): void {
    this.#offsets[0] = offset;
    this.#map.wrote(0, length);
  }
}

/** Where every sector of a range is, by asking as a device does. */
function ask(map: AskedMap, from: number, to: number): number[] {
  const found: number[] = [];
  for (let at = from; at < to; ) {
    const bytes = map.locateRead(at * sector, (to - at) * sector);
    expect(bytes % sector).toBe(0);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual((to - at) * sector);
    for (let i = 0; i < bytes / sector; i++) found.push(map.fd);
    at += bytes / sector;
  }
  return found;
}

test('every sector is where it was last written', () => {
  // Around word boundaries, at the start and at 1 GiB.
  const position = fc.oneof(fc.nat({ max: 200 }), fc.integer({ min: 2 ** 21 - 100, max: 2 ** 21 + 100 }));
  const range = fc.tuple(position, fc.integer({ min: 1, max: 120 }));
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), range, (writes, [from, length]) => {
      const map = new AskedMap(allocateWritten(2 ** 32), 2 ** 32, 1);
      const model = new Set<number>();
      for (const [at, count] of writes) {
        expect(map.locateWrite(0, at * sector, count * sector)).toBe(count * sector);
        expect(map.fd).toBe(OVERLAY);
        map.wrote(at * sector, count * sector);
        for (let i = 0; i < count; i++) model.add(at + i);
      }
      const expected = Array.from({ length }, (_, i) => (model.has(from + i) ? OVERLAY : BASE));
      expect(ask(map, from, from + length)).toEqual(expected);
    }),
  );
});

test('a disk that has grown keeps what was written, and has a hole beyond the old end', () => {
  const sectors = fc.integer({ min: 1, max: 300 });
  const range = fc.tuple(fc.nat({ max: 299 }), fc.integer({ min: 1, max: 60 }));
  const limits = fc.constantFrom(undefined, 40 * block);
  fc.assert(
    fc.property(
      sectors,
      fc.nat({ max: 200 }),
      fc.array(range, { maxLength: 6 }),
      limits,
      (from, more, writes, limit) => {
        const [size, grown] = [from * sector, (from + more) * sector];
        const written = allocateWritten(size, limit);
        const before = new AskedMap(written, size, 1, limit);
        for (const [at, count] of writes) {
          if (at + count > from || before.locateWrite(0, at * sector, count * sector) < count * sector) continue;
          before.wrote(at * sector, count * sector);
          before.ended(0, count * sector);
        }
        const extended = extendWritten(written, { from: size, to: grown, limit });
        const after = new AskedMap(extended, grown, 1, limit);
        expect(ask(after, 0, from)).toEqual(ask(before, 0, from));
        expect(ask(after, from, from + more)).toEqual(new Array(more).fill(OVERLAY));
        // As much room as before: given out once, and no more than the limit.
        const room = (map: AskedMap, end: number): number => {
          let blocks = 0;
          for (let at = 0; at < end; at += block) if (map.locateWrite(0, at, sector) > 0) blocks++;
          return blocks;
        };
        expect(room(after, size)).toBe(room(before, size));
      },
    ),
  );
});

test('runs are as long as they can be', () => {
  const map = new AskedMap(allocateWritten(2 ** 40), 2 ** 40, 1);
  expect(map.locateRead(0, 2 ** 31)).toBe(2 ** 31);
  map.wrote(2 ** 30, 4096);
  expect(map.locateRead(0, 2 ** 31)).toBe(2 ** 30);
  expect(map.locateRead(2 ** 30, 2 ** 20)).toBe(4096);
  expect(map.fd).toBe(OVERLAY);
  expect(map.locateRead(2 ** 30 + 4096, 2 ** 20)).toBe(2 ** 20);
});

test('a transfer that stops inside a sector goes on there', () => {
  const map = new AskedMap(allocateWritten(2 ** 20), 2 ** 20, 1);
  map.wrote(0, 700);
  expect(ask(map, 0, 3)).toEqual([OVERLAY, BASE, BASE]);
  map.wrote(700, 100);
  expect(ask(map, 0, 3)).toEqual([OVERLAY, BASE, BASE]);
  map.wrote(800, 224);
  expect(ask(map, 0, 3)).toEqual([OVERLAY, OVERLAY, BASE]);
  expect([map.locateRead(100, 1000), map.fd]).toEqual([924, OVERLAY]);
  expect([map.locateRead(1100, 436), map.fd]).toEqual([436, BASE]);
});

test('the next map of the disk knows what the one before wrote', () => {
  const written = allocateWritten(2 ** 20);
  new AskedMap(written, 2 ** 20, 1).wrote(sector, 3 * sector);
  const next = new AskedMap(written, 2 ** 20, 1);
  expect(ask(next, 0, 6)).toEqual([BASE, OVERLAY, OVERLAY, OVERLAY, BASE, BASE]);
});

describe('a limit', () => {
  const size = 2 ** 20;
  const limit = 4 * block;
  const limited = (written = allocateWritten(size, limit)) => new AskedMap(written, size, 3, limit);

  test('stops new blocks, not old ones', () => {
    const map = limited();
    expect(map.locateWrite(0, 0, 4 * block)).toBe(4 * block);
    map.wrote(0, 4 * block);
    expect(map.locateWrite(0, 8 * block, sector)).toBe(0);
    expect(map.locateWrite(0, 3 * block + sector, block)).toBe(block - sector);
    expect(map.locateWrite(0, 4 * block, sector)).toBe(0);
  });

  test('counts a sector as the block that the host needs for it', () => {
    const map = limited();
    for (let i = 0; i < 4; i++) expect(map.locateWrite(0, 2 * i * block, sector)).toBe(sector);
    expect([map.locateWrite(0, block, sector), map.locateWrite(0, 2 * block + sector, 2 * block)]).toEqual([
      0,
      block - sector,
    ]);
  });

  test('counts what is under way, and is kept for the next map', () => {
    const written = allocateWritten(size, limit);
    const map = limited(written);
    expect([map.locateWrite(0, 0, 3 * block), map.locateWrite(0, 10 * block, 2 ** 19)]).toEqual([3 * block, block]);
    expect(map.locateWrite(0, 20 * block, sector)).toBe(0);
    expect(ask(map, 0, 1)).toEqual([BASE]);
    const next = limited(written);
    expect([next.locateWrite(0, 20 * block, sector), next.locateWrite(0, 0, 5 * block)]).toEqual([0, 3 * block]);
  });

  test('is never exceeded, and never below what it says', () => {
    const sectors = 1024;
    const range = fc.record({ at: fc.nat(sectors - 1), count: fc.integer({ min: 1, max: 64 }), done: fc.boolean() });
    const blockOf = (at: number) => Math.floor((at * sector) / block);
    fc.assert(
      fc.property(fc.array(range), fc.nat(140), (writes, blocks) => {
        const bytes = blocks * block;
        const written = allocateWritten(sectors * sector, bytes);
        const map = new AskedMap(written, sectors * sector, 1, bytes);
        const taken = new Set<number>();
        for (const { at, count, done } of writes) {
          const asked = Math.min(count, sectors - at);
          const room = map.locateWrite(0, at * sector, asked * sector) / sector;
          for (let i = at; i < at + room; i++) taken.add(blockOf(i));
          if (room < asked) expect([taken.size, taken.has(blockOf(at + room))]).toEqual([blocks, false]);
          if (done && room > 0) map.wrote(at * sector, room * sector);
        }
        expect(taken.size).toBeLessThanOrEqual(blocks);
      }),
    );
  });
});

test('a plain file is one run', () => {
  const map = openDiskMap({ kind: 'file', fd: 5, size: 2 ** 40, readOnly: false }, new Float64Array(1));
  expect([map.locateRead(0, 2 ** 31), map.locateWrite(0, 2 ** 31), map.fd, map.syncFd]).toEqual([
    2 ** 31,
    2 ** 31,
    5,
    5,
  ]);
});
