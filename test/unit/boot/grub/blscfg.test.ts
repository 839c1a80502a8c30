/** `blscfg`: configurations as Fedora and RHEL write them, with the files of grubby and kernel-install. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { findEntries } from '../../../../src/boot/entries/find-entries.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import type { GrubConfig } from '../../../../src/boot/grub/grub-config.js';
import { type Content, memoryVolume } from './memory-file-system.js';
import { readMenu } from './run-script.js';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const uuid1 = '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001';
const grubenv = (...lines: string[]): string =>
  `${['# GRUB Environment Block', ...lines].join('\n')}\n`.padEnd(1024, '#');
const machine = '6a9857a393724b7a981ebb5b8495b9ea';

/** As Fedora's kernel-install writes them. */
const fedora = (version: string, boot = ''): Record<string, Content> => ({
  [`${boot}/loader/entries/${machine}-${version}.conf`]: `title Fedora Linux (${version}) 38 (Cloud Edition)
version ${version}
linux /vmlinuz-${version}
initrd /initramfs-${version}.img
options root=UUID=x ro rootflags=subvol=root no_timer_check net.ifnames=0 console=ttyS0,115200n8
grub_users $grub_users
grub_arg --unrestricted
grub_class fedora
`,
  [`${boot}/vmlinuz-${version}`]: 'k',
  [`${boot}/initramfs-${version}.img`]: 'i',
});
/** As RHEL 8's: the parameters of all kernels are in the environment block. */
const rhel = (version: string): Record<string, Content> => ({
  [`/loader/entries/${machine}-${version}.conf`]: `title Red Hat Enterprise Linux (${version}) 8.8 (Ootpa)
version ${version}
linux /vmlinuz-${version}
initrd /initramfs-${version}.img $tuned_initrd
options $kernelopts $tuned_params
id rhel-20230411-${version}
grub_users $grub_users
grub_arg --unrestricted
grub_class kernel
`,
  [`/vmlinuz-${version}`]: 'k',
  [`/initramfs-${version}.img`]: 'i',
});

const esp = memoryVolume(
  1,
  {
    '/EFI/fedora/grub.cfg': `search --no-floppy --root-dev-only --fs-uuid --set=dev ${uuid1}\nset prefix=($dev)/grub2\nexport $prefix\nconfigfile $prefix/grub.cfg\n`,
  },
  { type: 'fat32', uuid: 'A1B2-C3D4', partitionType: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' },
);
const find = (...volumes: Volume[]) => findEntries(volumes, []);

describe('Fedora 38, /boot on ext4', () => {
  const boot = (more: Record<string, Content> = {}): Volume =>
    memoryVolume(
      2,
      {
        ...fedora('6.2.9-300.fc38.x86_64'),
        ...fedora('6.10.3-200.fc38.x86_64'),
        [`/loader/entries/${machine}-0-rescue.conf`]: `title Fedora Linux (0-rescue-${machine}) 38\nversion 0-rescue-${machine}\nlinux /vmlinuz-0-rescue\noptions root=UUID=x ro\n`,
        '/vmlinuz-0-rescue': 'k',
        '/grub2/grub.cfg': fixture('fedora-38.cfg'),
        ...more,
      },
      { uuid: uuid1, partitionType: 'bc13c2ff-59e6-4262-a352-b275fd6f7172' },
    );

  test('boots the newest kernel', async () => {
    const { entries, defaultEntry, problems } = await find(esp, boot());
    expect(problems).toEqual([]);
    expect(entries.map(({ kind, id }) => `${kind} ${id}`)).toEqual([
      `blscfg ${machine}-6.10.3-200.fc38.x86_64`,
      `blscfg ${machine}-6.2.9-300.fc38.x86_64`,
      `blscfg ${machine}-0-rescue`,
    ]);
    expect(entries[defaultEntry ?? -1]).toEqual({
      kind: 'blscfg',
      title: 'Fedora Linux (6.10.3-200.fc38.x86_64) 38 (Cloud Edition)',
      id: `${machine}-6.10.3-200.fc38.x86_64`,
      path: 'Fedora Linux (6.10.3-200.fc38.x86_64) 38 (Cloud Edition)',
      indexPath: '0',
      kernel: { partition: 2, path: '/vmlinuz-6.10.3-200.fc38.x86_64' },
      initrds: [{ partition: 2, path: '/initramfs-6.10.3-200.fc38.x86_64.img' }],
      cmdline:
        'BOOT_IMAGE=(hd0,gpt2)/vmlinuz-6.10.3-200.fc38.x86_64 root=UUID=x ro rootflags=subvol=root no_timer_check net.ifnames=0 console=ttyS0,115200n8',
      source: { partition: 2, path: `/loader/entries/${machine}-6.10.3-200.fc38.x86_64.conf` },
      problem: undefined,
    });
  });

  test.each([
    ['a file name', `saved_entry=${machine}-6.2.9-300.fc38.x86_64`],
    ['an index', 'saved_entry=1'],
    ['a title', 'saved_entry=Fedora Linux (6.2.9-300.fc38.x86_64) 38 (Cloud Edition)'],
  ])('saved_entry is %s', async (_, line) => {
    const { entries, defaultEntry } = await find(
      esp,
      boot({ '/grub2/grubenv': grubenv(line, 'next_entry=2', 'boot_success=0') }),
    );
    expect(entries[defaultEntry ?? -1]?.kernel?.path).toBe('/vmlinuz-6.2.9-300.fc38.x86_64');
  });

  test('a saved entry that was removed leaves the newest', async () => {
    const files = { '/grub2/grubenv': grubenv(`saved_entry=${machine}-5.0.0-1.fc38.x86_64`) };
    const { defaultEntry } = await find(esp, boot(files));
    expect(defaultEntry).toBe(0);
  });
});

describe('RHEL 8, parameters in the environment block', () => {
  const boot = (env: string, more: Record<string, Content> = {}): Volume =>
    memoryVolume(
      3,
      {
        ...rhel('4.18.0-477.10.1.el8_8.x86_64'),
        ...rhel('4.18.0-477.el8.x86_64'),
        '/grub2/grub.cfg': fixture('rhel-8.cfg'),
        '/grub2/grubenv': env,
        ...more,
      },
      { uuid: uuid1 },
    );

  test('$kernelopts', async () => {
    const { entries, defaultEntry, problems } = await find(
      boot(grubenv('kernelopts=root=/dev/mapper/rhel-root ro crashkernel=auto ')),
    );
    expect(problems).toEqual([]);
    expect(entries[defaultEntry ?? -1]).toMatchObject({
      kernel: { path: '/vmlinuz-4.18.0-477.10.1.el8_8.x86_64' },
      initrds: [{ path: '/initramfs-4.18.0-477.10.1.el8_8.x86_64.img' }],
      cmdline:
        'BOOT_IMAGE=(hd0,gpt3)/vmlinuz-4.18.0-477.10.1.el8_8.x86_64 root=/dev/mapper/rhel-root ro crashkernel=auto',
    });
  });

  test('without them in the block, those of the configuration', async () => {
    const { entries } = await find(boot(grubenv()));
    expect(entries[0]?.cmdline).toContain(' rd.lvm.lv=rhel/swap console=ttyS0');
  });

  test('what tuned adds', async () => {
    const config = fixture('rhel-8.cfg')
      .replace('set tuned_params=""', 'set tuned_params="isolcpus=1 nohz_full=1"')
      .replace('set tuned_initrd=""', 'set tuned_initrd="($root)/tuned-initrd.img"');
    const { entries } = await find(
      boot(grubenv('kernelopts=root=/dev/vda3 ro'), { '/grub2/grub.cfg': config, '/tuned-initrd.img': 't' }),
    );
    expect(entries[0]).toMatchObject({
      initrds: [{ path: '/initramfs-4.18.0-477.10.1.el8_8.x86_64.img' }, { path: '/tuned-initrd.img' }],
    });
    expect(entries[0]?.cmdline).toMatch(/root=\/dev\/vda3 ro isolcpus=1 nohz_full=1$/);
  });
});

describe('the command', () => {
  const files = {
    '/loader/entries/a-1-1.conf': 'title A1\nlinux /k\noptions one\noptions two\n',
    '/loader/entries/a-2-1.conf': 'title A2\nlinux /k\ninitrd /i\ninitrd /i2\n',
    '/loader/entries/.hidden.conf': 'linux /k',
    '/loader/entries/note.txt': 'linux /k',
    '/loader/entries/nothing.conf': 'title nothing\n',
    '/k': 'k',
    '/i': 'i',
    '/i2': 'i',
    '/early/ucode.img': 'u',
  };
  const ids = (config: GrubConfig): string[] => config.entries.map(({ path }) => path);
  const run = (script: string, more: Record<string, Content> = {}): Promise<GrubConfig> =>
    readMenu(script, { ...files, ...more });

  test.each([
    ['blscfg', ['A2', 'A1']],
    ['menuentry x { linux /k; }\nblscfg\nmenuentry y { linux /k; }', ['x', 'A2', 'A1', 'y']],
    ['blscfg\nblscfg', ['A2', 'A1']],
    ['set default=a-1-1\nblscfg default\nsubmenu more {\n blscfg non-default\n}', ['A1', 'more>A2']],
    ['set default=1\nblscfg default', ['A2']],
    ['blscfg a-1-1', ['A1']],
    ['blscfg ($root)/other', ['B']],
    ['blscfg ($root)/other/b.conf', ['B']],
    ['set blsdir=/other\nblscfg', ['B']],
    ['set blsdir=/none\nblscfg', ['M']],
    ['bls_import', ['A2', 'A1']],
  ])('%j', async (script, expected) => {
    const more = {
      '/other/b.conf': 'title B\nlinux /k\n',
      '/boot/loader/entries/m.conf': 'title M\nlinux /k\n',
    };
    expect(ids(await run(script, more))).toEqual(expected);
  });

  test('only the first options count, all initrds do', async () => {
    const { entries } = await run('blscfg');
    expect(entries[1]?.cmdline).toBe('BOOT_IMAGE=(hd0,gpt1)/k one');
    expect(entries[0]?.initrds.map(({ path }) => path)).toEqual(['/i', '/i2']);
  });

  test('variables', async () => {
    const { entries } = await run('set default_kernelopts="from $x"\nset v="a b"\nset early_initrd="e1"\nblscfg', {
      '/loader/entries/a-3-1.conf': 'title V\nlinux /k\ninitrd /i\noptions x=$v y=$none $v\\$z\n',
      '/e1': 'e',
    });
    expect(entries[0]).toMatchObject({ cmdline: 'BOOT_IMAGE=(hd0,gpt1)/k x=a b y=a b $z' });
    expect(entries[0]?.initrds.map(({ path }) => path)).toEqual(['/e1', '/i']);
    expect(entries[1]?.cmdline).toBe('BOOT_IMAGE=(hd0,gpt1)/k from');
  });

  test('/boot moved into the root file system', async () => {
    const { entries } = await readMenu('blscfg', fedora('6.2.9-300.fc38.x86_64', '/boot'));
    expect(entries[0]).toMatchObject({
      kernel: { path: '/boot/vmlinuz-6.2.9-300.fc38.x86_64' },
      initrds: [{ path: '/boot/initramfs-6.2.9-300.fc38.x86_64.img' }],
    });
  });

  test('text that is no script is a problem of its entry', async () => {
    const { entries, problems } = await run('blscfg', {
      '/loader/entries/z-9-9.conf': 'title Z\nlinux /k\noptions a;;b\n',
    });
    expect(entries.map(({ title }) => title)).toContain('A2');
    expect(problems.join()).toContain('z-9-9.conf');
  });

  test('thousands of files', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 3000 }, (_, i) => [`/loader/entries/k-${i}-1.conf`, `title ${i}\nlinux /k\n`]),
    );
    const { entries, problems } = await readMenu('blscfg', { ...many, '/k': 'k' });
    expect(entries).toHaveLength(512);
    expect(problems).toEqual(['/loader/entries has 3000 entries; only 512 are read']);
  });
});

describe('other families', () => {
  test('openSUSE Leap', async () => {
    const volume = memoryVolume(
      2,
      {
        '/boot/grub2/grub.cfg': fixture('opensuse-leap-15.5.cfg'),
        '/boot/vmlinuz-5.14.21-150500.53-default': 'k',
        '/boot/initrd-5.14.21-150500.53-default': 'i',
        '/boot/grub2/grubenv': grubenv('saved_entry=openSUSE Leap 15.5'),
      },
      { uuid: uuid1 },
    );
    const { entries, defaultEntry, problems } = await find(volume);
    expect(problems).toEqual([]);
    expect(entries).toHaveLength(3);
    expect(entries[defaultEntry ?? -1]).toMatchObject({
      title: 'openSUSE Leap 15.5',
      initrds: [{ path: '/boot/initrd-5.14.21-150500.53-default' }],
    });
  });

  test('Arch Linux with /boot on the EFI System Partition and microcode', async () => {
    const volume = memoryVolume(
      1,
      {
        '/grub/grub.cfg': fixture('arch.cfg'),
        '/vmlinuz-linux': 'k',
        '/intel-ucode.img': 'u',
        '/initramfs-linux.img': 'i',
        '/initramfs-linux-fallback.img': 'f',
      },
      { type: 'fat32', uuid: 'A1B2-C3D4', partitionType: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' },
    );
    const { entries, defaultEntry } = await find(volume);
    expect(defaultEntry).toBe(0);
    expect(entries[0]?.initrds.map(({ path }) => path)).toEqual(['/intel-ucode.img', '/initramfs-linux.img']);
    expect(entries.at(-1)?.path).toBe(
      'Advanced options for Arch Linux>Arch Linux, with Linux linux (fallback initramfs)',
    );
  });

  test('Alpine', async () => {
    const volume = memoryVolume(
      1,
      { '/grub/grub.cfg': fixture('alpine.cfg'), '/vmlinuz-virt': 'k', '/initramfs-virt': 'i' },
      { uuid: uuid1 },
    );
    const { entries, defaultEntry } = await find(volume);
    expect(entries[defaultEntry ?? -1]?.cmdline).toContain('modules=sd-mod,usb-storage,ext4');
  });
});
