/** Runs of memory as sets, against sets of pages. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lengthOf, type Run, union, within, without } from '../../../src/memory/runs.js';

const run = fc
  .tuple(fc.nat(40), fc.integer({ min: 1, max: 6 }))
  .map(([start, length]) => ({ start, end: start + length }));
const runs = fc.array(run, { maxLength: 12 });

const set = (list: readonly Run[]): Set<number> =>
  new Set(list.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)));
const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

test('property: the union is in order and apart, the rest is as sets are', () => {
  fc.assert(
    fc.property(runs, runs, (some, more) => {
      const [a, b] = [union(some), union(more)];
      expect(sorted(set(a))).toEqual(sorted(set(some)));
      for (let i = 1; i < a.length; i++) expect(a[i]!.start).toBeGreaterThan(a[i - 1]!.end);
      const [inA, inB] = [set(a), set(b)];
      for (const [found, wanted] of [
        [without(a, b), [...inA].filter((at) => !inB.has(at))],
        [within(a, b), [...inA].filter((at) => inB.has(at))],
      ] as const) {
        expect(sorted(set(found))).toEqual(sorted(wanted));
        expect(found.reduce((sum, one) => sum + lengthOf(one), 0)).toBe(wanted.length); // nothing twice
        expect(found).toEqual([...found].sort((x, y) => x.start - y.start));
      }
    }),
  );
});
