import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { SharedLock } from '../../../src/memory/lock.js';

const words = () => [new Int32Array(new SharedArrayBuffer(4)), new Int32Array(new SharedArrayBuffer(4))] as const;

test('one owner at a time', () => {
  const lock = new SharedLock(...words());
  expect(lock.try(2)).toBe(true);
  expect(lock.try(3)).toBe(false);
  lock.release();
  expect(lock.try(3)).toBe(true);
});

test('the lock of a dead owner can be freed, that of a living one cannot', () => {
  const lock = new SharedLock(...words());
  lock.try(5);
  expect(lock.releaseFor(4)).toBe(false);
  expect(lock.releaseFor(5)).toBe(true);
  expect(lock.try(6)).toBe(true);
});

test('a waiter gives up when it is told to stop', () => {
  const lock = new SharedLock(...words());
  lock.try(2);
  const stop = new Int32Array(new SharedArrayBuffer(4)).fill(2);
  expect(lock.acquire(3, stop, 2)).toBe(false);
});

test('threads exclude each other and nobody waits for ever', async () => {
  const [word, waiters] = words();
  const counter = new Int32Array(new SharedArrayBuffer(4));
  // The same algorithm, in plain JavaScript for a worker that cannot load TypeScript.
  const body = `
    const { workerData: { word, waiters, counter, id, rounds, source }, parentPort } = require('node:worker_threads');
    const SharedLock = eval('(' + source + ')');
    const lock = new SharedLock(word, waiters);
    const never = new Int32Array(1);
    for (let i = 0; i < rounds; i++) {
      lock.acquire(id, never, 1);
      const seen = counter[0];
      for (let k = 0; k < 20; k++);
      counter[0] = seen + 1;
      lock.release();
    }`;
  const source = SharedLock.toString().replaceAll('spins', '100').replaceAll('sleepMs', '2');
  const rounds = 20_000;
  await Promise.all(
    [2, 3, 4].map(
      (id) =>
        new Promise<void>((resolve, reject) => {
          const worker = new Worker(body, { eval: true, workerData: { word, waiters, counter, id, rounds, source } });
          worker.once('error', reject).once('exit', () => resolve());
        }),
    ),
  );
  expect(counter[0]).toBe(3 * rounds);
});
