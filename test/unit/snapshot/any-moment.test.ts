/** Whatever happens while a snapshot is made, at whatever moment: it is there as a whole or not at all, others stay whole. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { verifySnapshot } from '../../../src/snapshot/verify-snapshot.js';
import { type SnapshotDisk, writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { type Bundle, bundle } from '../support/bundle.js';
import { contentOf, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
let program: Bundle;
const size = 6 * MIB;
beforeAll(async () => {
  program = await bundle('test/unit/snapshot/programs/faults.ts');
  const layer = bench.layer(size, { [3 * MIB]: pattern(page, 1) });
  await writeSnapshot(bench.path('before'), contentOf([{ offset: 0, length: size, layer, layerOffset: 0 }]));
});
afterAll(() => {
  program.remove();
  bench.close();
});
beforeEach(() => {
  for (const name of readdirSync(bench.directory)) if (name !== 'before') rmSync(bench.path(name), { recursive: true });
});

const run = (...args: string[]) =>
  spawnSync(process.execPath, [fileURLToPath(program.url), ...args], { encoding: 'utf8', timeout: 60_000 });

async function isWhole(name: string): Promise<void> {
  await using snapshot = await openSnapshot(bench.path(name));
  await verifySnapshot(snapshot);
}

/** The others are written by the same steps, of which every third is enough. */
describe.each([
  ['write', 1],
  ['difference', 3],
  ['merge', 3],
] as const)('%s', (action, step) => {
  const words = [action, bench.path('before'), bench.path('next')];

  test(`killed before ${step === 1 ? 'each' : `every ${step}rd`} of its operations`, async () => {
    let moments = 0;
    let left = 0;
    for (let at = 0; ; at += step) {
      const { status, signal, stdout, stderr } = run(...words, 'kill', String(at));
      const names = readdirSync(bench.directory).filter((name) => name !== 'before');
      await isWhole('before');
      if (status === 0) {
        expect(stdout).toBe('done');
        expect(names).toEqual(['next']);
        await isWhole('next');
        break;
      }
      expect([signal, stderr]).toEqual(['SIGKILL', '']);
      moments++;
      for (const name of names) {
        if (name === 'next') await isWhole(name);
        else {
          left++;
          expect(name).toMatch(/^next\.tmp-[0-9a-f]{24}$/);
          await expect(openSnapshot(bench.path(name))).rejects.toThrow('its writer has not finished it');
          await expect(openSnapshot(bench.path('next'))).rejects.toMatchObject({ hint: expect.stringContaining(name) });
        }
        rmSync(bench.path(name), { recursive: true });
      }
    }
    expect(moments * step).toBeGreaterThan(20);
    expect(left * step).toBeGreaterThan(15);
  });

  test('with any of its operations failing', async () => {
    const { stdout, stderr } = run(...words, 'fail');
    expect(stderr).toBe('');
    const { faults, told } = JSON.parse(stdout) as { faults: number; told: string[] };
    expect(faults).toBeGreaterThan(20);
    for (const text of told) expect(text).toMatch(/^ERR_TSVMM_SNAPSHOT: .*ENOSPC/);
    await isWhole('before');
    await isWhole('next');
  });
});

test('a crash dump with any of its operations failing is not there; killed, it is no ELF file', async () => {
  const words = ['dump', bench.path('before'), bench.path('vmcore')];
  const { stdout, stderr } = run(...words, 'fail');
  expect(stderr).toBe('');
  expect((JSON.parse(stdout) as { faults: number }).faults).toBeGreaterThan(4);
  rmSync(bench.path('vmcore'));
  let partial = 0;
  for (let at = 0; run(...words, 'kill', String(at)).signal === 'SIGKILL'; at++) {
    if (!existsSync(bench.path('vmcore'))) continue;
    const { stdout: head } = spawnSync('head', ['-c', '4', bench.path('vmcore')], { encoding: 'latin1' });
    if (head !== '\x7fELF') partial++;
    rmSync(bench.path('vmcore'));
  }
  expect(partial).toBeGreaterThan(1);
});

describe('aborted', () => {
  const reason = new Error('enough');
  const layer = (): ReturnType<typeof bench.layer> => bench.layer(size, { 0: pattern(size, 2) });
  const isGone = (): void => expect(readdirSync(bench.directory)).toEqual(['before']);

  test('before it begins', async () => {
    const content = contentOf([{ offset: 0, length: size }]);
    const done = writeSnapshot(bench.path('next'), content, { signal: AbortSignal.abort(reason) });
    await expect(done).rejects.toBe(reason);
    isGone();
  });

  test('at any chunk of memory', async () => {
    const content = contentOf([{ offset: 0, length: size, layer: layer(), layerOffset: 0 }]);
    for (let at = 1; at <= 3; at++) {
      const abort = new AbortController();
      const onProgress = (done: number): void => (done >= at * 2 * MIB ? abort.abort(reason) : undefined);
      await expect(writeSnapshot(bench.path('next'), content, { signal: abort.signal, onProgress })).rejects.toBe(
        reason,
      );
      isGone();
    }
  });

  test('while a disk is written, which is told', async () => {
    const abort = new AbortController();
    const disks: SnapshotDisk[] = [
      {
        kind: 'copy',
        digests: true,
        async write(path, { signal }) {
          writeFileSync(path, 'half');
          const told = new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
          abort.abort(reason);
          await told;
        },
      },
    ];
    const content = contentOf([{ offset: 0, length: page }], { disks });
    await expect(writeSnapshot(bench.path('next'), content, { signal: abort.signal })).rejects.toBe(reason);
    isGone();
  });

  test('a disk that cannot be written ends it with its own error', async () => {
    const mine = new Error('the disk is on fire');
    const disks: SnapshotDisk[] = [{ kind: 'copy', digests: true, write: () => Promise.reject(mine) }];
    const content = contentOf([{ offset: 0, length: page }], { disks });
    await expect(writeSnapshot(bench.path('next'), content)).rejects.toBe(mine);
    isGone();
  });

  test('a disk that is no file', async () => {
    const disks: SnapshotDisk[] = [{ kind: 'copy', digests: true, write: async () => {} }];
    const content = contentOf([{ offset: 0, length: page }], { disks });
    await expect(writeSnapshot(bench.path('next'), content)).rejects.toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT' });
    isGone();
  });
});

const mayMount = process.getuid?.() === 0 && spawnSync('mountpoint', ['-V']).status === 0;
describe.skipIf(!mayMount)(mayMount ? 'a file system that is full' : 'a file system that is full (needs root)', () => {
  test('at any size leaves nothing behind', async () => {
    const place = bench.path('small');
    mkdirSync(place);
    const layer = bench.layer(size, { 0: pattern(size, 2) });
    const content = contentOf([{ offset: 0, length: size, layer, layerOffset: 0 }]);
    let written = 0;
    for (let kib = 8; written === 0; kib += 512) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tmpfs', place]);
      try {
        const error = await writeSnapshot(join(place, 'next'), content).catch((caught: unknown) => caught);
        if (error === undefined) written = kib;
        else {
          expect(error).toMatchObject({
            code: 'ERR_TSVMM_SNAPSHOT',
            message: expect.stringContaining('ENOSPC'),
            hint: expect.stringContaining('make room'),
          });
          expect(readdirSync(place)).toEqual([]);
        }
      } finally {
        execFileSync('umount', [place]);
      }
    }
    expect(written).toBeGreaterThan(6 * 1024);
  });
});
