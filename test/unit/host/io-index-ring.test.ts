import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IndexRing } from '../../../src/host/index-ring.js';

test('behaves as a queue', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.option(fc.nat({ max: 1000 }))), (capacity, steps) => {
      const ring = new IndexRing(capacity);
      const model: number[] = [];
      for (const step of steps) {
        if (step === null) expect(ring.shift()).toBe(model.shift() ?? -1);
        else if (model.length < capacity) {
          ring.push(step);
          model.push(step);
        }
        expect(ring.size).toBe(model.length);
      }
    }),
  );
});

test('refuses what does not fit', () => {
  const ring = new IndexRing(4);
  for (let i = 0; i < 4; i++) ring.push(i);
  expect(() => ring.push(4)).toThrow(RangeError);
});
