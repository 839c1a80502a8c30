import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findPvhEntry } from '../../../../src/boot/linux/pvh-note.js';
import { fakeNote, u32, u64 } from './kernels.js';

const PHYS32_ENTRY = 18;
const notes = (align: number, ...list: Buffer[]): { data: Buffer; align: number }[] => [
  { data: Buffer.concat(list), align },
];

describe.each([4, 8])('with notes aligned to %i', (align) => {
  const other = [fakeNote('GNU\0', 3, Buffer.alloc(20, 1), align), fakeNote('Xen\0', 6, Buffer.from('linux\0'), align)];

  test('finds the entry among others, as 4 or as 8 bytes', () => {
    for (const desc of [u32(0x100_0850), u64(0x100_0850)]) {
      expect(findPvhEntry(notes(align, ...other, fakeNote('Xen\0', PHYS32_ENTRY, desc, align)))).toBe(0x100_0850);
    }
  });

  test('is not misled by the type of another owner or by a descriptor of another size', () => {
    const foreign = fakeNote('GNU\0', PHYS32_ENTRY, u32(1), align);
    const short = fakeNote('Xen\0', PHYS32_ENTRY, Buffer.alloc(2), align);
    expect(findPvhEntry(notes(align, ...other, foreign, short))).toBeUndefined();
  });
});

test('searches every note segment', () => {
  const second = notes(4, fakeNote('Xen\0', PHYS32_ENTRY, u32(5)));
  expect(findPvhEntry([...notes(8, Buffer.alloc(7)), ...second])).toBe(5);
});

test('a note that runs out of its segment ends the search without reading on', () => {
  const huge = Buffer.concat([u32(0xffff_ffff), u32(0xffff_ffff), u32(PHYS32_ENTRY), Buffer.from('Xen\0')]);
  expect(findPvhEntry(notes(4, huge, fakeNote('Xen\0', PHYS32_ENTRY, u32(5))))).toBeUndefined();
});

test('ends for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(4, 8), (data, align) => {
      const entry = findPvhEntry([{ data, align }]);
      expect(entry === undefined || entry >= 0).toBe(true);
    }),
  );
  const zeros = new Uint8Array(1024 * 1024); // the smallest notes there are
  expect(findPvhEntry(Array.from({ length: 128 }, () => ({ data: zeros, align: 4 })))).toBeUndefined();
});
