import { expect, test } from 'vitest';
import { allocateCounters, countersOf, countLatency, latencyBuckets } from '../../../src/virtio/device-counters.js';

test('each latency is counted where its power of two says', () => {
  const { latencies } = countersOf(allocateCounters(1), 0);
  const bucketOf = (microseconds: number): number => {
    latencies.fill(0);
    countLatency(latencies, 2, microseconds);
    return latencies.indexOf(1) - 2 * latencyBuckets;
  };
  const expected: [number, number][] = [
    [0, 0],
    [0.4, 0],
    [1, 0],
    [1.01, 1],
    [2, 1],
    [3, 2],
    [1024, 10],
    [1024.5, 11],
    [2 ** 31, 31],
    [2 ** 31 + 1, 31],
    [1e15, 31],
  ];
  for (const [microseconds, bucket] of expected)
    expect([microseconds, bucketOf(microseconds)]).toEqual([microseconds, bucket]);
});

test('counters of devices lie apart', () => {
  const buffer = allocateCounters(3);
  const middle = countersOf(buffer, 1);
  for (const part of [middle.own, middle.common, middle.latencies]) part.fill(7);
  for (const device of [0, 2]) {
    const { own, common, latencies } = countersOf(buffer, device);
    expect([...own, ...common, ...latencies].every((value) => value === 0)).toBe(true);
  }
  expect(middle.latencies.length % latencyBuckets).toBe(0);
});
