import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HostBlock } from '../../../../src/host/host-block.js';
import { type Bundle, bundle } from '../../support/bundle.js';
import type { LitmusData } from '../../support/litmus-worker.js';

let worker: Bundle;
beforeAll(async () => {
  worker = await bundle('test/unit/support/litmus-worker.ts');
});
afterAll(() => worker.remove());

/**
 * The store-load litmus test (contract §5.4): the device stores `used.idx` and loads the driver's wish, the driver
 * stores its wish and loads `used.idx`. If both could miss the other's store an interrupt would be lost.
 */
test('Atomics on an external ArrayBuffer order a store before a later load', { timeout: 60_000 }, async () => {
  const rounds = 50_000;
  const block = new HostBlock(4096);
  const gate = new SharedArrayBuffer(16);
  const seen = new SharedArrayBuffer(rounds * 2);
  const sides = ([0, 1] as const).map((side) => {
    const data: LitmusData = { address: block.address, side, rounds, milliseconds: 5000, gate, seen };
    const thread = new Worker(worker.url, { workerData: data });
    return new Promise<void>((resolve, reject) => {
      thread.once('error', reject);
      thread.once('exit', () => resolve());
    });
  });
  await Promise.all(sides);
  const results = new Uint8Array(seen);
  const done = new Int32Array(gate)[3]!;
  expect(done).toBeGreaterThan(0);
  let bothMissed = 0;
  for (let round = 0; round < done; round++) if (results[round * 2] === 0 && results[round * 2 + 1] === 0) bothMissed++;
  expect(bothMissed).toBe(0);
  block.close();
});
