/** What a user gets wrong, by the command as built: one clear error with code, cause and remedy, and the documented exit code. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { guestFile, startGuest, whyNoKvm } from './support/guests.js';

const program = fileURLToPath(new URL('../../bin/tsvmm.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-bad-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** An image of `size` bytes that begins with `start`. */
function image(name: string, start: Uint8Array | string, size = 1 << 20): string {
  const path = join(folder, name);
  writeFileSync(path, start);
  truncateSync(path, size);
  return path;
}

/** The first sector of an MBR disk with one partition. */
function partitionTable(type: number, firstSector: number, sectors: number): Uint8Array {
  const sector = Buffer.alloc(512);
  sector.writeUInt8(type, 446 + 4);
  sector.writeUInt32LE(firstSector, 446 + 8);
  sector.writeUInt32LE(sectors, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

const hello = ['--kernel', guestFile('hello')];
const blank = image('blank.img', '');
const text = image('text.txt', 'to whom it may concern\n', 23);

function run(args: readonly string[], wrapper: readonly string[] = []): SpawnSyncReturns<string> {
  const command = [...wrapper, process.execPath, program, 'run', ...args];
  return spawnSync(command[0]!, command.slice(1), { encoding: 'utf8', input: '', timeout: 60_000 });
}

function expectRefusal(ended: SpawnSyncReturns<string>, exit: number, code: string, message: RegExp): void {
  expect(ended).toMatchObject({ status: exit, signal: null, stdout: '' });
  expect(ended.stderr).toMatch(/^tsvmm: [\s\S]+\nhint: .+\ncode: \w+ \(exit \d+\)\n$/);
  expect(ended.stderr.match(/^tsvmm: /gm)).toHaveLength(1);
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).toContain(`code: ${code} (exit ${exit})`);
}

describe.skipIf(whyNoKvm !== undefined)('tsvmm run refuses', () => {
  test.each<[string, string[], number, string, RegExp]>([
    ['nothing to boot', [], 2, 'ERR_TSVMM_CONFIG', /no disk and no kernel/],
    ['an unknown option', ['--bogus'], 2, 'ERR_TSVMM_CONFIG', /--bogus[\s\S]*--help/],
    ['a missing disk', ['nowhere.img'], 1, 'ERR_TSVMM_DISK_IO', /"nowhere.img" does not exist/],
    ['a missing kernel', ['--kernel', 'nowhere'], 1, 'ERR_TSVMM_BOOT_KERNEL', /kernel "nowhere" does not exist/],
    [
      'a missing initrd',
      [...hello, '--initrd', 'nowhere'],
      1,
      'ERR_TSVMM_BOOT_KERNEL',
      /initrd "nowhere" does not exist/,
    ],
    [
      'a kernel below a file',
      ['--kernel', `${text}/vmlinuz`],
      1,
      'ERR_TSVMM_BOOT_KERNEL',
      /part of its path is no directory/,
    ],
    ['a directory', [folder], 1, 'ERR_TSVMM_DISK_FORMAT', /directory/],
    ['a device that is no disk', ['/dev/null'], 1, 'ERR_TSVMM_DISK_FORMAT', /character device/],
    ['a text', [text], 1, 'ERR_TSVMM_DISK_FORMAT', /23 bytes.*no multiple of 512/],
    ['an empty disk', [blank], 1, 'ERR_TSVMM_BOOT_NOT_FOUND', /nothing that is recognised[\s\S]*--kernel/],
    [
      'a truncated image',
      [image('cut.img', partitionTable(0x83, 2048, 100_000))],
      1,
      'ERR_TSVMM_BOOT_NOT_FOUND',
      /partition 1 .*is not inside the disk/,
    ],
    [
      'a layout that it does not know',
      [image('windows.img', partitionTable(0x07, 8, 16))],
      1,
      'ERR_TSVMM_BOOT_NOT_FOUND',
      /NTFS[\s\S]*--kernel/,
    ],
    [
      'qcow2',
      [image('a.qcow2', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'))],
      1,
      'ERR_TSVMM_DISK_FORMAT',
      /qcow2[\s\S]*qemu-img convert -f qcow2/,
    ],
    ['VHDX', [image('a.vhdx', 'vhdxfile')], 1, 'ERR_TSVMM_DISK_FORMAT', /VHDX[\s\S]*qemu-img convert -f vhdx/],
    ['VMDK', [image('a.vmdk', 'KDMV\x01\0\0\0')], 1, 'ERR_TSVMM_DISK_FORMAT', /VMDK[\s\S]*qemu-img convert -f vmdk/],
    ['VHD', [image('a.vhd', 'conectix')], 1, 'ERR_TSVMM_DISK_FORMAT', /VHD image[\s\S]*qemu-img convert -f vpc/],
    ['a kernel that is none', ['--kernel', text], 1, 'ERR_TSVMM_BOOT_KERNEL', /text\.txt": not a kernel[\s\S]*bzImage/],
    ['memory without a unit', [...hello, '-m', '512'], 2, 'ERR_TSVMM_CONFIG', /no unit/],
    ['absurd memory', [...hello, '-m', '4096T'], 2, 'ERR_TSVMM_CONFIG', /4096T is not possible/],
    ['too little memory', [...hello, '-m', '1M'], 2, 'ERR_TSVMM_CONFIG', /1M is not possible[\s\S]*from 2M/],
    ['no vCPUs', [...hello, '-c', '0'], 2, 'ERR_TSVMM_CONFIG', /cpus/],
    ['absurdly many vCPUs', [...hello, '-c', '100000'], 2, 'ERR_TSVMM_CONFIG', /from 1 to 254/],
    ['a CPU model that does not exist', [...hello, '--cpu', 'z80'], 2, 'ERR_TSVMM_CONFIG', /"z80"[\s\S]*x86-64-v2/],
    ['a disk option that does not exist', ['--disk', `${blank},fast`], 2, 'ERR_TSVMM_CONFIG', /"fast"[\s\S]*readonly/],
  ])('%s', (_what, args, exit, code, message) => {
    expectRefusal(run(args), exit, code, message);
  });

  test('an initrd that does not fit', () => {
    const initrd = image('initrd.img', '', 64 << 20);
    expectRefusal(
      run([...hello, '--initrd', initrd, '-m', '32M']),
      2,
      'ERR_TSVMM_CONFIG',
      /32 MiB of memory[\s\S]*initrd of 64 MiB/,
    );
  });

  test('an image that is in use, and says by whom', async () => {
    await using vm = await startGuest('halt', { disks: [blank] });
    expectRefusal(run([...hello, blank]), 1, 'ERR_TSVMM_DISK_LOCKED', new RegExp(`in use by .*pid ${process.pid}\\)`));
    expect(vm.state).toBe('running');
  });

  const root = process.getuid?.() === 0;
  if (!root) console.log('skipped: a host without KVM and a user without permission can only be played by root');

  test.skipIf(!root)('a host without KVM', () => {
    const without = ['unshare', '--mount', 'sh', '-c', 'mount --bind /dev/null /dev/kvm && exec "$@"', 'sh'];
    expectRefusal(run(hello, without), 5, 'ERR_TSVMM_KVM_MISSING', /\/dev\/kvm is not KVM[\s\S]*modprobe/);
  });

  test.skipIf(!root)('a user without permission', () => {
    const script =
      'mount -t tmpfs tmpfs "$0" && mknod -m 600 "$0"/kvm c 10 232 && mount --bind "$0"/kvm /dev/kvm && ' +
      'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"';
    const denied = run(hello, ['unshare', '--mount', 'sh', '-c', script, mkdtempSync(join(folder, 'dev-'))]);
    expectRefusal(denied, 5, 'ERR_TSVMM_KVM_DENIED', /no permission[\s\S]*usermod -aG kvm/);
  });
});
