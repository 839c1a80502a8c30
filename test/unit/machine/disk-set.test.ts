/** The disks of a machine: what is opened how when nothing is stated. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openDisks } from '../../../src/machine/disk-set.js';
import { haveTools, run, scratch } from '../boot/fs/images.js';

const folder = scratch();
const mounted = join(folder, 'read-only');
afterAll(() => void spawnSync('umount', [mounted]));

test('a CD image that may not be written is read-only for the guest; any other disk is refused', async (context) => {
  if (!haveTools('genisoimage')) return context.skip('genisoimage is not installed');
  mkdirSync(mounted);
  run('genisoimage', ['-quiet', '-o', join(mounted, 'cd.iso'), import.meta.dirname]);
  run('truncate', ['-s', '1M', join(mounted, 'disk.img')]);
  const config = (path: string) => ({
    path,
    explicitRaw: false,
    readOnly: false,
    ephemeral: false,
    serial: '',
  });
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
