/**
 * Live and installer CD images as their distributions lay them out, made by xorriso: the volume is found beside whatever
 * partition table makes it bootable from a disk, and its configuration leads to its kernel.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chooseEntry, findBootEntries, loadEntry } from '../../../../src/boot/disk-boot.js';
import { type Content, haveTools, load, noise, plant, run, scratch } from '../fs/images.js';

/** What makes a CD image start from a disk's boot sector; from the package isolinux. */
const isohdpfx = '/usr/lib/ISOLINUX/isohdpfx.bin';
const ready = haveTools('xorriso', 'mkfs.fat', 'mcopy', 'sfdisk', 'mke2fs', isohdpfx);
const folder = scratch();
let made = 0;

const kernel = noise(40_000, 3);
const initrd = noise(70_001, 4);

/** A FAT image with the given files, as firmware finds GRUB in it. */
function efiImage(files: Readonly<Record<string, Content>>): Buffer {
  const path = join(folder, `efi-${++made}.img`);
  const root = join(folder, `efi-${made}`);
  plant(root, files);
  run('truncate', ['-s', '1M', path]);
  run('mkfs.fat', ['-F', '12', path]);
  run('sh', ['-c', 'mcopy -s -Q -i "$1" "$2"/* ::/', 'sh', path, root]);
  return load(path).bytes;
}

function iso(label: string, files: Readonly<Record<string, Content>>, ...args: string[]): string {
  const root = join(folder, `live-${++made}`);
  const path = join(folder, `live-${made}.iso`);
  plant(root, files);
  run('xorriso', ['-as', 'mkisofs', '-quiet', '-R', '-V', label, ...args, '-o', path, root]);
  return path;
}

const bios = ['-b', 'boot/bios.bin', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
const efi = ['-eltorito-alt-boot', '-e', 'boot/efi.img', '-no-emul-boot'];
const grubConfig = (body: string): Buffer =>
  Buffer.from(`search --set=root --file /.disk/info\nset default=0\nset timeout=5\n${body}`);
const grubEntry = (title: string, line: string, initrdPath: string): string =>
  `menuentry "${title}" {\n  linux ${line}\n  initrd ${initrdPath}\n}\n`;

const debianLive: Record<string, Content> = {
  '.disk/info': Buffer.from('Debian GNU/Linux 12'),
  'boot/bios.bin': noise(4096),
  'boot/efi.img': Buffer.alloc(0),
  'live/vmlinuz': kernel,
  'live/initrd.img': initrd,
  'boot/grub/grub.cfg': grubConfig(
    grubEntry(
      'Live system (amd64)',
      '/live/vmlinuz boot=live components quiet splash findiso=$iso_path',
      '/live/initrd.img',
    ) +
      grubEntry(
        'Live system (amd64 fail-safe mode)',
        '/live/vmlinuz boot=live components memtest noapic',
        '/live/initrd.img',
      ),
  ),
};

async function bootOf(path: string) {
  const inspection = await findBootEntries(load(path));
  const entry = chooseEntry(inspection);
  return { inspection, entry, loaded: await loadEntry(inspection, entry) };
}

describe.runIf(ready)('a CD image boots', () => {
  /** As Ubuntu makes it: the EFI image behind the volume, and a partition table that counts both. */
  const appended = (image: string): string[] => [
    ...['--protective-msdos-label', '-partition_cyl_align', 'off', '-partition_offset', '16', '--mbr-force-bootable'],
    ...['-append_partition', '2', '28732ac11ff8d211ba4b00a0c93ec93b', image, '-appended_part_as_gpt'],
    ...['-iso_mbr_part_type', 'a2a0d0ebe5b9334487c068b6b72699c7'],
    ...['-eltorito-alt-boot', '-e', '--interval:appended_partition_2:all::', '-no-emul-boot'],
  ];

  test.each([
    ['without a partition table', () => [], 'none', [0, -1]],
    ['as an isohybrid whose partition begins at sector 0', () => ['-isohybrid-mbr', isohdpfx], 'mbr', [0, 1, -1]],
    [
      'as an isohybrid with an EFI partition inside the volume',
      () => ['-isohybrid-mbr', isohdpfx, ...efi, '-isohybrid-gpt-basdat'],
      'mbr',
      [0, 2, -1],
    ],
    ['with a GPT, and the volume again at 32 KiB', appended, 'gpt', [0, 1, 2, 3, -1]],
  ] as const)('%s', async (_, args, scheme, partitions) => {
    const image = join(folder, `efi-of-${scheme}.img`);
    const leadsOn = 'search --set=root --file /.disk/info\nconfigfile ($root)/boot/grub/grub.cfg\n';
    writeFileSync(image, efiImage({ 'EFI/BOOT/grub.cfg': Buffer.from(leadsOn) }));
    const path = iso('Debian Live', { ...debianLive, 'boot/efi.img': readFileSync(image) }, ...bios, ...args(image));
    const { inspection, entry, loaded } = await bootOf(path);
    expect(inspection.scheme).toBe(scheme);
    expect(inspection.partitions.map(({ index }) => index)).toEqual(partitions);
    expect(inspection.partitions[0]).toMatchObject({ index: 0, fileSystem: { type: 'iso9660', label: 'Debian Live' } });
    expect(inspection.entries.map(({ title }) => title)).toEqual([
      'Live system (amd64)',
      'Live system (amd64 fail-safe mode)',
    ]);
    expect(entry.kernel).toEqual({ partition: 0, path: '/live/vmlinuz' });
    expect(loaded.cmdline).toBe('BOOT_IMAGE=/live/vmlinuz boot=live components quiet splash findiso=');
    expect(loaded.kernel.equals(kernel) && loaded.initrd!.equals(initrd)).toBe(true);
    expect(inspection.problems.filter((problem) => !/protective|overlap/.test(problem))).toEqual([]);
  });

  const menu = (text: string): Buffer => Buffer.from(text.replace(/^ {4}/gm, ''));

  test.each<[string, Record<string, Content>, { title: string; kernel: string; initrd: string; cmdline: RegExp }]>([
    [
      'Debian netinst (isolinux, a menu in several files)',
      {
        'isolinux/isolinux.cfg': menu('path\ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n'),
        'isolinux/menu.cfg': menu('menu title Debian installer\ninclude gtk.cfg\ninclude txt.cfg\n'),
        'isolinux/gtk.cfg': menu(
          'default installgui\nlabel installgui\n  menu label ^Graphical install\n  menu default\n  kernel /install.amd/vmlinuz\n  append vga=788 initrd=/install.amd/gtk/initrd.gz --- quiet\n',
        ),
        'isolinux/txt.cfg': menu(
          'label install\n  menu label ^Install\n  kernel /install.amd/vmlinuz\n  append vga=788 initrd=/install.amd/initrd.gz --- quiet\n',
        ),
        'install.amd/vmlinuz': kernel,
        'install.amd/initrd.gz': noise(10),
        'install.amd/gtk/initrd.gz': initrd,
      },
      {
        title: 'Graphical install',
        kernel: '/install.amd/vmlinuz',
        initrd: '/install.amd/gtk/initrd.gz',
        cmdline: /vga=788 .*--- quiet/,
      },
    ],
    [
      'Ubuntu live-server (GRUB, casper)',
      {
        '.disk/info': Buffer.from('Ubuntu-Server 22.04'),
        'boot/grub/grub.cfg': menu(
          'set timeout=30\nloadfont unicode\nset menu_color_normal=white/black\nmenuentry "Try or Install Ubuntu Server" {\n\tset gfxpayload=keep\n\tlinux\t/casper/vmlinuz  ---\n\tinitrd\t/casper/initrd\n}\ngrub_platform\nif [ "$grub_platform" = "efi" ]; then\nmenuentry "Boot from next volume" {\n\texit 1\n}\nfi\n',
        ),
        'casper/vmlinuz': kernel,
        'casper/initrd': initrd,
      },
      { title: 'Try or Install Ubuntu Server', kernel: '/casper/vmlinuz', initrd: '/casper/initrd', cmdline: /---/ },
    ],
    [
      'Fedora live (isolinux)',
      {
        'isolinux/isolinux.cfg': menu(
          'default vesamenu.c32\ntimeout 600\nmenu title Fedora\nlabel linux\n  menu label ^Start Fedora\n  kernel vmlinuz\n  append initrd=initrd.img root=live:CDLABEL=Fedora-WS-Live rd.live.image quiet rhgb\nlabel check\n  menu label Test this ^media & start\n  menu default\n  kernel vmlinuz\n  append initrd=initrd.img root=live:CDLABEL=Fedora-WS-Live rd.live.image rd.live.check quiet\n',
        ),
        'isolinux/vmlinuz': kernel,
        'isolinux/initrd.img': initrd,
      },
      {
        title: 'Test this media & start',
        kernel: '/isolinux/vmlinuz',
        initrd: '/isolinux/initrd.img',
        cmdline: /root=live:CDLABEL=Fedora-WS-Live rd.live.image rd.live.check quiet/,
      },
    ],
    [
      'Alpine (syslinux in boot)',
      {
        'boot/syslinux/syslinux.cfg': menu(
          'TIMEOUT 10\nPROMPT 1\nDEFAULT lts\nLABEL lts\nMENU LABEL Linux lts\nKERNEL /boot/vmlinuz-lts\nINITRD /boot/initramfs-lts\nAPPEND modules=loop,squashfs,sd-mod,usb-storage quiet\n',
        ),
        'boot/vmlinuz-lts': kernel,
        'boot/initramfs-lts': initrd,
      },
      {
        title: 'Linux lts',
        kernel: '/boot/vmlinuz-lts',
        initrd: '/boot/initramfs-lts',
        cmdline: /modules=loop,squashfs,sd-mod,usb-storage quiet/,
      },
    ],
  ])('laid out as %s', async (_, files, expected) => {
    const path = iso('Layout', { 'boot/bios.bin': noise(4096), ...files }, ...bios, '-isohybrid-mbr', isohdpfx);
    const { entry, loaded } = await bootOf(path);
    expect(entry).toMatchObject({
      title: expected.title,
      kernel: { partition: 0, path: expected.kernel },
      initrds: [{ partition: 0, path: expected.initrd }],
    });
    expect(loaded.cmdline).toMatch(expected.cmdline);
    expect(loaded.kernel.equals(kernel) && loaded.initrd!.equals(initrd)).toBe(true);
  });

  test('whose volume is not on the disk any more does not: a partition with a file system lies over it', async () => {
    const path = iso('Old CD', debianLive, ...bios);
    run('truncate', ['-s', '8M', path]);
    run('sfdisk', ['-q', '--no-reread', path], { input: 'label: dos\nstart=2048,type=83\n' });
    const root = join(folder, 'new-root');
    plant(root, { 'boot/vmlinuz-6.1': kernel, 'boot/initrd.img-6.1': initrd, 'etc/fstab': Buffer.from('') });
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-E', `offset=${2048 * 512}`, '-d', root, path, '7M']);
    const { inspection, entry } = await bootOf(path);
    expect(inspection.partitions.map(({ index, fileSystem }) => [index, fileSystem?.type])).toEqual([[1, 'ext4']]);
    expect(entry.kernel).toEqual({ partition: 1, path: '/boot/vmlinuz-6.1' });
  });

  test('the boot images of the catalog are listed, and what is in the one for EFI is read', async () => {
    const inside = {
      'EFI/BOOT/grub.cfg': grubConfig(grubEntry('Inside', '/vmlinuz console=tty0', '/initrd')),
      vmlinuz: kernel,
      initrd,
    };
    const files = { 'boot/bios.bin': noise(4096), 'boot/efi.img': efiImage(inside) };
    const { inspection, entry } = await bootOf(iso('Only EFI', files, ...bios, ...efi));
    expect(inspection.partitions.map(({ index, typeName, fileSystem }) => [index, typeName, fileSystem?.type])).toEqual(
      [
        [0, '', 'iso9660'],
        [-1, 'BIOS boot image', undefined],
        [-2, 'EFI boot image', 'fat12'],
      ],
    );
    expect(entry).toMatchObject({ title: 'Inside', kernel: { partition: -2, path: '/vmlinuz' } });
  });

  test('GRUB knows it as cd0, and a loopback inside it is refused by name', async () => {
    const config = `set root=(cd0)
menuentry "By name" { linux (cd0)/live/vmlinuz boot=live
 initrd /live/initrd.img }
menuentry "Looped" { loopback loop /inner.iso
 linux (loop)/live/vmlinuz boot=live }
`;
    const { inspection } = await bootOf(
      iso('CD', { ...debianLive, 'boot/grub/grub.cfg': Buffer.from(config) }, ...bios),
    );
    expect(inspection.entries.map(({ title, problem }) => [title, problem])).toEqual([
      ['By name', undefined],
      ['Looped', expect.stringContaining('loop')],
    ]);
  });
});
