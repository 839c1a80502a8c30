import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Placement } from '../../../../src/boot/linux/placement.js';
import { refusal } from './kernels.js';

const ram = [
  { start: 0, size: 0x1000 },
  { start: 0x2000, size: 0x8000 },
];

test('refuses what is not in one region of RAM, and overlaps, naming both', () => {
  const placement = new Placement(ram);
  placement.claim('zero page', 0x2000, 0x1000);
  expect(refusal(() => placement.claim('segment', 0xf00, 0x200)).message).toContain('segment at 0xf00-0x1100');
  expect(refusal(() => placement.claim('segment', 0x9fff, 2)).message).toContain('RAM');
  const overlap = refusal(() => placement.claim('segment', 0x2fff, 0x10)).message;
  expect(overlap).toContain('segment at 0x2fff');
  expect(overlap).toContain('zero page at 0x2000-0x3000');
  placement.claim('segment', 0x3000, 0x10);
});

test('finds the highest free place, and undefined if there is none', () => {
  const placement = new Placement(ram);
  placement.claim('kernel', 0x8000, 0x1000);
  expect(placement.claimHighest('a', 0x800, 0x1000, 0, 0x10_0000)).toBe(0x9000);
  expect(placement.claimHighest('b', 0x1001, 0x1000, 0, 0x10_0000)).toBe(0x6000);
  expect(placement.claimHighest('c', 0x1000, 0x1000, 0, 0x4000)).toBe(0x3000);
  expect(placement.claimHighest('d', 0x4000, 0x1000, 0, 0x10_0000)).toBeUndefined();
  expect(placement.claimHighest('e', 0x1000, 0x1000, 0x1000, 0x3000)).toBe(0x2000);
  expect(placement.claimHighest('f', 0x1000, 0x1000, 0x1000, 0x3000)).toBeUndefined();
});

test('agrees with trying every address', () => {
  const claims = fc.array(fc.record({ start: fc.nat(60), size: fc.integer({ min: 1, max: 12 }) }), { maxLength: 8 });
  const regions = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 8 }).map((cuts) => {
    let at = 0;
    const all = cuts.map((size) => {
      at += size;
      return { start: at - size, size };
    });
    return all.filter((_, i) => i % 2 === 0);
  });
  fc.assert(
    fc.property(
      regions,
      claims,
      fc.integer({ min: 1, max: 12 }),
      fc.constantFrom(1, 2, 4),
      (area, wanted, size, align) => {
        const placement = new Placement(area);
        const taken: { start: number; size: number }[] = [];
        for (const { start, size } of wanted) {
          try {
            placement.claim('x', start, size);
            taken.push({ start, size });
          } catch {
            // not free: not taken
          }
        }
        const free = (at: number): boolean =>
          area.some((r) => r.start <= at && at + size <= r.start + r.size) &&
          taken.every((c) => at + size <= c.start || c.start + c.size <= at);
        let expected: number | undefined;
        for (let at = 4; at + size <= 50; at++) if (at % align === 0 && free(at)) expected = at;
        expect(placement.claimHighest('y', size, align, 4, 50)).toBe(expected);
      },
    ),
  );
});
