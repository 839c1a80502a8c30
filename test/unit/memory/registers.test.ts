import { expect, test } from 'vitest';
import { bytes, registerMap, u8, u16, u32, words } from '../../../src/memory/registers.js';

const Sample = registerMap('sample', { a: u8, b: u16, c: u32, d: u8, fifo: bytes(5), flags: words(3) });

test('fields are laid out in order with natural alignment', () => {
  expect(Sample.offsets).toEqual({ a: 0, b: 2, c: 4, d: 8, fifo: 16, flags: 24 });
  expect(Sample.size).toBe(40);
});

test('two bindings of the same bytes see each other and nothing else', () => {
  const buffer = new SharedArrayBuffer(128);
  const one = Sample.over(buffer, 40);
  const two = Sample.over(buffer, 40);
  one.c = 0xdead_beef;
  one.fifo[4] = 7;
  Atomics.store(one.flags, 2, -1);
  expect([two.c, two.fifo[4], Atomics.load(two.flags, 2)]).toEqual([0xdead_beef, 7, -1]);
  expect(new Uint8Array(buffer, 0, 40).every((byte) => byte === 0)).toBe(true);
  expect(new Uint8Array(buffer, 80).every((byte) => byte === 0)).toBe(true);
});

test('values are cut to their width', () => {
  const regs = Sample.over(new ArrayBuffer(40), 0);
  regs.a = 0x1ff;
  regs.b = -1;
  expect([regs.a, regs.b]).toEqual([0xff, 0xffff]);
});

test('a base that is not 8-aligned is refused', () => {
  expect(() => Sample.over(new ArrayBuffer(64), 4)).toThrow(RangeError);
});
