/** Menus: configurations as Debian and Ubuntu write them, and the rules of `default`. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import { type GrubConfig, readGrubConfig } from '../../../../src/boot/grub/grub-config.js';
import { type Content, memoryVolume } from './memory-file-system.js';
import { configPath } from './run-script.js';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');

const uuid1 = '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001';
const uuid2 = '0f7c1c3e-86d2-4c3f-8d43-7d5fb6a2f002';

const kernels = (directory: string, names: Record<string, string>): Record<string, Content> =>
  Object.fromEntries(
    Object.entries(names).flatMap(([kernel, initrd]) => [
      [`${directory}/${kernel}`, 'kernel'],
      [`${directory}/${initrd}`, 'initrd'],
    ]),
  );

const debianKernels = {
  'vmlinuz-6.1.0-13-amd64': 'initrd.img-6.1.0-13-amd64',
  'vmlinuz-6.1.0-9-amd64': 'initrd.img-6.1.0-9-amd64',
};

function grubenv(...lines: string[]): string {
  return `${['# GRUB Environment Block', ...lines].join('\n')}\n`.padEnd(1024, '#');
}

const defaultOf = ({ entries, defaultEntry }: GrubConfig) =>
  defaultEntry === undefined ? undefined : entries[defaultEntry];

describe('Debian 12, one file system, written by update-grub', () => {
  const others = (): Volume[] => [
    memoryVolume(2, {}, { type: 'fat32', uuid: 'A1B2-C3D4' }),
    memoryVolume(3, kernels('/boot', { 'vmlinuz-6.2.9-300.fc38.x86_64': 'initramfs-6.2.9-300.fc38.x86_64.img' }), {
      uuid: '1c9d3f3a-5a59-49a5-bb8a-2d0f7a61f003',
    }),
  ];
  const read = (files: Record<string, Content> = {}): Promise<GrubConfig> => {
    const volume = memoryVolume(
      1,
      {
        ...kernels('/boot', debianKernels),
        '/boot/memtest86+x64.bin': 'm',
        [configPath]: fixture('debian-12.cfg'),
        ...files,
      },
      { uuid: uuid1 },
    );
    return readGrubConfig([volume, ...others()], { volume, path: configPath });
  };

  test('boots its first entry', async () => {
    const config = await read();
    expect(config.problems).toEqual([]);
    expect(config.defaultEntry).toBe(0);
    expect(defaultOf(config)).toEqual({
      kind: 'grub',
      title: 'Debian GNU/Linux',
      id: `gnulinux-simple-${uuid1}`,
      path: 'Debian GNU/Linux',
      indexPath: '0',
      kernel: { partition: 1, path: '/boot/vmlinuz-6.1.0-13-amd64' },
      initrds: [{ partition: 1, path: '/boot/initrd.img-6.1.0-13-amd64' }],
      cmdline: `BOOT_IMAGE=/boot/vmlinuz-6.1.0-13-amd64 root=UUID=${uuid1} ro console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200 consoleblank=0 quiet`,
      source: { partition: 1, path: configPath },
      problem: undefined,
    });
  });

  test('lists all entries with their submenus, those of other systems too', async () => {
    const { entries } = await read();
    expect(
      entries.map(({ indexPath, path, problem }) => `${indexPath} ${path}${problem === undefined ? '' : ' !'}`),
    ).toEqual([
      '0 Debian GNU/Linux',
      '1>0 Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-13-amd64',
      '1>1 Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-13-amd64 (recovery mode)',
      '1>2 Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64',
      '1>3 Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64 (recovery mode)',
      '2 Memory test (memtest86+x64.bin)',
      '3 Memory test (memtest86+x64.bin, serial console)',
      '4 Windows Boot Manager (on /dev/vda2) !',
      '5 Fedora Linux 38 (on /dev/vda3)',
      '6>0 Advanced options for Fedora Linux 38 (on /dev/vda3)>Fedora Linux (6.2.9-300.fc38.x86_64) 38 (on /dev/vda3)',
    ]);
    expect(entries[2]?.cmdline).toContain(' ro single ');
    expect(entries[6]?.initrds).toEqual([]);
    expect(entries[7]?.problem).toContain('chainloader');
    expect(entries[8]?.kernel?.partition).toBe(3);
  });

  test('custom.cfg beside it is read', async () => {
    const { entries } = await read({
      '/boot/grub/custom.cfg': 'menuentry mine {\n linux /boot/vmlinuz-6.1.0-9-amd64 a="b c"\n}',
    });
    expect(entries.at(-1)).toMatchObject({
      title: 'mine',
      cmdline: 'BOOT_IMAGE=/boot/vmlinuz-6.1.0-9-amd64 "a=b c"',
      source: { path: '/boot/grub/custom.cfg' },
    });
  });

  test('a one-shot choice is left for GRUB', async () => {
    const config = await read({ '/boot/grub/grubenv': grubenv('next_entry=1>2', 'recordfail=1') });
    expect(config.defaultEntry).toBe(0);
  });

  test('an entry whose kernel is gone is not booted', async () => {
    const volume = memoryVolume(
      1,
      {
        ...kernels('/boot', { 'vmlinuz-6.1.0-9-amd64': 'initrd.img-6.1.0-9-amd64' }),
        [configPath]: fixture('debian-12.cfg'),
      },
      { uuid: uuid1 },
    );
    const config = await readGrubConfig([volume], { volume, path: configPath });
    expect(defaultOf(config)?.title).toBe('Debian GNU/Linux, with Linux 6.1.0-9-amd64');
    expect(config.problems).toEqual([
      "the default entry 'Debian GNU/Linux' cannot be booted: /boot/vmlinuz-6.1.0-13-amd64 of partition 1 does not exist; " +
        "taking 'Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64' instead",
    ]);
  });
});

describe('Debian 12 on MBR with a /boot partition and a saved entry', () => {
  const read = (...environment: string[]): Promise<GrubConfig> => {
    const files = { ...kernels('', debianKernels), '/grub/grub.cfg': fixture('debian-12-boot-partition.cfg') };
    const volume = memoryVolume(
      1,
      { ...files, '/grub/grubenv': grubenv(...environment) },
      { uuid: uuid1, scheme: 'mbr' },
    );
    const root = memoryVolume(2, { '/etc/fstab': '' }, { uuid: uuid2, scheme: 'mbr' });
    return readGrubConfig([volume, root], { volume, path: '/grub/grub.cfg' });
  };

  test('the first entry where nothing is saved', async () => {
    expect(defaultOf(await read())).toMatchObject({
      indexPath: '0',
      kernel: { partition: 1, path: '/vmlinuz-6.1.0-13-amd64' },
      cmdline: `BOOT_IMAGE=/vmlinuz-6.1.0-13-amd64 root=UUID=${uuid2} ro quiet`,
    });
  });

  test.each([
    ['a path of ids', `gnulinux-advanced-${uuid2}>gnulinux-6.1.0-9-amd64-advanced-${uuid2}`, '1>2'],
    ['a path of titles', 'Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-9-amd64', '1>2'],
    ['a path of numbers', '1>3', '1>3'],
    ['a submenu alone', `gnulinux-advanced-${uuid2}`, '1>0'],
    ['a title that is gone', 'Debian GNU/Linux, with Linux 5.10', '0'],
    ['a number beyond the menu', '17', '0'],
  ])('%s', async (_, saved, indexPath) => {
    expect(defaultOf(await read(`saved_entry=${saved}`))?.indexPath).toBe(indexPath);
  });
});

describe('Ubuntu', () => {
  test('22.04 for clouds: the try without initrd gives way to the entry with one', async () => {
    const volume = memoryVolume(
      1,
      {
        ...kernels('/boot', { 'vmlinuz-5.15.0-1056-kvm': 'initrd.img-5.15.0-1056-kvm' }),
        [configPath]: fixture('ubuntu-22.04-cloud.cfg'),
        '/boot/grub/grubenv': grubenv(),
      },
      { uuid: uuid1 },
    );
    const config = await readGrubConfig([volume], { volume, path: configPath });
    expect(config.problems).toEqual([]);
    expect(config.entries).toHaveLength(3);
    expect(defaultOf(config)).toMatchObject({
      title: 'Ubuntu',
      initrds: [{ partition: 1, path: '/boot/initrd.img-5.15.0-1056-kvm' }],
      cmdline:
        'BOOT_IMAGE=/boot/vmlinuz-5.15.0-1056-kvm root=PARTUUID=4f1c7a52-9c1b-4b0a-8a4e-3f2d1e0c0001 ro console=tty1 console=ttyS0',
    });
  });

  test('22.04 for clouds without the initrd: the kernel alone', async () => {
    const volume = memoryVolume(
      1,
      { '/boot/vmlinuz-5.15.0-1056-kvm': 'k', [configPath]: fixture('ubuntu-22.04-cloud.cfg') },
      { uuid: uuid1 },
    );
    const config = await readGrubConfig([volume], { volume, path: configPath });
    expect(defaultOf(config)).toMatchObject({ initrds: [], problem: undefined });
    expect(defaultOf(config)?.cmdline).toMatch(/ panic=-1$/);
  });

  test('24.04: /boot on partition 16, hidden timeout, no firmware entry', async () => {
    const names = {
      'vmlinuz-6.8.0-35-generic': 'initrd.img-6.8.0-35-generic',
      'vmlinuz-6.8.0-31-generic': 'initrd.img-6.8.0-31-generic',
    };
    const boot = memoryVolume(
      16,
      { ...kernels('', names), '/grub/grub.cfg': fixture('ubuntu-24.04.cfg') },
      { uuid: uuid2 },
    );
    const root = memoryVolume(1, { '/etc/fstab': '' }, { uuid: uuid1 });
    const config = await readGrubConfig([root, boot], { volume: boot, path: '/grub/grub.cfg' });
    expect(config.problems).toEqual([]);
    expect(config.entries.map(({ indexPath }) => indexPath)).toEqual(['0', '1>0', '1>1', '1>2', '1>3']);
    expect(defaultOf(config)).toMatchObject({
      kernel: { partition: 16, path: '/vmlinuz-6.8.0-35-generic' },
      cmdline: `BOOT_IMAGE=/vmlinuz-6.8.0-35-generic root=UUID=${uuid1} ro quiet splash vt.handoff=7`,
    });
  });
});

describe('the grub.cfg of an EFI System Partition leads to the real one', () => {
  const real = 'set default=1\nmenuentry a { linux /k; }\nmenuentry b { linux /k b; initrd /i; }';
  const root = (): Volume => memoryVolume(2, { '/boot/grub/grub.cfg': real, '/k': 'k', '/i': 'i' }, { uuid: uuid1 });
  test.each([
    ['Debian', `search.fs_uuid ${uuid1} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n`],
    [
      'with hints',
      `search.fs_uuid ${uuid1} root hd0,gpt2\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n`,
    ],
    [
      'normal',
      `search --no-floppy --fs-uuid --set=dev ${uuid1}\nset root=$dev\nset prefix=($dev)/boot/grub\nexport prefix\nnormal\n`,
    ],
    ['source', `search --set=root -u ${uuid1}\nsource /boot/grub/grub.cfg\n`],
    ['by file', 'search --file --set=root /boot/grub/grub.cfg\nconfigfile /boot/grub/grub.cfg'],
  ])('%s', async (_, text) => {
    const esp = memoryVolume(1, { '/EFI/debian/grub.cfg': text }, { type: 'fat32', uuid: 'A1B2-C3D4' });
    const config = await readGrubConfig([esp, root()], { volume: esp, path: '/EFI/debian/grub.cfg' });
    expect(config.problems).toEqual([]);
    expect(defaultOf(config)).toMatchObject({
      title: 'b',
      kernel: { partition: 2, path: '/k' },
      source: { partition: 2, path: configPath },
    });
  });
});
