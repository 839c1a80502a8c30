/**
 * The I/O worker serves a disk without allocating anything: V8's sampling profiler counts the bytes of a run of requests
 * (programs/allocations.js), from a guest that makes them in ring 3. The full run makes a million of each kind.
 *
 * Code that V8 has not compiled yet, or compiles again as a slow write shows it a new branch, allocates numbers: a little is
 * left.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { full } from '../support/effort.js';
import { pattern, scratchFolder, sectorBytes } from './support/disks.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const program = fileURLToPath(new URL('./programs/allocations.js', import.meta.url));
const diskBytes = 32 * 2 ** 20;
const requests = full ? 1_000_000 : 200_000;
/** A number that is an object takes 16 bytes: one for every second request is found. */
const most = 8;

const workloads = [
  { mix: 'read', depth: 32 },
  { mix: 'write', depth: 32 },
  { mix: 'readwrite', depth: 32 },
  ...(full ? [{ mix: 'read', depth: 1 }] : []),
];

if (!full) console.log(`${requests} requests of a kind instead of a million: npm run test:full`);
describe.skipIf(whyNoKvm !== undefined)(`${requests} requests of 4 KiB`, { timeout: 600_000 }, () => {
  test.each(workloads)('$mix, $depth at a time, allocate nothing', ({ mix, depth }) => {
    const disk = scratch.file('allocations.img', pattern(0, diskBytes / sectorBytes, 1));
    const cmdline = `mix=${mix} depth=${depth} requests=${requests} warm-up=2000`;
    const { stdout, stderr, status } = spawnSync(process.execPath, [program, guestFile('block'), disk, cmdline], {
      encoding: 'utf8',
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { requests: made, bytes, sites } = JSON.parse(stdout);
    expect(made).toBe(requests);
    console.log(`${mix}, ${depth} at a time: ${(bytes / made).toFixed(2)} bytes per request`);
    expect(bytes / made, JSON.stringify(sites, undefined, 1)).toBeLessThan(most);
  });
});
