import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GuestMemory } from '../../../src/memory/guest-memory.js';

const GiB = 1024 ** 3;
const low = { start: 0, size: 0x10000, hostAddress: 0x7000_0000_0000 };
const high = { start: 4 * GiB, size: 0x8000, hostAddress: low.hostAddress + low.size };

function memory() {
  const backing = new ArrayBuffer(low.size + high.size);
  return {
    backing: new Uint8Array(backing),
    // A fake wrap has to copy; the host's wraps in place.
    memory: new GuestMemory([low, high], (address, length) =>
      backing.slice(address - low.hostAddress, address - low.hostAddress + length),
    ),
  };
}

test('T24: only ranges that lie whole in one region have a host address', () => {
  const { memory: ram } = memory();
  expect(ram.hostAddress(0, low.size)).toBe(low.hostAddress);
  expect(ram.hostAddress(low.size - 1, 1)).toBe(low.hostAddress + low.size - 1);
  expect(ram.hostAddress(low.size - 1, 2)).toBe(0);
  expect(ram.hostAddress(high.start + high.size, 0)).toBe(high.hostAddress + high.size);
  expect(ram.hostAddress(high.start, 1)).toBe(high.hostAddress);
  for (const [gpa, length] of [
    [-1, 1],
    [Number.NaN, 1],
    [0, -1],
    [2 ** 53, 1],
    [0, Number.NaN],
    [Number.POSITIVE_INFINITY, 1],
  ] as const) {
    expect(ram.hostAddress(gpa, length)).toBe(0);
  }
});

test('T12: an address is RAM exactly when every byte of it is', () => {
  const { memory: ram } = memory();
  const isRam = (gpa: number): boolean =>
    [low, high].some((region) => gpa >= region.start && gpa < region.start + region.size);
  const near = fc.oneof(
    fc.integer({ min: -8, max: 8 }).map((d) => low.size + d),
    fc.integer({ min: -8, max: 8 }).map((d) => high.start + d),
    fc.integer({ min: -8, max: 8 }).map((d) => high.start + high.size + d),
    fc.nat(0x20000),
  );
  fc.assert(
    fc.property(near, fc.integer({ min: 1, max: 16 }), (gpa, length) => {
      const all = Array.from({ length }, (_, i) => gpa + i).every(isRam);
      expect(ram.hostAddress(gpa, length) !== 0).toBe(all);
      expect(ram.view(gpa, length)?.length).toBe(all ? length : undefined);
    }),
  );
});

test('words are little-endian and a miss is a bug', () => {
  const { memory: ram } = memory();
  ram.setU32(8, 0x1234_5678);
  expect([ram.u8(8), ram.u16(8), ram.u32(8)]).toEqual([0x78, 0x5678, 0x1234_5678]);
  expect(() => ram.u32(low.size - 2)).toThrow(RangeError);
});

test('windows of a region beyond 4 GiB overlap, so that a ring across the edge is whole', () => {
  const region = { start: 4 * GiB, size: 9 * GiB, hostAddress: 0x1000_0000_0000 };
  const wrapped: [number, number][] = [];
  const ram = new GuestMemory([region], (address, length) => {
    wrapped.push([address - region.hostAddress, length]);
    return new ArrayBuffer(length > 1024 ? 0 : length);
  });
  for (const offset of [0, 4 * GiB - 0x20_0000, 4 * GiB - 16, 8 * GiB, 9 * GiB - 4]) ram.view(region.start + offset, 4);
  expect(wrapped.length).toBe(3);
  for (const [, length] of wrapped) expect(length).toBeLessThanOrEqual(4 * GiB);
  expect(wrapped[1]![0] + wrapped[1]![1]).toBeGreaterThan(wrapped[2]![0]);
  expect(wrapped[2]![0] + wrapped[2]![1]).toBe(region.size);
});

test('release hands every window to detach once', () => {
  const { memory: ram } = memory();
  ram.u8(0);
  ram.u8(high.start);
  const detached: ArrayBuffer[] = [];
  ram.release((buffer) => detached.push(buffer));
  ram.release((buffer) => detached.push(buffer));
  expect(detached.length).toBe(2);
});
