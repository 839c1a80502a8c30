import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDiskMap } from '../../../src/disk/disk-map.js';
import { allocateWritten, OverlayMap } from '../../../src/disk/overlay-map.js';

const BASE = 10;
const OVERLAY = 11;
const sector = 512;

/** Where every sector of a range is, by asking as a device does. */
function ask(map: OverlayMap, from: number, to: number): number[] {
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
      const map = new OverlayMap(BASE, OVERLAY, allocateWritten(2 ** 32));
      const model = new Set<number>();
      for (const [at, count] of writes) {
        expect(map.locateWrite(at * sector, count * sector)).toBe(count * sector);
        expect(map.fd).toBe(OVERLAY);
        map.wrote(at * sector, count * sector);
        for (let i = 0; i < count; i++) model.add(at + i);
      }
      expect(map.used).toBe(model.size * sector);
      const expected = Array.from({ length }, (_, i) => (model.has(from + i) ? OVERLAY : BASE));
      expect(ask(map, from, from + length)).toEqual(expected);
    }),
  );
});

test('runs are as long as they can be', () => {
  const map = new OverlayMap(BASE, OVERLAY, allocateWritten(2 ** 40));
  expect(map.locateRead(0, 2 ** 31)).toBe(2 ** 31);
  map.wrote(2 ** 30, 4096);
  expect(map.locateRead(0, 2 ** 31)).toBe(2 ** 30);
  expect(map.locateRead(2 ** 30, 2 ** 20)).toBe(4096);
  expect(map.fd).toBe(OVERLAY);
  expect(map.locateRead(2 ** 30 + 4096, 2 ** 20)).toBe(2 ** 20);
});

test('a transfer that stops inside a sector goes on there', () => {
  const map = new OverlayMap(BASE, OVERLAY, allocateWritten(2 ** 20));
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
  new OverlayMap(BASE, OVERLAY, written).wrote(sector, 3 * sector);
  const next = new OverlayMap(BASE, OVERLAY, written);
  expect(ask(next, 0, 6)).toEqual([BASE, OVERLAY, OVERLAY, OVERLAY, BASE, BASE]);
  expect(next.used).toBe(3 * sector);
});

describe('a limit', () => {
  test('stops new sectors, not old ones', () => {
    const map = new OverlayMap(BASE, OVERLAY, allocateWritten(2 ** 20), 4 * sector);
    expect(map.locateWrite(0, 4 * sector)).toBe(4 * sector);
    map.wrote(0, 4 * sector);
    expect(map.locateWrite(8 * sector, sector)).toBe(0);
    expect(map.locateWrite(3 * sector, 2 * sector)).toBe(sector);
    expect(map.locateWrite(4 * sector, sector)).toBe(0);
  });
});

test('a plain file is one run', () => {
  const map = openDiskMap({ kind: 'file', fd: 5, size: 2 ** 40, readOnly: false });
  expect([map.locateRead(512, 2 ** 31), map.locateWrite(0, 2 ** 31), map.fd, map.syncFd]).toEqual([
    2 ** 31,
    2 ** 31,
    5,
    5,
  ]);
});
