/** Entries from kernels that lie on the disk. */
import { describe, expect, test } from 'vitest';
import type { Partition } from '../../../../src/boot/disk/partition-table.js';
import { findKernelFiles } from '../../../../src/boot/entries/kernel-files.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import { TsvmmError } from '../../../../src/errors.js';
import { memoryVolume } from '../grub/memory-file-system.js';

const uuid = '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001';
const partUuid = '4f1c7a52-9c1b-4b0a-8a4e-3f2d1e0c0001';
const osRelease = 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';

const debianRoot = {
  '/etc/os-release': { link: '../usr/lib/os-release' },
  '/usr/lib/os-release': osRelease,
  '/vmlinuz': { link: 'boot/vmlinuz-6.1.0-13-amd64' },
  '/initrd.img': { link: 'boot/initrd.img-6.1.0-13-amd64' },
  '/vmlinuz.old': { link: 'boot/vmlinuz-6.1.0-9-amd64' },
  '/initrd.img.old': { link: 'boot/initrd.img-6.1.0-9-amd64' },
  '/boot/vmlinuz-6.1.0-9-amd64': 'k9',
  '/boot/initrd.img-6.1.0-9-amd64': 'i9',
  '/boot/vmlinuz-6.1.0-13-amd64': 'k13',
  '/boot/initrd.img-6.1.0-13-amd64': 'i13',
  '/boot/vmlinuz-6.1.0-13-amd64.old': 'junk',
  '/boot/System.map-6.1.0-13-amd64': 'map',
};

const find = (volumes: readonly Volume[], partitions: readonly Partition[] = []) =>
  findKernelFiles(volumes, partitions);

test("Debian's links first, then all versions from the newest", async () => {
  const { entries, defaultEntry, problems } = await find([
    memoryVolume(1, debianRoot, { uuid, partitionUuid: partUuid }),
  ]);
  expect(problems).toEqual([]);
  expect(defaultEntry).toBe(0);
  expect(entries.map(({ title, kernel, initrds }) => [title, kernel?.path, initrds[0]?.path])).toEqual([
    ['Debian GNU/Linux 12 (bookworm), /vmlinuz', '/vmlinuz', '/initrd.img'],
    ['Debian GNU/Linux 12 (bookworm), /vmlinuz.old', '/vmlinuz.old', '/initrd.img.old'],
    [
      'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-13-amd64',
      '/boot/vmlinuz-6.1.0-13-amd64',
      '/boot/initrd.img-6.1.0-13-amd64',
    ],
    [
      'Debian GNU/Linux 12 (bookworm), Linux 6.1.0-9-amd64',
      '/boot/vmlinuz-6.1.0-9-amd64',
      '/boot/initrd.img-6.1.0-9-amd64',
    ],
  ]);
  expect(entries[0]).toMatchObject({
    cmdline: `root=PARTUUID=${partUuid} ro`,
    problem: undefined,
    source: { partition: 1, path: '/vmlinuz' },
  });
});

test('dangling links are passed over', async () => {
  const { entries } = await find([
    memoryVolume(1, { '/etc/fstab': '', '/vmlinuz': { link: 'boot/gone' }, '/boot/vmlinuz-1': 'k' }),
  ]);
  expect(entries.map(({ title }) => title)).toEqual(['Linux, Linux 1']);
});

test('an entry with an initrd is the default even if it is older', async () => {
  const { entries, defaultEntry } = await find([
    memoryVolume(1, {
      '/etc/fstab': '',
      '/boot/vmlinuz-7.0': 'k',
      '/boot/vmlinuz-6.9': 'k',
      '/boot/initrd.img-6.9': 'i',
    }),
  ]);
  expect(entries[defaultEntry ?? -1]?.kernel?.path).toBe('/boot/vmlinuz-6.9');
});

test.each(['initrd.img-6.9', 'initramfs-6.9.img', 'initrd-6.9', 'initrd-6.9.img', 'initramfs-6.9'])(
  'an initrd called %s',
  async (name) => {
    const { entries } = await find([
      memoryVolume(1, { '/etc/fstab': '', '/boot/vmlinuz-6.9': 'k', [`/boot/${name}`]: 'i' }),
    ]);
    expect(entries[0]?.initrds).toEqual([{ partition: 1, path: `/boot/${name}` }]);
  },
);

describe('the root', () => {
  const boot = { '/vmlinuz-6.9': 'k', '/initrd.img-6.9': 'i' };
  const cmdline = async (volumes: Volume[], partitions: Partition[] = []): Promise<string | undefined> =>
    (await find(volumes, partitions)).entries[0]?.cmdline;

  test('on another partition than /boot', async () => {
    const root = memoryVolume(3, { '/sbin/init': '', '/etc/os-release': osRelease }, { uuid, partitionUuid: partUuid });
    const esp = memoryVolume(1, { '/etc/fstab': '' }, { type: 'fat32' });
    const { entries } = await find([esp, memoryVolume(2, boot, { partitionUuid: 'other' }), root]);
    expect(entries[0]).toMatchObject({
      title: 'Debian GNU/Linux 12 (bookworm), Linux 6.9',
      cmdline: `root=PARTUUID=${partUuid} ro`,
    });
  });

  test('without a PARTUUID: by file system for an initrd, else by name', async () => {
    const root = { '/etc/fstab': '', ...boot };
    expect(await cmdline([memoryVolume(0, root, { uuid, scheme: 'none' })])).toBe(`root=UUID=${uuid} ro`);
    expect(await cmdline([memoryVolume(0, { '/etc/fstab': '', '/vmlinuz-6.9': 'k' }, { uuid, scheme: 'none' })])).toBe(
      'root=/dev/vda ro',
    );
    expect(await cmdline([memoryVolume(2, { '/etc/fstab': '', '/vmlinuz-6.9': 'k' }, { uuid, scheme: 'mbr' })])).toBe(
      'root=/dev/vda2 ro',
    );
  });

  test('an MBR without a disk signature has no PARTUUID', async () => {
    const root = memoryVolume(1, { '/etc/fstab': '', ...boot }, { uuid, scheme: 'mbr', partitionUuid: '00000000-01' });
    expect(await cmdline([root])).toBe(`root=UUID=${uuid} ro`);
  });

  test('a partition that cannot be read but has the type of a root', async () => {
    const partition: Partition = {
      index: 3,
      start: 0,
      size: 0,
      type: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
      typeName: '',
      name: '',
      uuid: partUuid,
      bootable: false,
    };
    expect(await cmdline([memoryVolume(2, boot)], [partition])).toBe(`root=PARTUUID=${partUuid} ro`);
  });

  test('nowhere', async () => {
    const { entries, defaultEntry } = await find([memoryVolume(2, boot)]);
    expect(entries[0]?.problem).toBe('no partition that looks like its root file system was found');
    expect(defaultEntry).toBeUndefined();
  });
});

test('a directory with thousands of kernels gives a list of bounded length', async () => {
  const kernels = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`/boot/vmlinuz-6.${i}`, 'k']));
  const { entries } = await find([memoryVolume(1, { '/etc/fstab': '', ...kernels })]);
  expect(entries).toHaveLength(64);
  expect(entries[0]?.kernel?.path).toBe('/boot/vmlinuz-6.499');
});

test('damage on one partition does not hide another', async () => {
  const good = memoryVolume(2, { '/etc/fstab': '', '/boot/vmlinuz-1': 'k' });
  const bad = memoryVolume(1, {});
  bad.fs.stat = async () => {
    throw new TsvmmError('ERR_TSVMM_DISK_FORMAT', 'inode 2 is damaged');
  };
  const { entries, problems } = await find([bad, memoryVolume(3, { '/vmlinuz-2': 'k' }), good]);
  expect(problems).toEqual(['partition 1: inode 2 is damaged']);
  expect(entries.map(({ kernel, cmdline }) => [kernel?.path, cmdline])).toEqual([
    ['/vmlinuz-2', 'root=/dev/vda2 ro'],
    ['/boot/vmlinuz-1', 'root=/dev/vda2 ro'],
  ]);
});
