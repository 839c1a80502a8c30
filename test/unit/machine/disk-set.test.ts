/** The disks of a machine: what is opened how when nothing is stated. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { DiskConfig } from '../../../src/machine/disk-options.js';
import { openDisks } from '../../../src/machine/disk-set.js';
import { haveTools, run, scratch } from '../boot/fs/images.js';

const folder = scratch();
const mounted = join(folder, 'read-only');
afterAll(() => void spawnSync('umount', [mounted]));

const config = (path: string): DiskConfig => ({
  path,
  explicitRaw: false,
  readOnly: false,
  ephemeral: false,
  cache: 'writeback',
  onError: 'report',
  serial: '',
});

test.each([
  ['no table', 512, undefined],
  ['an MBR', 512, 'o\nn\np\n1\n\n\nw\n'],
  ['a GPT', 512, 'g\nn\n1\n\n\nw\n'],
  ['a GPT for 4096-byte sectors', 4096, 'g\nn\n1\n\n\nw\n'],
  ['only the backup of one', 4096, 'g\nn\n1\n\n\nw\n'],
])('the blocks of a disk with %s are of %i bytes', async (name, blockSize, commands) => {
  const path = join(folder, `${name}.img`);
  run('truncate', ['-s', '16M', path]);
  if (commands !== undefined) run('fdisk', ['-b', String(blockSize), path], { input: commands });
  if (name.startsWith('only'))
    run('dd', ['if=/dev/zero', `of=${path}`, 'bs=4096', 'seek=1', 'count=1', 'conv=notrunc']);
  for (const explicitRaw of [false, true]) {
    const set = await openDisks([{ ...config(path), explicitRaw }]);
    expect(set.disks[0]?.blockSize).toBe(blockSize);
    await set.close();
  }
});

test('a CD image that may not be written is read-only for the guest; any other disk is refused', async (context) => {
  if (!haveTools('genisoimage')) return context.skip('genisoimage is not installed');
  mkdirSync(mounted);
  run('genisoimage', ['-quiet', '-o', join(mounted, 'cd.iso'), import.meta.dirname]);
  run('truncate', ['-s', '1M', join(mounted, 'disk.img')]);
  const writable = await openDisks([config(join(mounted, 'cd.iso'))]);
  expect(writable.disks[0]?.file.readOnly).toBe(false);
  await writable.close();
  const isMounted =
    spawnSync('mount', ['--bind', mounted, mounted]).status === 0 &&
    spawnSync('mount', ['-o', 'remount,bind,ro', mounted]).status === 0;
  if (!isMounted) return context.skip('nothing can be mounted here, and root may write any file');
  const set = await openDisks([config(join(mounted, 'cd.iso'))]);
  expect(set.disks[0]?.file.readOnly).toBe(true);
  await set.close();
  await expect(openDisks([config(join(mounted, 'disk.img'))])).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
});
