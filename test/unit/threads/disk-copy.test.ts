/** Frozen disks that become files while their owners go on writing. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DiskFileOptions, openDiskFile } from '../../../src/disk/disk-file.js';
import type { FrozenContent } from '../../../src/disk/frozen-content.js';
import { FrozenDisk, type WriteOptions } from '../../../src/machine/frozen-disk.js';
import { openTargets } from '../../support/descriptors.js';
import { type Bundle, bundle } from '../support/bundle.js';
import { FamilyDisk, settle } from '../support/disk-family.js';
import { ShuffledEngine } from '../support/shuffled-engine.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-copy-'));
const mounts: string[] = [];
afterAll(() => {
  for (const folder of mounts) spawnSync('umount', [folder]);
  rmSync(directory, { recursive: true });
});
let worker: Bundle;
beforeAll(async () => {
  worker = await bundle('src/threads/disk-copy-worker.ts');
});
afterAll(() => worker.remove());

const mebibyte = 2 ** 20;
const size = 24 * mebibyte + 512;
let files = 0;
const newPath = (folder = directory): string => join(folder, `file${files++}`);

/** An image with data here and there. */
function image(folder?: string): { path: string; content: Buffer } {
  const path = newPath(folder);
  const content = Buffer.alloc(size);
  writeFileSync(path, '');
  truncateSync(path, size);
  const fd = openSync(path, 'r+');
  for (const [at, length] of [
    [0, 3 * mebibyte],
    [5 * mebibyte + 4096, 8192],
    [12 * mebibyte, 2 * mebibyte],
    [24 * mebibyte, 512],
  ] as const) {
    randomBytes(length).copy(content, at);
    writeSync(fd, content, at, length, at);
  }
  closeSync(fd);
  return { path, content };
}

const drive = {
  drive: { onError: 'report', serial: undefined, limit: undefined, removable: false },
  told: undefined,
} as const;
const openFiles = (): string[] =>
  openTargets()
    .filter((target) => /^\/(?!proc|dev)/.test(target))
    .sort();

async function write(content: FrozenContent, path: string, options: WriteOptions = {}): Promise<void> {
  await using frozen = new FrozenDisk(drive, content.hold(), { blockSize: 512, fixed: false });
  await frozen.writeTo(path, { ...options, worker: worker.url });
}

test.each<[string, Omit<DiskFileOptions, 'path'>]>([
  ['an image', {}],
  ['a read-only image', { readOnly: true }],
  ['an ephemeral disk', { ephemeral: true }],
  ['an image with direct I/O', { cache: 'direct' }],
  ['an ephemeral disk over direct I/O', { cache: 'direct', ephemeral: true }],
])('%s is written as it was, and stays sparse', async (_what, options) => {
  const before = openFiles();
  const { path, content } = image();
  const file = await openDiskFile({ path, ...options });
  const engine = new ShuffledEngine();
  const disk = new FamilyDisk(file, Buffer.from(content), engine);
  disk.offer({ do: 'write', at: 100, sectors: 8, fill: 1 });
  disk.offer({ do: 'holes', at: 2048, sectors: 1024, fill: 0 });
  settle([disk]);
  const expected = Buffer.from(disk.content);
  const frozen = await disk.freeze();
  const target = newPath();
  const progress: (readonly [number, number])[] = [];
  let done = false;
  const written = write(frozen, target, { onProgress: (now, total) => progress.push([now, total]) }).finally(() => {
    done = true;
  });
  for (let round = 0; !done; round = (round + 1) % 200) {
    disk.offer({ do: 'write', at: round * 240, sectors: 16, fill: 7 });
    disk.offer({ do: 'discard', at: round * 240 + 100, sectors: 16, fill: 7 });
    settle([disk]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await written;
  expect(readFileSync(target).equals(expected)).toBe(true);
  expect(statSync(target)).toMatchObject({ size, mode: 0o100600 });
  expect(statSync(target).blocks * 512).toBeLessThan(7 * mebibyte);
  expect(progress.at(-1)).toEqual([size, size]);
  expect(progress.map(([now]) => now)).toEqual(progress.map(([now]) => now).sort((a, b) => a - b));
  await frozen.release();
  await disk.close();
  expect(openFiles()).toEqual(before);
});

test('what is there already is left alone, and what cannot be written is not left', async () => {
  const before = openFiles();
  const { path } = image();
  const file = await openDiskFile({ path });
  const frozen = await file.freeze();
  const there = newPath();
  writeFileSync(there, 'mine');
  await expect(write(frozen, there)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO', message: /EEXIST/ });
  expect(readFileSync(there, 'utf8')).toBe('mine');
  await expect(write(frozen, join(there, 'below'))).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  const target = newPath();
  for (const signal of [AbortSignal.abort(new Error('no')), abortSoon()])
    await expect(write(frozen, target, { signal })).rejects.toThrow('no');
  truncateSync(path, 1000);
  await expect(write(frozen, target)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO', message: /the file ends/ });
  expect(existsSync(target)).toBe(false);
  await frozen.release();
  await file.close();
  await expect(new FrozenDisk(drive).writeTo(target)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
  expect(openFiles()).toEqual(before);
});

/** While the thread starts. */
function abortSoon(): AbortSignal {
  const abort = new AbortController();
  setImmediate(() => abort.abort(new Error('no')));
  return abort.signal;
}

const isRoot = process.getuid?.() === 0;

test.skipIf(!isRoot)('a target that has no room says so', async (context) => {
  const folder = join(directory, 'full');
  mkdirSync(folder);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1M', 'tmpfs', folder]).status !== 0)
    return context.skip('nothing can be mounted here');
  mounts.push(folder);
  const { path } = image();
  const file = await openDiskFile({ path });
  const frozen = await file.freeze();
  const target = join(folder, 'target');
  await expect(write(frozen, target)).rejects.toMatchObject({
    code: 'ERR_TSVMM_DISK_IO',
    message: /ENOSPC/,
    hint: /room/,
  });
  expect(existsSync(target)).toBe(false);
  await frozen.release();
  await file.close();
});

test.skipIf(!isRoot)('a file system that can share blocks does so', async (context) => {
  const folder = join(directory, 'xfs');
  mkdirSync(folder);
  const backing = join(directory, 'xfs.img');
  writeFileSync(backing, '');
  truncateSync(backing, 512 * mebibyte);
  try {
    execFileSync('mkfs.xfs', ['-q', backing], { stdio: 'ignore' });
    execFileSync('mount', ['-o', 'loop', backing, folder], { stdio: 'ignore' });
  } catch {
    return context.skip('mkfs.xfs or loop devices are missing');
  }
  mounts.push(folder);
  const { path, content } = image(folder);
  const file = await openDiskFile({ path });
  const free = (): number => Number(execFileSync('stat', ['-f', '-c', '%f', folder], { encoding: 'utf8' }));
  await file.prepareFreeze();
  const cloned = await file.freeze();
  const kept = await file.freeze(); // not prepared
  execFileSync('sync', ['-f', folder]);
  const before = free();
  for (const frozen of [cloned, kept]) {
    const target = newPath(folder);
    await write(frozen, target);
    expect(readFileSync(target).equals(content)).toBe(true);
    execFileSync('sync', ['-f', folder]);
    if (frozen === cloned) expect(before - free()).toBeLessThan(64);
    await frozen.release();
  }
  await file.close();
});
