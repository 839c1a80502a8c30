import { expect, test } from 'vitest';
import { Ownership } from '../../../src/machine/ownership.js';

test('what is owned is closed in reverse, once, and what fails is told when the rest is closed', async () => {
  const closed: string[] = [];
  const owned = new Ownership();
  owned.own('first', () => closed.push('first'));
  owned.own('second', () => {
    throw new Error('no');
  });
  owned.own('third', async () => closed.push('third'));
  const closing = owned.close();
  await expect(closing).rejects.toThrow('second: no');
  expect(owned.close()).toBe(closing);
  await owned.left();
  expect(closed).toEqual(['third', 'first']);
});

test('what something that cannot be closed may still use is closed when it has left', async () => {
  const closed: string[] = [];
  let leave!: () => void;
  const owned = new Ownership();
  owned.own('memory', () => closed.push('memory'));
  owned.own(
    'vCPUs',
    () => Promise.reject(new Error('stuck')),
    () =>
      new Promise<void>((resolve) => {
        leave = resolve;
      }),
  );
  await expect(owned.close()).rejects.toThrow('vCPUs: stuck');
  expect(closed).toEqual([]);
  const left = owned.left();
  leave();
  await left;
  expect(closed).toEqual(['memory']);
});

test('what fails after that is told too', async () => {
  const owned = new Ownership();
  owned.own('memory', () => {
    throw new Error('still mapped');
  });
  owned.own(
    'vCPUs',
    () => Promise.reject(new Error('stuck')),
    () => Promise.resolve(),
  );
  await expect(owned.close()).rejects.toThrow('vCPUs: stuck');
  await expect(owned.left()).rejects.toThrow('memory: still mapped');
});
