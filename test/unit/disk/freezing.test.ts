/** What freezing a disk opens, keeps open and gives back, and how it is done on file systems that can copy a file at once. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type DiskFileOptions, openDiskFile } from '../../../src/disk/disk-file.js';
import type { FrozenContent } from '../../../src/disk/frozen-content.js';
import { openFrozen } from '../../../src/disk/frozen-file.js';
import { unitBytes } from '../../../src/disk/history.js';
import { BlkStatus } from '../../../src/virtio/blk/blk-format.js';
import { openTargets } from '../../support/descriptors.js';
import { FamilyDisk, settle } from '../support/disk-family.js';
import { ShuffledEngine } from '../support/shuffled-engine.js';

const pool = vi.hoisted(() => ({ taken: 0 }));
vi.mock('../../../src/memory/shared-pool.js', async (original) => {
  const { takeShared, giveShared } = await original<typeof import('../../../src/memory/shared-pool.js')>();
  return {
    takeShared: (bytes: number) => {
      pool.taken++;
      return takeShared(bytes);
    },
    giveShared: (buffer: SharedArrayBuffer) => {
      pool.taken--;
      giveShared(buffer);
    },
  };
});

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-freezing-'));
const mounts: string[] = [];
afterAll(() => {
  for (const folder of mounts) spawnSync('umount', [folder]);
  rmSync(directory, { recursive: true });
});

const sector = 512;
const size = 4 * unitBytes;
let files = 0;
function image(folder = directory, content = randomBytes(size)): { path: string; content: Buffer } {
  const path = join(folder, `image${files++}`);
  writeFileSync(path, content);
  return { path, content };
}

const engine = new ShuffledEngine();

/** What this process has open of files, by their paths; files without a name are "... (deleted)". */
const openFiles = (): string[] =>
  openTargets()
    .filter((target) => /^\/(?!proc|dev)/.test(target))
    .sort();
const holdings = () => ({ files: openFiles(), shared: pool.taken });
let before: ReturnType<typeof holdings>;
beforeEach(() => {
  before = holdings();
});

async function opened(options: Omit<DiskFileOptions, 'path'> = {}, folder?: string) {
  const { path, content } = image(folder);
  const file = await openDiskFile({ path, ...options });
  return { path, content, file, disk: new FamilyDisk(file, Buffer.from(content), engine) };
}

const copyOf = async (frozen: FrozenContent, content: Buffer): Promise<FamilyDisk> =>
  new FamilyDisk(await openFrozen(frozen), Buffer.from(content), engine);

function overwrite(disk: FamilyDisk, unit: number, fill: number): void {
  disk.offer({ do: 'write', at: (unit * unitBytes) / sector, sectors: 3, fill });
  settle([disk]);
}

/** Whether somebody may open it so, and nobody has it otherwise. */
const mayOpen = (path: string, readOnly: boolean): Promise<boolean> =>
  openDiskFile({ path, readOnly }).then(
    async (file) => {
      await file.close();
      return true;
    },
    () => false,
  );

test('an image stays open and locked as long as a copy reads it; who only reads may join when its owner has gone', async () => {
  const { path, content, disk } = await opened();
  const frozen = await disk.freeze();
  const copy = await copyOf(frozen, content);
  await frozen.release();
  overwrite(disk, 0, 1);
  expect([await mayOpen(path, false), await mayOpen(path, true)]).toEqual([false, false]);
  await disk.close();
  expect([await mayOpen(path, false), await mayOpen(path, true)]).toEqual([false, true]);
  copy.look();
  await copy.close();
  expect(await mayOpen(path, false)).toBe(true);
  expect(holdings()).toEqual(before);
});

test('what copies read an image by cannot write it', async () => {
  const { disk, file } = await opened();
  const frozen = await disk.freeze();
  expect(() => writeSync(frozen.layers[0]!.open.fd, Buffer.alloc(512))).toThrow(/EBADF/);
  expect(frozen.facts.reference).toMatchObject({ path: file.path, size, ino: String(statSync(file.path).ino) });
  await frozen.release();
  await disk.close();
  expect(holdings()).toEqual(before);
});

test('a read-only disk is shared as it is, by copies and their copies', async () => {
  const { disk, content, path } = await opened({ readOnly: true });
  const open = openFiles();
  const frozen = await disk.freeze();
  const copy = await copyOf(frozen, content);
  const again = await copy.file.freeze();
  const second = await copyOf(again, content);
  expect(openFiles()).toEqual(open);
  expect([second.file.readOnly, await mayOpen(path, true), await mayOpen(path, false)]).toEqual([true, true, false]);
  await expect(copy.file.grow(2 * size)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  for (const content of [frozen, again]) await content.release();
  for (const each of [disk, copy]) await each.close();
  second.look();
  await second.close();
  expect(holdings()).toEqual(before);
});

describe.each<[string, Omit<DiskFileOptions, 'path'>]>([
  ['an image', {}],
  ['an ephemeral disk', { ephemeral: { limit: 2 ** 20 } }],
])('%s', (_what, options) => {
  test('that nobody has written since is what it was: nothing is opened', async () => {
    const { disk } = await opened(options);
    overwrite(disk, 0, 1);
    const first = await disk.freeze();
    const { files, shared } = holdings();
    const more = await Promise.all(Array.from({ length: 20 }, () => disk.freeze()));
    expect(holdings()).toEqual({ files, shared });
    overwrite(disk, 0, 2);
    const next = await disk.freeze();
    expect(holdings().files.length).toBe(files.length + 1);
    for (const frozen of [first, ...more, next]) await frozen.release();
    await disk.close();
    expect(holdings()).toEqual(before);
  });

  test('keeps nothing any more when the last copy has gone, and says that there is something to forget', async () => {
    const { disk, file } = await opened(options);
    overwrite(disk, 0, 1);
    let idle = 0;
    const own = holdings();
    for (let round = 1; round <= 3; round++) {
      const frozen = await disk.freeze();
      file.onIdle(() => idle++);
      const copy = await copyOf(frozen, disk.content);
      await frozen.release();
      overwrite(disk, round % 2, 10 + round);
      expect(idle).toBe(round - 1);
      await copy.close();
      expect(idle).toBe(round);
      if (round === 2) continue; // and not forgotten: the next instant goes on from there
      await disk.forget();
      // The descriptor that only reads stays for the next time.
      expect(holdings().files.length - own.files.length).toBe(file.open.kind === 'file' ? 1 : 0);
      expect(holdings().shared).toBe(own.shared);
    }
    await disk.close();
    expect(holdings()).toEqual(before);
  });

  test('is frozen any number of times while all copies live', async () => {
    const { disk } = await opened(options);
    const copies: FamilyDisk[] = [];
    for (let round = 0; round < 40; round++) {
      overwrite(disk, round % 4, round + 1);
      const frozen = await disk.freeze();
      copies.push(await copyOf(frozen, disk.content));
      await frozen.release();
    }
    const { histories } = disk.file.open as { histories?: readonly unknown[] };
    expect(histories).toHaveLength(Math.ceil(40 / 16));
    overwrite(disk, 2, 99);
    for (let i = 0; copies.length > 0; i++) {
      const copy = copies.splice((i * 7) % copies.length, 1)[0]!;
      copy.look();
      await copy.close();
      if (i === 20) await disk.forget();
    }
    await disk.close();
    expect(holdings()).toEqual(before);
  });
});

test.each<[string, Omit<DiskFileOptions, 'path'>]>([
  ['an image', {}],
  ['an ephemeral disk', { ephemeral: true }],
])('%s that grows between two instants is what it was at each of them', async (_what, options) => {
  const { disk } = await opened(options);
  const copies: FamilyDisk[] = [];
  for (let round = 1; round <= 4; round++) {
    for (let unit = 0; unit < disk.content.length / unitBytes; unit++) overwrite(disk, unit, round);
    const frozen = await disk.freeze();
    const same = await disk.freeze();
    await disk.grow(unitBytes);
    const grown = await disk.freeze();
    copies.push(await copyOf(same, disk.content.subarray(0, -unitBytes)), await copyOf(grown, disk.content));
    for (const each of [frozen, same, grown]) await each.release();
  }
  for (let unit = 0; unit < disk.content.length / unitBytes; unit++) overwrite(disk, unit, 99);
  for (const copy of copies) {
    copy.look();
    await copy.close();
  }
  await disk.close();
  expect(holdings()).toEqual(before);
});

test('copies of copies are frozen again, until there are too many layers', async () => {
  const { disk, content } = await opened();
  let frozen = await disk.freeze();
  let expected = content;
  await disk.close();
  for (let depth = 1; ; depth++) {
    const copy = await copyOf(frozen, expected);
    await frozen.release();
    overwrite(copy, depth % 4, depth);
    copy.look();
    expected = copy.content;
    const next = await copy.freeze().catch((error: unknown) => error);
    await copy.close();
    if (next instanceof Error) {
      expect(depth).toBe(64);
      expect(next).toMatchObject({ code: 'ERR_TSVMM_SNAPSHOT', hint: /snapshot/ });
      break;
    }
    frozen = next as FrozenContent;
    expect(frozen.layers).toHaveLength(depth + 1);
  }
  expect(holdings()).toEqual(before);
});

test('a copy grows, has the limit of its disk, and is copied with both', async () => {
  const { disk } = await opened({ ephemeral: { limit: 4 * 4096 } });
  overwrite(disk, 0, 1);
  const frozen = await disk.freeze();
  const copy = await copyOf(frozen, disk.content);
  await copy.grow(3 * unitBytes);
  overwrite(copy, 6, 2);
  for (const unit of [0, 1, 2]) overwrite(copy, unit, 3);
  copy.allowed = [BlkStatus.ioError];
  const known = Buffer.from(copy.content);
  overwrite(copy, 3, 4);
  copy.content = known;
  copy.allowed = [BlkStatus.ok];
  copy.look();
  const again = await copy.freeze();
  const second = await copyOf(again, known);
  second.look();
  for (const unit of [6, 0, 1, 2]) overwrite(second, unit, 5);
  second.look();
  for (const each of [frozen, again]) await each.release();
  for (const each of [disk, copy, second]) await each.close();
  expect(holdings()).toEqual(before);
});

const isRoot = process.getuid?.() === 0;

/** A small file system of its own, or why there is none. */
function mounted(type: string, ...mkfs: string[]): string {
  const folder = join(directory, type);
  mkdirSync(folder);
  const file = join(directory, `${type}.img`);
  writeFileSync(file, '');
  truncateSync(file, 512 * 2 ** 20);
  execFileSync(`mkfs.${type}`, [...mkfs, file], { stdio: 'ignore' });
  execFileSync('mount', ['-o', 'loop', file, folder], { stdio: 'ignore' });
  mounts.push(folder);
  return folder;
}

describe.each([
  ['xfs', '-q'],
  ['btrfs', '-q'],
])('on %s', (type, quiet) => {
  let folder: string | undefined;
  try {
    if (isRoot) folder = mounted(type, quiet);
  } catch {
    folder = undefined;
  }
  if (folder === undefined) console.warn(`skipped: ${type} needs root, mkfs.${type} and loop devices`);
  const maybe = test.skipIf(folder === undefined);

  maybe.each<[string, (folder: string) => Omit<DiskFileOptions, 'path'>]>([
    ['an image', () => ({})],
    ['an ephemeral disk', (temporaryDirectory) => ({ ephemeral: true, temporaryDirectory })],
    ['a disk with direct I/O', () => ({ cache: 'direct' })],
  ])('%s that is prepared is frozen as a copy of its file, and keeps nothing', async (_what, options) => {
    const { disk, path } = await opened(options(folder!), folder);
    for (const unit of [0, 1]) overwrite(disk, unit, 1);
    const copies: FamilyDisk[] = [];
    for (let round = 2; round < 6; round++) {
      const frozen = await disk.freeze(true);
      expect(frozen.layers[0]!.open.past).toBeUndefined();
      expect((disk.file.open as { histories?: unknown[] }).histories).toEqual([]);
      copies.push(await copyOf(frozen, disk.content));
      await frozen.release();
      for (const unit of [0, 1, 2]) overwrite(disk, unit, round);
      overwrite(copies.at(-1)!, 3, round + 10);
    }
    await disk.close();
    expect(await mayOpen(path, false)).toBe(disk.file.open.kind === 'file'); // then nobody needs the image itself
    for (const copy of copies) {
      copy.look();
      await copy.close();
    }
    expect(holdings()).toEqual(before);
  });

  maybe('an image that is not prepared, or is in too many pieces, is kept', async () => {
    const { disk } = await opened({}, folder);
    const unprepared = await disk.freeze();
    expect(unprepared.layers[0]!.open.past).toBeDefined();
    await disk.close();
    await unprepared.release();

    const path = join(folder!, 'pieces');
    writeFileSync(path, '');
    truncateSync(path, 4 * 2 ** 20);
    const file = await openDiskFile({ path });
    const { fd } = file.open as { fd: number };
    for (let at = 0; at < 4 * 2 ** 20; at += 3 * 4096) writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, at);
    execFileSync('sync', ['-f', path]);
    await file.prepareFreeze();
    const frozen = await file.freeze();
    expect(frozen.layers[0]!.open.past).toBeDefined();
    await frozen.release();
    await file.close();
    expect(holdings()).toEqual(before);
  });
});

test('on this file system, too, preparing changes nothing but when files are opened', async () => {
  const { disk, content } = await opened();
  await disk.file.prepareFreeze();
  await disk.file.prepareFreeze();
  const frozen = await disk.freeze();
  overwrite(disk, 0, 1);
  const copy = await copyOf(frozen, content);
  copy.look();
  await disk.file.prepareFreeze(); // and nothing comes of it
  await copy.close();
  await disk.close();
  await frozen.release();
  expect(holdings()).toEqual(before);
});

test.skipIf(!isRoot)('a store that has no room is lost, and the disk goes on', async (context) => {
  const folder = join(directory, 'full');
  mkdirSync(folder);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', folder]).status !== 0)
    return context.skip('nothing can be mounted here');
  mounts.push(folder);
  const { disk, content } = await opened({ temporaryDirectory: folder });
  const frozen = await disk.freeze();
  for (const unit of [0, 1, 2]) overwrite(disk, unit, 1);
  disk.look();
  expect(disk.bench.warnings).toEqual([expect.stringContaining('cannot be kept (ENOSPC)')]);
  const copy = new FamilyDisk(await openFrozen(frozen, '/tmp'), Buffer.from(content), engine);
  copy.offer({ do: 'read', at: 0, sectors: unitBytes / sector, fill: 0 });
  settle([copy]);
  copy.allowed = [BlkStatus.ioError];
  copy.offer({ do: 'read', at: unitBytes / sector, sectors: 1, fill: 0 });
  settle([copy]);
  await copy.close();
  await frozen.release();
  await disk.close();
  expect(holdings()).toEqual(before);
});

const loop = ((): string | undefined => {
  try {
    return isRoot
      ? execFileSync('losetup', ['--find', '--show', image().path], { encoding: 'utf8' }).trim()
      : undefined;
  } catch {
    return undefined;
  }
})();
if (loop === undefined) console.warn('skipped: block devices need root and a loop device');
afterAll(() => {
  if (loop !== undefined) execFileSync('losetup', ['--detach', loop]);
});

test.skipIf(loop === undefined)('a block device is frozen as a file is', async () => {
  const file = await openDiskFile({ path: loop! });
  const disk = new FamilyDisk(file, Buffer.alloc(size), engine);
  for (const unit of [0, 1, 2, 3])
    disk.offer({ do: 'write', at: (unit * unitBytes) / sector, sectors: unitBytes / sector, fill: unit + 1 });
  settle([disk]);
  const frozen = await disk.freeze(true);
  const copy = await copyOf(frozen, disk.content);
  overwrite(disk, 1, 9);
  disk.offer({ do: 'holes', at: 0, sectors: 300, fill: 0 });
  settle([disk]);
  for (const each of [copy, disk]) each.look();
  await frozen.release();
  await disk.close();
  expect((await openDiskFile({ path: loop! }).catch((error: Error) => error)) instanceof Error).toBe(true);
  await copy.close();
  expect(holdings()).toEqual(before);
});

test('a file that cannot be kept anywhere cannot be frozen, and stays as it was', async () => {
  const { disk, file } = await opened({ temporaryDirectory: join(directory, 'missing') });
  const error = await disk.file.freeze().catch((error: unknown) => error);
  expect(error).toMatchObject({ code: 'ERR_TSVMM_DISK_IO', message: expect.stringContaining(file.path) });
  overwrite(disk, 0, 1);
  disk.look();
  await disk.close();
  expect(holdings()).toEqual(before);
});
