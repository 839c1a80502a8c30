/** Machines of a program whose thread pool has other things to do (docs/decisions/0019-made-meanwhile.md). */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, promises, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { whyNoKvm } from './support/guests.js';
import { call, endLife, startLife } from './support/lives.js';

/** More than the pool has threads, and then some that wait for a thread. */
const manyOpens = 64;

describe.skipIf(whyNoKvm !== undefined)('a thread pool that is busy', () => {
  test('keeps no fork waiting', async () => {
    await using parent = await startLife();
    const folder = mkdtempSync(join(tmpdir(), 'tsvmm-pool-'));
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const opening = Array.from({ length: manyOpens }, () => promises.open(fifo, 'r'));
    let ended = false;
    void Promise.race(opening).then(() => {
      ended = true;
    });
    const forks = await parent.fork({ count: 3 });
    for (const fork of forks) await call(fork, fork.name);
    expect(ended).toBe(false); // they wait for somebody who writes
    const writer = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    for (const file of await Promise.all(opening)) await file.close();
    closeSync(writer);
    rmSync(folder, { recursive: true });
    await Promise.all([parent, ...forks].map(endLife));
  });
});
