/**
 * Machines that come and go leave nothing behind: many in one process, a fresh one (programs/cycles.js), whose descriptors,
 * mappings, threads and memory are where they were once it has warmed up.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { full } from '../support/effort.js';
import { diskBytes } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const program = fileURLToPath(new URL('./programs/cycles.js', import.meta.url));
const KiB = 1024;
const MiB = 1024 * KiB;

const cycles = full ? 1000 : 100;
const samples = 10;
/** The first that counts: before it Node and V8 take what they keep. */
const warm = 4;
/** One more or less is the hour at which it was looked; a machine in four that leaves one behind would be dozens. */
const few = 8;
/** Of a machine: what V8's statistics and malloc's holes come to. */
const eachBytes = 16 * KiB;
const heapBytes = 8 * MiB;

interface Sample {
  readonly fds: number;
  readonly mappings: number;
  readonly threads: number;
  readonly memory: number;
}

if (!full) console.log(`3 times ${cycles} machines instead of 1000, which take minutes: npm run test:full`);
describe.skipIf(whyNoKvm !== undefined)(`${cycles} machines one after the other`, () => {
  test.each([
    { vcpu: 'cold', io: 'own', disk: 'file' },
    { vcpu: 'warm', io: 'shared', disk: 'file' },
    { vcpu: 'warm', io: 'shared', disk: 'user' },
  ])('leave nothing behind (vCPU workers $vcpu, I/O workers $io, $disk)', { timeout: 900_000 }, (row) => {
    const disk = scratch.file('cycles.img', diskBytes(16));
    // A small young generation, always the same, is less to be taken for a leak.
    const flags = ['--expose-gc', '--max-semi-space-size=1'];
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [...flags, program, guestFile('records'), disk, `${cycles}`, `${samples}`, row.vcpu, row.io, row.disk],
      { encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const taken = stdout
      .trimEnd()
      .split('\n')
      .map((line): Sample => JSON.parse(line));
    expect(taken).toHaveLength(samples);
    const before = taken[warm - 1]!;
    const after = taken.at(-1)!;
    expect(after.fds - before.fds, stdout).toBeLessThanOrEqual(few);
    expect(after.mappings - before.mappings, stdout).toBeLessThanOrEqual(few);
    expect(after.threads - before.threads, stdout).toBeLessThanOrEqual(few);
    const machines = (cycles * (samples - warm)) / samples;
    expect(after.memory - before.memory, stdout).toBeLessThanOrEqual(heapBytes + machines * eachBytes);
  });
});
