import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SectorBits, sectorBitBytes, sectorSize } from '../../../src/disk/sector-bits.js';

/** Sectors whose bits take a page. */
const perPage = 4096 * 8;
const sectors = 5 * perPage + 77;
const size = sectors * sectorSize;
const empty = (): SectorBits => new SectorBits(new SharedArrayBuffer(8 + sectorBitBytes(size)), 8, size);

/** Around the ends of words and pages. */
const position = fc.oneof(
  fc.nat(sectors - 1),
  fc.tuple(fc.nat(5), fc.integer({ min: -40, max: 40 })).map(([page, by]) => Math.max(0, page * perPage + by)),
);
const range = fc
  .tuple(position, fc.oneof(fc.integer({ min: 0, max: 100 }), fc.nat(2 * perPage)))
  .map(([at, count]) => [at, Math.min(at + count, sectors)] as const);

test('bits are those that were set, also in a copy', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 6 }), range, (sets, [from, end]) => {
      const bits = empty();
      const model = new Uint8Array(sectors);
      for (const [at, to] of sets) {
        bits.set(at, to);
        model.fill(1, at, to);
      }
      const copy = empty();
      bits.copyTo(copy);
      bits.set(0, sectors); // the copy is its own
      const any = model.includes(1);
      expect(copy.isEmpty).toBe(!any);
      expect(copy.hasAny(from, end)).toBe(model.subarray(from, end).includes(1));
      for (let at = 0; at < sectors; ) {
        const there = model[at] === 1;
        expect(copy.has(at)).toBe(there);
        const next = model.indexOf(there ? 0 : 1, at);
        const run = (next < 0 ? sectors : next) - at;
        expect(copy.run(at, sectors - at, there)).toBe(run);
        at += run;
      }
    }),
    { numRuns: 60 },
  );
});
