import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { cleanEnvironment, interval95, measureCase, median } from '../../../bench/harness.js';

describe('the median', () => {
  it('is the middle figure, or between the two', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });
  it('has as many figures below as above', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), (figures) => {
        const middle = median(figures);
        expect(figures.filter((figure) => figure < middle).length).toBeLessThanOrEqual(figures.length / 2);
        expect(figures.filter((figure) => figure > middle).length).toBeLessThanOrEqual(figures.length / 2);
      }),
    );
  });
});

test('the interval of a mean holds the mean, and nineteen means of twenty', () => {
  expect(interval95([2, 2, 2])).toEqual([2, 2]);
  let state = 1;
  const random = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  let held = 0;
  for (let i = 0; i < 1000; i++) {
    const [low, high] = interval95(Array.from({ length: 30 }, random));
    if (low <= 0.5 && high >= 0.5) held++;
  }
  expect(held).toBeGreaterThan(910);
  expect(held).toBeLessThan(980);
});

describe('a case', () => {
  it('is measured in turn, the first of a pair changing, the warm-up thrown away', async () => {
    const order: string[] = [];
    let n = 0;
    const side = (name: string, factor: number) => () => {
      order.push(name);
      return factor * (n++ < 2 ? 1000 : 1);
    };
    const result = await measureCase('b', {
      name: 'c',
      unit: 'ms',
      ours: side('o', 3),
      peer: { name: 'p', measure: side('t', 6) },
      runs: 4,
      warmUp: 1,
    });
    expect(result).toEqual({ bench: 'b', case: 'c', unit: 'ms', ours: 3, peer: 'p', theirs: 6, ratio: 0.5 });
    expect(order.join('')).toBe('to' + 'ot' + 'to' + 'ot' + 'to');
  });
  it('without a peer is one figure', async () => {
    expect(await measureCase('b', { name: 'c', unit: 'MiB', ours: () => 7, runs: 1 })).toEqual({
      bench: 'b',
      case: 'c',
      unit: 'MiB',
      ours: 7,
    });
  });
  it('refuses what is not a figure', async () => {
    await expect(measureCase('b', { name: 'c', unit: 'ms', ours: () => Number.NaN })).rejects.toThrow('b c, ours: NaN');
  });
});

describe('the environment', () => {
  it('has nothing that changes how Node starts', () => {
    process.env['NODE_COMPILE_CACHE'] = '/nowhere';
    try {
      expect(
        Object.keys(cleanEnvironment()).filter((name) => /^NODE_(EXTRA_CA_CERTS|OPTIONS|COMPILE_CACHE)$/.test(name)),
      ).toEqual([]);
      expect(cleanEnvironment()['PATH']).toBe(process.env['PATH']);
    } finally {
      delete process.env['NODE_COMPILE_CACHE'];
    }
  });
});
