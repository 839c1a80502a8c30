import { expect, test } from 'vitest';
import { MainLock } from '../../../src/machine/main-lock.js';
import { SharedLock } from '../../../src/memory/lock.js';

test('a lock that is closed runs nothing any more and says so', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const lock = new SharedLock(words.subarray(0, 1), words.subarray(1, 2));
  const main = new MainLock(lock);
  const said: string[] = [];
  lock.try(2);
  main.run(
    () => said.push('waited'),
    () => said.push('dropped'),
  );
  main.close();
  lock.release();
  main.run(
    () => said.push('late'),
    () => said.push('dropped'),
  );
  expect(said).toEqual(['dropped', 'dropped']);
});

test('a task that throws does not take the others along, nor the lock', async () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const lock = new SharedLock(words.subarray(0, 1), words.subarray(1, 2));
  const main = new MainLock(lock);
  const said: string[] = [];
  lock.try(2);
  main.run(() => said.push('first'));
  lock.release();
  expect(() =>
    main.run(() => {
      main.run(() => said.push('third'));
      throw new Error('second');
    }),
  ).toThrow('second');
  expect(lock.try(2)).toBe(true);
  lock.release();
  await new Promise((resolve) => setImmediate(resolve));
  expect(said).toEqual(['first', 'third']);
});
