import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { E820Type, e820Map, usableRam } from '../../../../src/boot/x86/e820.js';
import { endOf, type MemoryRegion } from '../../../../src/devices/memory-map.js';
import { refusal } from '../linux/kernels.js';

const PAGE = 4096;

test('RAM around a reserved region is two entries', () => {
  expect(e820Map([{ start: 0, size: 0x40_0000 }], [{ start: 0x20_0000, size: PAGE }])).toEqual([
    { start: 0, size: 0x9_fc00, type: E820Type.ram },
    { start: 0x9_fc00, size: 0x6_0400, type: E820Type.reserved },
    { start: 0x10_0000, size: 0x10_0000, type: E820Type.ram },
    { start: 0x20_0000, size: PAGE, type: E820Type.reserved },
    { start: 0x20_1000, size: 0x1f_f000, type: E820Type.ram },
  ]);
});

test('neighbours of one type are one entry', () => {
  const map = e820Map(
    [
      { start: 0, size: 0x20_0000 },
      { start: 0x20_0000, size: 0x20_0000 },
    ],
    [
      { start: 0x50_0000, size: PAGE },
      { start: 0x50_1000, size: PAGE },
    ],
  );
  expect(map.slice(2)).toEqual([
    { start: 0x10_0000, size: 0x30_0000, type: E820Type.ram },
    { start: 0x50_0000, size: 2 * PAGE, type: E820Type.reserved },
  ]);
});

describe('refuses', () => {
  test.each([
    [
      'overlapping RAM',
      [
        { start: 0, size: 2 * PAGE },
        { start: PAGE, size: PAGE },
      ],
      [],
    ],
    ['RAM off a page boundary', [{ start: 0, size: 5000 }], []],
    ['a reserved region off a page boundary', [{ start: 0, size: PAGE }], [{ start: 1, size: PAGE }]],
    ['an empty region', [{ start: 0, size: 0 }], []],
    ['a negative address', [{ start: -PAGE, size: PAGE }], []],
    ['an end beyond exact numbers', [{ start: Number.MAX_SAFE_INTEGER - PAGE + 1, size: 2 * PAGE }], []],
    ['what is no number', [{ start: 0, size: Number.NaN }], []],
  ])('%s', (_, ram, reserved) => {
    expect(refusal(() => e820Map(ram, reserved)).code).toBe('ERR_TSVMM_CONFIG');
  });
});

test('each page of RAM appears once, as RAM or as reserved, in ascending entries', () => {
  const pages = 600; // beyond 1 MiB, so that the legacy area lies inside
  const region = fc.record({ start: fc.nat(pages - 40), size: fc.integer({ min: 1, max: 40 }) });
  const toBytes = ({ start, size }: MemoryRegion): MemoryRegion => ({ start: start * PAGE, size: size * PAGE });
  const holds = (list: readonly MemoryRegion[], at: number): boolean =>
    list.some((r) => r.start <= at && at < endOf(r));
  const disjoint = (list: readonly MemoryRegion[]): MemoryRegion[] =>
    [...list]
      .sort((a, b) => a.start - b.start)
      .filter((r, i, all) => all.slice(0, i).every((o) => endOf(o) <= r.start));
  fc.assert(
    fc.property(fc.array(region, { maxLength: 5 }), fc.array(region, { maxLength: 5 }), (ramPages, reservedPages) => {
      const ram = disjoint(ramPages.map(toBytes));
      const reserved = reservedPages.map(toBytes);
      const map = e820Map(ram, reserved);
      for (const [i, entry] of map.entries()) {
        expect(entry.size).toBeGreaterThan(0);
        if (i > 0) expect(entry.start).toBeGreaterThanOrEqual(endOf(map[i - 1]!));
      }
      const legacy = [{ start: 0x9_fc00, size: 0x6_0400 }];
      for (let at = 0; at < pages * PAGE; at += PAGE / 4) {
        const off = holds(reserved, at) || holds(legacy, at);
        expect(holds(usableRam(map), at)).toBe(holds(ram, at) && !off);
        expect(
          holds(
            map.filter((e) => e.type === E820Type.reserved),
            at,
          ),
        ).toBe(off);
      }
    }),
    { numRuns: 30 },
  );
});
