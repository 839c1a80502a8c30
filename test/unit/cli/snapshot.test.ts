/** `tsvmm snapshot ...`: what is said of real directories, and how it ends. */
import { EventEmitter } from 'node:events';
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLine, type Library } from '../../../src/cli/command-line.js';
import type { RunIo } from '../../../src/cli/run.js';
import { snapshotAction } from '../../../src/cli/snapshot.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { diskReference, type SnapshotDisk, writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { contentOf, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());
const image = bench.path('a \u001b[2J disk');
const [base, diff] = [bench.path('base'), bench.path('diff')];
beforeAll(async () => {
  writeFileSync(image, 'content');
  const disks: SnapshotDisk[] = [
    await diskReference(image),
    { kind: 'copy', digests: false, write: async (path) => writeFileSync(path, pattern(MIB, 1)) },
    { kind: 'empty' },
  ];
  const layer = bench.layer(32 * MIB, { 0: pattern(8 * MIB, 1) });
  const pieces = [{ offset: 0, length: 32 * MIB, layer, layerOffset: 0 }];
  await writeSnapshot(base, contentOf(pieces, { disks }));
  await using parent = await openSnapshot(base);
  const changed = [
    { offset: 0, length: page, layer: bench.layer(page, { 0: pattern(page, 2) }), layerOffset: 0 },
    { offset: page, length: 32 * MIB - page, layer, layerOffset: page },
  ];
  await writeSnapshot(diff, contentOf(changed, { parent: { snapshot: parent, pieces }, disks: [] }));
});

/** Nothing else is asked of it. */
const library = { snapshot: snapshotAction } as unknown as Library;

function begin(argv: string[], act: Library, isTTY = false) {
  const signals = new EventEmitter();
  const stream = (): PassThrough => Object.assign(new PassThrough(), { isTTY });
  const [stdin, stdout, stderr] = [stream(), stream(), stream()];
  const left: number[] = [];
  const io = { stdin, stdout, stderr, signals, exitNow: (code: number) => void left.push(code) };
  const code = commandLine(['snapshot', ...argv], act, io as unknown as RunIo);
  return { code, signals, left, stdout, stderr };
}

async function invoke(argv: string[], isTTY = false) {
  const { code, stdout, stderr } = begin(argv, library, isTTY);
  const text = (from: PassThrough): string => (from.read() as Buffer | null)?.toString() ?? '';
  return { code: await code, out: text(stdout), err: text(stderr) };
}

describe('inspect', () => {
  test('says what there is, and nothing that a terminal would obey', async () => {
    const { code, out, err } = await invoke(['inspect', base]);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain(`snapshot  "${base}"`);
    expect(out).toMatch(/created +\d{4}-\d\d-\d\dT.*Z by tsvmm \d+\.\d+\.\d+\n/);
    expect(out).toMatch(/memory +32M: 0x0-0x1ffffff\n +8M at 0x0: "\.\/memory\.bin"\n +24M at 0x800000: zeroes\n/);
    expect(out).toMatch(/disk 0 +".*\\u001b\[2J disk", 7 bytes, unchanged\n/);
    expect(out).toMatch(/disk 1 +disk1\.raw, 1M, without digests\n/);
    expect(out).toMatch(/disk 2 +empty\n/);
    expect(out).toMatch(/vCPU 0 +rip 0x[0-9a-f]+ {2}rsp 0x[0-9a-f]+ {2}cr3 0x[0-9a-f]+ {2}rflags 0x[0-9a-f]+\n/);
    expect(out).toMatch(/state +1\.\dK in 3 sections\n/);
    expect(out).not.toMatch(/(?!\n)\p{Cc}/u);
  });

  test('says what a difference needs', async () => {
    const { out } = await invoke(['inspect', diff]);
    expect(out).toMatch(/needs +"\.\.\/base"\n/);
    expect(out).toMatch(/4K at 0x0: "\.\/memory\.bin"\n +8\.0M at 0x1000: "\.\.\/base\/memory\.bin"\n/);
  });

  test('as one JSON object', async () => {
    const { code, out } = await invoke(['inspect', base, '--json']);
    expect(code).toBe(0);
    expect(out.trim().split('\n').length).toBe(1);
    const found = JSON.parse(out);
    expect(found).toMatchObject({
      directory: base,
      memory: { size: 32 * MIB, regions: [{ start: 0, size: 32 * MIB }] },
      disks: [{ kind: 'reference', path: image, now: 'unchanged' }, { kind: 'copy' }, { kind: 'empty' }],
      machine: { cpus: 1 },
    });
    expect(found.vcpus[0].rip).toMatch(/^0x[0-9a-f]+$/);
    expect(JSON.parse((await invoke(['inspect', diff, '--json'])).out).memory.pieces[1]).toEqual({
      offset: page,
      length: 8 * MIB - page,
      file: '../base/memory.bin',
    });
  });

  test('sees a disk that changed, or is gone', async () => {
    const now = async (): Promise<string> => JSON.parse((await invoke(['inspect', base, '--json'])).out).disks[0].now;
    utimesSync(image, 1, 1);
    expect(await now()).toBe('changed');
    rmSync(image);
    expect(await now()).toBe('missing');
  });
});

test('verify', async () => {
  expect(await invoke(['verify', diff])).toMatchObject({ code: 0, out: `"${diff}" is as it was written\n`, err: '' });
  const { out } = await invoke(['verify', diff, '--json']);
  expect(JSON.parse(out)).toEqual({ directory: diff, verified: true });
});

test('merge and vmcore make what they are told to', async () => {
  const merged = bench.path('merged');
  expect(await invoke(['merge', diff, merged])).toMatchObject({ code: 0, err: '' });
  expect(JSON.parse((await invoke(['inspect', merged, '--json'])).out).parents).toEqual([]);
  const core = bench.path('core');
  expect(await invoke(['vmcore', diff, core])).toMatchObject({
    code: 0,
    out: `"${core}" has 1 vCPUs and all of RAM\n`,
  });
  expect(readFileSync(core).subarray(1, 4).toString()).toBe('ELF');
});

test('what goes wrong has a hint and an exit code, and is JSON where that was asked for', async () => {
  const { code, out, err } = await invoke(['verify', bench.path('nowhere'), '--json']);
  expect(code).toBe(1);
  expect(JSON.parse(out).error).toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT', hint: 'check the path' });
  expect(err).toMatch(/^tsvmm: the snapshot .*\nhint: check the path\ncode: ERR_TSVMM_SNAPSHOT \(exit 1\)\n$/);
  expect(await invoke(['merge', diff, base])).toMatchObject({ code: 1, out: '' });
});

test('a terminal shows how far it is, and nothing of it afterwards', async () => {
  const { err } = await invoke(['verify', base], true);
  expect(err).toMatch(/^(\r\d+ %)+\r/);
  expect(err.endsWith('\r\x1b[K')).toBe(true);
  expect(err).toContain('\r100 %');
});

test('a signal ends the work first, and a second one does not wait for that', async () => {
  let end = (): void => {};
  let started = (): void => {};
  const isStarted = new Promise<void>((resolve) => {
    started = resolve;
  });
  const act = {
    snapshot: (_request: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) => {
        end = () => reject(signal.reason);
        started();
      }),
  } as unknown as Library;
  const running = begin(['merge', diff, bench.path('late')], act);
  await isStarted;
  running.signals.emit('SIGINT');
  running.signals.emit('SIGTERM');
  expect(running.left).toEqual([143]);
  end();
  expect(await running.code).toBe(130);
  expect(running.signals.eventNames()).toEqual([]);
});

test('a merge that a signal ends leaves nothing', async () => {
  const before = readdirSync(bench.directory).sort();
  const act = {
    snapshot: (request: never, control: { signal: AbortSignal }) =>
      snapshotAction(request, { signal: control.signal, onProgress: () => running.signals.emit('SIGTERM') }),
  } as unknown as Library;
  const running = begin(['merge', diff, bench.path('late')], act);
  expect(await running.code).toBe(143);
  expect(readdirSync(bench.directory).sort()).toEqual(before);
});
