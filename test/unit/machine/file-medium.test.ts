/** Images as machines have them: what is opened how when nothing is stated. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FileMedium } from '../../../src/machine/file-medium.js';
import { haveTools, run, scratch } from '../boot/fs/images.js';

const folder = scratch();
const mounted = join(folder, 'read-only');
afterAll(() => void spawnSync('umount', [mounted]));

const config = (path: string) => ({
  path,
  explicitRaw: false,
  readOnly: false,
  ephemeral: false,
  cache: 'writeback' as const,
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
    const medium = await FileMedium.open({ ...config(path), explicitRaw });
    expect(medium.layout.blockSize).toBe(blockSize);
    await medium.close();
  }
});

test('a CD image that may not be written is read-only for the guest; any other disk is refused', async (context) => {
  if (!haveTools('genisoimage')) return context.skip('genisoimage is not installed');
  mkdirSync(mounted);
  run('genisoimage', ['-quiet', '-o', join(mounted, 'cd.iso'), import.meta.dirname]);
  run('truncate', ['-s', '1M', join(mounted, 'disk.img')]);
  const writable = await FileMedium.open(config(join(mounted, 'cd.iso')));
  expect(writable.open.readOnly).toBe(false);
  await writable.close();
  const isMounted =
    spawnSync('mount', ['--bind', mounted, mounted]).status === 0 &&
    spawnSync('mount', ['-o', 'remount,bind,ro', mounted]).status === 0;
  if (!isMounted) return context.skip('nothing can be mounted here, and root may write any file');
  const medium = await FileMedium.open(config(join(mounted, 'cd.iso')));
  expect(medium.open.readOnly).toBe(true);
  await medium.close();
  await expect(FileMedium.open(config(join(mounted, 'disk.img')))).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
});
