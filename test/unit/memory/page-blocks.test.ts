import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageBlocks, type RamRange } from '../../../src/memory/page-blocks.js';

const page = 4096;

/** Ranges of whole pages in order, with gaps between some. */
const ranges: fc.Arbitrary<RamRange[]> = fc
  .array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 60 })), { minLength: 1, maxLength: 8 })
  .map((parts) => {
    let end = 0;
    return parts.map(([gap, pages]) => {
      const offset = end + gap * page;
      end = offset + pages * page;
      return { offset, length: pages * page };
    });
  });
const blockSize = fc.integer({ min: 0, max: 5 }).map((power) => page * 2 ** power);

test('property: blocks are the ranges and nothing else, none crosses a multiple of its size', () => {
  fc.assert(
    fc.property(ranges, blockSize, (ranges, blockSize) => {
      const blocks = new PageBlocks(ranges, blockSize);
      const extents = Array.from({ length: blocks.count }, (_, block) => blocks.extent(block));
      const joined: RamRange[] = [];
      for (const { offset, length } of extents) {
        expect(length).toBeGreaterThan(0);
        expect(Math.floor(offset / blockSize)).toBe(Math.floor((offset + length - 1) / blockSize));
        const last = joined.at(-1);
        const isNext = last?.offset === undefined ? false : last.offset + last.length === offset;
        const begins = ranges.some((range) => range.offset === offset);
        if (isNext && !begins) joined[joined.length - 1] = { ...last!, length: last!.length + length };
        else joined.push({ offset, length });
      }
      expect(joined).toEqual(ranges);
    }),
  );
});

test('property: a byte is in the block whose extent has it, or in none', () => {
  fc.assert(
    fc.property(ranges, blockSize, fc.nat(800 * page), (ranges, blockSize, byte) => {
      const blocks = new PageBlocks(ranges, blockSize);
      const block = blocks.at(byte);
      const has = ({ offset, length }: RamRange): boolean => byte >= offset && byte < offset + length;
      expect(block >= 0).toBe(ranges.some(has));
      if (block >= 0) expect(has(blocks.extent(block))).toBe(true);
    }),
  );
});

test('property: those within a part are those that have a byte of it, in order', () => {
  fc.assert(
    fc.property(ranges, blockSize, fc.nat(400 * page), fc.nat(200 * page), (ranges, blockSize, offset, length) => {
      const blocks = new PageBlocks(ranges, blockSize);
      const all = Array.from({ length: blocks.count }, (_, block) => block);
      const wanted = all.filter((block) => {
        const extent = blocks.extent(block);
        return length > 0 && extent.offset < offset + length && extent.offset + extent.length > offset;
      });
      expect([...blocks.within(offset, length)]).toEqual(wanted);
    }),
  );
});
