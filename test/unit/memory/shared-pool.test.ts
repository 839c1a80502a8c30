import { beforeEach, expect, test } from 'vitest';
import { giveShared, takeShared } from '../../../src/memory/shared-pool.js';

/** No other test takes these sizes. */
let size = 5 * 2 ** 20;
beforeEach(() => {
  size += 512;
});

const fill = (buffer: SharedArrayBuffer): SharedArrayBuffer => {
  new Uint8Array(buffer).fill(0xee);
  return buffer;
};
const isZero = (buffer: SharedArrayBuffer): boolean => Buffer.from(buffer).every((byte) => byte === 0);

test.each([100, 4096, 4 * 4096, 4 * 4096 + 1, 71_592, 16 * 2 ** 20])('%d bytes are used again, as zeroes', (bytes) => {
  const first = fill(takeShared(bytes));
  giveShared(first);
  const again = takeShared(bytes);
  expect(again).toBe(first);
  expect(isZero(again)).toBe(true);
});

test('memory is one user’s at a time, and of the size that was asked for', () => {
  const [one, two] = [takeShared(size), takeShared(size)];
  expect(one).not.toBe(two);
  giveShared(one);
  const other = takeShared(size + 8);
  expect(other.byteLength).toBe(size + 8);
  expect(takeShared(size)).toBe(one);
  expect(takeShared(size)).not.toBe(one);
});

test('what is kept takes no room', () => {
  const resident = (): number => process.memoryUsage.rss();
  const large = 64 * 2 ** 20;
  const buffers = [fill(takeShared(large)), fill(takeShared(large))];
  const before = resident();
  for (const buffer of buffers) giveShared(buffer);
  expect(before - resident()).toBeGreaterThan(large);
});

test('only so many are kept, the newest of them', () => {
  const buffers = Array.from({ length: 70 }, () => takeShared(size));
  for (const buffer of buffers) giveShared(buffer);
  const again = Array.from({ length: 70 }, () => takeShared(size));
  expect(again.filter((buffer) => buffers.includes(buffer)).length).toBeLessThanOrEqual(64);
  expect(again[0]).toBe(buffers.at(-1));
});

test('what is too large to be kept is not', () => {
  const huge = takeShared(2 ** 29);
  giveShared(huge);
  expect(takeShared(2 ** 29)).not.toBe(huge);
});
