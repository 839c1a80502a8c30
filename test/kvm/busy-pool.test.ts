/** Machines of a program whose thread pool has other things to do (docs/decisions/0019-made-meanwhile.md). */
import { describe, expect, test } from 'vitest';
import { busyPool } from '../support/busy-pool.js';
import { whyNoKvm } from './support/guests.js';
import { call, endLife, startLife } from './support/lives.js';

describe.skipIf(whyNoKvm !== undefined)('a thread pool that is busy', () => {
  test('keeps no fork waiting', async () => {
    await using parent = await startLife();
    const pool = busyPool();
    const forks = await parent.fork({ count: 3 });
    for (const fork of forks) await call(fork, fork.name);
    expect(pool.isBusy).toBe(true);
    await pool.letGo();
    await Promise.all([parent, ...forks].map(endLife));
  });
});
