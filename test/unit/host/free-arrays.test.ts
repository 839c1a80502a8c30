import { expect, test } from 'vitest';
import { freeArrays } from '../../../src/host/free-arrays.js';

test('the memory of arrays goes back at once', () => {
  const before = process.memoryUsage().arrayBuffers;
  const arrays = [new Float64Array(2 ** 20), new Uint8Array(2 ** 20), new Int32Array(10)];
  expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThan(9 * 2 ** 20 - 1);
  freeArrays(...arrays);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  expect(arrays.map(({ length }) => length)).toEqual([0, 0, 10]); // the last has nothing outside of itself
});
