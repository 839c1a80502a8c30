/** Token buckets: what they let through in any time, and that they let it through. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocateBuckets, type RateLimit, RateLimiter } from '../../../src/virtio/rate-limit.js';

const none = { bytesPerSecond: undefined, bytesBurst: undefined, opsPerSecond: undefined, opsBurst: undefined };
const limit = (given: Partial<RateLimit>): RateLimit => ({ ...none, ...given });

/** A clock that a test sets, in microseconds. */
class Time {
  now = 1; // it never is 0 when a machine runs
  stamp(into: Float64Array, index: number): void {
    into[index] = this.now;
  }
}

/** A guest that always has the next of `sizes` ready: when each begins. */
function begun(limiter: RateLimiter, time: Time, sizes: readonly number[]): number[] {
  return sizes.map((bytes) => {
    for (let delay = limiter.delay(); delay > 0; delay = limiter.delay()) time.now += delay;
    limiter.take(bytes);
    return time.now;
  });
}

function limited(given: Partial<RateLimit>): { limiter: RateLimiter; time: Time; buckets: SharedArrayBuffer } {
  const time = new Time();
  const buckets = allocateBuckets();
  return { limiter: new RateLimiter(limit(given), time, buckets), time, buckets };
}

test('a burst goes at once, what follows comes at the rate', () => {
  const { limiter, time } = limited({ opsPerSecond: 100, opsBurst: 5 });
  const times = begun(limiter, time, new Array(105).fill(0));
  expect(times.slice(0, 5)).toEqual([1, 1, 1, 1, 1]);
  expect(times[5]).toBeGreaterThan(1);
  expect(times.at(-1)! / 1e6).toBeCloseTo(1, 1);
});

test('an operation that is larger than the burst goes, and is paid for afterwards', () => {
  const { limiter, time } = limited({ bytesPerSecond: 1000, bytesBurst: 1000 });
  const [first, second] = begun(limiter, time, [10_000, 1]);
  expect(first).toBe(1);
  expect(second! / 1e6).toBeCloseTo(9, 1);
});

test('both rates hold; the one that is reached first decides', () => {
  const { limiter, time } = limited({ opsPerSecond: 1000, bytesPerSecond: 1_000_000 });
  const ops = begun(limiter, time, new Array(1000).fill(1)).at(-1)!;
  expect(ops / 1e6).toBeGreaterThan(0.85);
  const bytes = begun(limiter, time, new Array(100).fill(100_000)).at(-1)! - ops;
  expect(bytes / 1e6).toBeGreaterThan(9.5);
});

test('an alarm that is for another says how long is left, and one for nobody nothing', () => {
  const { limiter, time } = limited({ opsPerSecond: 100, opsBurst: 1 });
  expect(limiter.left()).toBe(-1);
  limiter.take(0);
  const delay = limiter.delay();
  time.now += 1000;
  limiter.delay(); // another queue
  expect(limiter.left()).toBe(delay - 1000);
  time.now += delay - 1000;
  expect([limiter.left(), limiter.left()]).toEqual([0, -1]);
});

test('another limit takes the debt over, and no new burst', () => {
  const { limiter: before, time, buckets } = limited({ bytesPerSecond: 1000 });
  before.take(100_000);
  const after = new RateLimiter(limit({ bytesPerSecond: 100_000 }), time, buckets);
  expect(after.delay() / 1e6).toBeCloseTo(1, 1);
});

test('a guest that resets finds its buckets as it left them', () => {
  const rates = limit({ opsPerSecond: 10, opsBurst: 1000 });
  const { limiter, time, buckets } = limited(rates);
  begun(limiter, time, new Array(1000).fill(0));
  expect(new RateLimiter(rates, time, buckets).delay()).toBeGreaterThan(0);
  time.now += 1e6;
  const after = new RateLimiter(rates, time, buckets);
  const at = time.now;
  const [last, next] = begun(after, time, new Array(11).fill(0)).slice(-2);
  expect(last).toBe(at);
  expect(next).toBeGreaterThan(at);
});

test('data that a request did not name counts', () => {
  const { limiter } = limited({ bytesPerSecond: 1000 });
  limiter.takeBytes(2000);
  expect(limiter.delay()).toBeGreaterThan(1e6);
});

describe('whatever is asked for, and however fast', () => {
  const rate = fc.integer({ min: 1, max: 1e9 });
  const burst = fc.option(fc.integer({ min: 1, max: 1e9 }), { nil: undefined });
  const sizes = fc.array(fc.integer({ min: 0, max: 2 ** 28 }), { minLength: 1, maxLength: 200 });

  test('never more than the burst and the rate give, and one operation', () => {
    fc.assert(
      fc.property(rate, burst, sizes, (bytesPerSecond, bytesBurst, list) => {
        const { limiter, time } = limited({ bytesPerSecond, bytesBurst });
        const capacity = Math.max(1, bytesBurst ?? bytesPerSecond / 10);
        let sum = 0;
        begun(limiter, time, list).forEach((at, i) => {
          // Before each that begins there was something left, but for what rounding to doubles does.
          const given = capacity + (at * bytesPerSecond) / 1e6;
          expect(sum).toBeLessThan(given * (1 + 1e-9) + 1e-3);
          sum += list[i]!;
        });
      }),
    );
  });

  test('never less: who waits as long as it is told goes on', () => {
    fc.assert(
      fc.property(rate, burst, sizes, (opsPerSecond, opsBurst, list) => {
        const { limiter, time } = limited({ opsPerSecond, opsBurst });
        for (const bytes of list) {
          time.now += limiter.delay();
          expect(limiter.delay()).toBe(0);
          limiter.take(bytes);
        }
        // No slower than the rate, up to what is waited for at once.
        expect(time.now / 1e6).toBeLessThanOrEqual(list.length / opsPerSecond + 0.001 + list.length * 3e-6);
      }),
    );
  });
});
