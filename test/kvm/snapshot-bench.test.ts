import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { GapsGuest, pageBytes } from '../../bench/support/gaps.js';
import { whyNoKvm } from './support/guests.js';

describe.skipIf(whyNoKvm !== undefined)('the guest of the snapshot benchmark', () => {
  test('sees that it stood still, and how long', async () => {
    await using guest = await GapsGuest.start('64M', 0);
    const stood = await guest.longestGap(async () => {
      await guest.vm.pause();
      await delay(500);
      await guest.vm.resume();
    });
    expect(stood).toBeGreaterThan(450); // its measure of the TSC is not exact
  });

  test('writes to as many pages as it is told, at first and then', async () => {
    await using guest = await GapsGuest.start('64M', 8);
    const word = (page: number): bigint => guest.vm.memory.read(guest.room + page * pageBytes, 8).readBigUInt64LE();
    const words = (): bigint[] => Array.from({ length: 9 }, (_, page) => word(page));
    expect(words()).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 0n]);
    await guest.writePages(3);
    expect(words()).toEqual([2n, 3n, 4n, 4n, 5n, 6n, 7n, 8n, 0n]);
    await guest.writePages(1000);
    expect(words()).toEqual([3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n, 0n]);
  });

  test('goes on in a fork', async () => {
    await using guest = await GapsGuest.start('64M', 4);
    await using fork = await guest.vm.fork();
    expect(await guest.longestGap(() => delay(1))).toBeGreaterThan(0);
    expect(fork.state).toBe('running');
  });
});
