/** A host disk with bad sectors, by the device-mapper's error target: the guest is told of each, and the host goes on. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { guestPath } from '../guests/guests.js';
import { openLab } from './support/lab.js';

const program = join(import.meta.dirname, 'programs/bad-sectors.pl');
const sectors = 128;
/** A page of the host's cache, so that writes reach the disk without a read before. */
const [bad, count] = [32, 8];

test('bad sectors are I/O errors of the requests that meet them, with a warning that says where', async (context) => {
  const copy = [guestPath('virtio-blk'), program].map((from) => ({ from, to: '/root/' }));
  await using lab = await openLab({ disks: false, copy });
  if ((await lab.exec(['modprobe', 'dm_mod'])).exitCode !== 0) context.skip('the lab has no device-mapper');
  const drive = (await lab.exec(['readlink', '-f', '/run/drives/scratch'])).stdout.trim();
  const made = await lab.exec(['perl', '/root/bad-sectors.pl', drive, ...[sectors, bad, count].map(String)]);
  expect(made).toMatchObject({ exitCode: 0, stderr: '' });
  const device = made.stdout.trim();
  const run = (cmdline: string) => {
    const machine = ['-m', '64M', '--kernel', '/root/virtio-blk.elf', '--cmdline', cmdline];
    return lab.exec(['node', 'bin/tsvmm.js', 'run', device, ...machine]);
  };

  const read = await run('start=16 sectors=64 chunk=8 tests=checksum');
  expect(read.stdout).toContain(`FAIL: request of type 0 at sector ${bad}: status 1`);
  expect(read.stderr).toContain(`read at byte ${bad * 512} failed: EIO`);
  // What lies in the host's cache cannot be written: whoever asks whether it is safe is told.
  const written = await run('start=16 sectors=64 chunk=8 tests=write,flush');
  expect(written.stdout).toContain('FAIL: flush: status 1');
  expect(written.stderr).toContain('flush failed: EIO');
  const beside = await run(`start=${bad + count} sectors=64 chunk=8 tests=write,flush`);
  expect(beside).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('blk ok: ') });
});
