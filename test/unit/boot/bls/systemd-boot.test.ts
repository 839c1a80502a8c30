/** Boot Loader Specification entries and unified kernel images on memory file systems, as systemd-boot lists them. */
import { describe, expect, test } from 'vitest';
import { findEntries } from '../../../../src/boot/entries/find-entries.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import { TsvmmError } from '../../../../src/errors.js';
import { type Content, memoryVolume } from '../grub/memory-file-system.js';
import { buildPe, buildUki, grubEfi, systemdBoot } from '../pe/build-pe.js';

const espType = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
const xbootldrType = 'bc13c2ff-59e6-4262-a352-b275fd6f7172';
const files = { '/k': 'kernel', '/i': 'initrd', '/i2': 'more' };
const installed = { '/EFI/BOOT/BOOTX64.EFI': systemdBoot, '/EFI/systemd/systemd-bootx64.efi': systemdBoot };

const esp = (more: Record<string, Content>): Volume =>
  memoryVolume(1, { ...files, ...more }, { type: 'fat32', uuid: 'A1B2-C3D4', partitionType: espType });
const xbootldr = (more: Record<string, Content>): Volume =>
  memoryVolume(2, { ...files, ...more }, { type: 'ext4', partitionType: xbootldrType });

/** What the menu shows, the default marked, without what systemd-boot adds by itself. */
async function menu(...volumes: Volume[]): Promise<string[]> {
  const { entries, defaultEntry } = await findEntries(volumes, []);
  return entries
    .map((entry, index) => ({ entry, mark: index === defaultEntry ? '*' : '' }))
    .filter(({ entry }) => entry.kind !== 'efi')
    .map(({ entry, mark }) => `${mark}${entry.title}${entry.problem === undefined ? '' : ' !'}`);
}

const conf = (text: string): string => `${text.split('; ').join('\n')}\n`;
const entryFiles = (entries: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(entries).map(([name, text]) => [`/loader/entries/${name}.conf`, conf(text)]));
const read = async (entries: Record<string, string>, more: Record<string, Content> = {}) =>
  findEntries([esp({ ...installed, ...entryFiles(entries), ...more })], []);

describe('an entry of type 1', () => {
  test('as kernel-install writes it', async () => {
    const { entries, defaultEntry, problems } = await read({
      '6a98-6.1.0': `# Boot Loader Specification type#1 entry; title      Debian GNU/Linux 12 (bookworm); version    6.1.0-13-amd64; machine-id 6a9857a393724b7a981ebb5b8495b9ea; sort-key   debian; options    root=UUID=x ro; options quiet; linux      /k; initrd     /i; initrd     /i2`,
    });
    expect(problems).toEqual([]);
    expect(defaultEntry).toBe(0);
    expect(entries[0]).toEqual({
      kind: 'bls',
      title: 'Debian GNU/Linux 12 (bookworm)',
      id: '6a98-6.1.0.conf',
      path: 'Debian GNU/Linux 12 (bookworm)',
      indexPath: '0',
      kernel: { partition: 1, path: '/k' },
      initrds: [
        { partition: 1, path: '/i' },
        { partition: 1, path: '/i2' },
      ],
      cmdline: 'root=UUID=x ro quiet',
      source: { partition: 1, path: '/loader/entries/6a98-6.1.0.conf' },
      problem: undefined,
    });
  });

  test.each([
    ['a path without a slash', 'linux k; initrd i'],
    ['a path with backslashes and doubled slashes', 'linux \\k; initrd //i'],
    ['a quoted value and white space', 'linux \'/k\'; \tinitrd \t"/i" '],
    ['keys for other machines', 'linux /k; initrd /i; devicetree /none.dtb; architecture X64; unknown key'],
    ['a carriage return at the end of lines', 'linux /k\r; initrd /i\r'],
  ])('%s', async (_, text) => {
    const { entries } = await read({ a: text });
    expect(entries[0]).toMatchObject({
      title: 'a.conf',
      kernel: { path: '/k' },
      initrds: [{ path: '/i' }],
      cmdline: '',
      problem: undefined,
    });
  });

  test('of another architecture is hidden', async () => {
    expect(await menu(esp({ ...installed, ...entryFiles({ a: 'linux /k; architecture aa64' }) }))).toEqual([]);
  });

  test('that cannot be booted is listed with the reason', async () => {
    const { entries, defaultEntry, problems } = await read({
      a: 'title no kernel file; linux /none',
      b: 'title EFI program; efi /EFI/BOOT/BOOTX64.EFI',
      c: 'title no initrd; linux /k; initrd /none',
      d: 'title no UKI; uki /k',
      e: 'title from the network; uki-url http://example.com/a.efi',
      f: 'title both; linux /k; efi /k',
      g: 'title nothing',
    });
    expect(entries.filter(({ kind }) => kind === 'bls').map(({ title, problem }) => `${title}: ${problem}`)).toEqual([
      'from the network: loads http://example.com/a.efi from the network',
      'no UKI: /k is no unified kernel image',
      'no initrd: its initrd /none does not exist',
      'EFI program: starts the EFI program /EFI/BOOT/BOOTX64.EFI',
      'no kernel file: /none does not exist',
    ]);
    expect(defaultEntry).toBeUndefined();
    expect(problems).toEqual(
      expect.arrayContaining([
        '/loader/entries/f.conf has both `linux` and `efi`',
        '/loader/entries/g.conf names no kernel',
      ]),
    );
  });

  test('has a $ in its options as it stands there', async () => {
    const text = 'linux /k; options root=/dev/vda2 memmap=1M$0x100000 $x \\$y quiet';
    const grubenv = '# GRUB Environment Block\nx=no\n0x100000=no\n###';
    const cmdline = 'root=/dev/vda2 memmap=1M$0x100000 $x \\$y quiet';
    for (const more of [{}, { '/grub2/grubenv': grubenv }])
      expect((await read({ a: text }, more)).entries[0]).toMatchObject({ cmdline });
    const loose = (more: Record<string, Content>) => findEntries([memoryVolume(1, { ...files, ...more })], []);
    const alone = entryFiles({ a: text });
    expect((await loose(alone)).entries[0]).toMatchObject({ cmdline });
    expect((await loose({ ...alone, '/grub2/grubenv': grubenv })).entries[0]).toMatchObject({
      cmdline: 'root=/dev/vda2 memmap=1Mno no $y quiet',
    });
  });

  test('takes $kernelopts and tuned parameters from the environment block', async () => {
    const boot = memoryVolume(2, {
      ...files,
      '/loader/entries/f.conf': 'title F\noptions $kernelopts $tuned_params\nlinux /k\ninitrd /i $tuned_initrd\n',
      '/grub2/grubenv': '# GRUB Environment Block\nkernelopts=root=/dev/vda3 ro \n###',
    });
    const { entries } = await findEntries([esp({}), boot], []);
    expect(entries[0]).toMatchObject({ cmdline: 'root=/dev/vda3 ro', initrds: [{ path: '/i' }], problem: undefined });
  });

  test('written for a /boot partition and moved into the root file system', async () => {
    const root = memoryVolume(2, {
      '/boot/loader/entries/f.conf': 'linux /vmlinuz\ninitrd /initrd\n',
      '/boot/vmlinuz': 'k',
      '/boot/initrd': 'i',
    });
    const { entries } = await findEntries([root], []);
    expect(entries[0]).toMatchObject({ kernel: { path: '/boot/vmlinuz' }, initrds: [{ path: '/boot/initrd' }] });
  });
});

describe('the order of the menu', () => {
  test('sort-key, machine, version downwards; then names downwards; exhausted entries last', async () => {
    const order = await menu(
      esp({
        ...installed,
        ...entryFiles({
          'a-1': 'title name a-1; linux /k',
          'a-10': 'title name a-10; linux /k',
          'a-9': 'title name a-9; linux /k',
          'bad+0-3': 'title exhausted; sort-key aaa; linux /k',
          'tried+2-1': 'title counted; sort-key deb; version 9; machine-id 11; linux /k',
          k1: 'title deb 10; sort-key deb; version 6.1.10; machine-id 11; linux /k',
          k2: 'title deb 9; sort-key deb; version 6.1.9; machine-id 11; linux /k',
          k3: 'title deb rc; sort-key deb; version 6.1.9~rc1; machine-id 11; linux /k',
          k4: 'title deb, no machine; sort-key deb; version 1; linux /k',
          z: 'title arch; sort-key arch; version 1; linux /k',
        }),
      }),
    );
    expect(order).toEqual([
      '*arch',
      'deb, no machine',
      'counted',
      'deb 10',
      'deb 9',
      'deb rc',
      'name a-10',
      'name a-9',
      'name a-1',
      'exhausted',
    ]);
  });

  test('entries of both partitions are one menu', async () => {
    expect(
      await menu(
        esp({ ...installed, ...entryFiles({ b: 'title esp; linux /k' }) }),
        xbootldr(entryFiles({ a: 'title boot a; linux /k', c: 'title boot c; linux /k' })),
      ),
    ).toEqual(['*boot c', 'esp', 'boot a']);
  });

  test('equal titles are told apart by version, machine and file name', async () => {
    const same = 'title Same; sort-key x; linux /k';
    expect(
      await menu(
        esp({
          ...installed,
          ...entryFiles({
            a: `${same}; version 2`,
            b: `${same}; version 1; machine-id 0123456789abcdef`,
            c: `${same}; version 1; machine-id 1123456789abcdef`,
            d: `${same}; version 1; machine-id 1123456789abcdef`,
          }),
        }),
      ),
    ).toEqual(['*Same (2)', 'Same (1) (01234567)', 'Same (1) (11234567) (d.conf)', 'Same (1) (11234567) (c.conf)']);
  });
});

describe('the default', () => {
  const two = { old: 'title old; linux /k', new: 'title new; linux /k' };
  test.each([
    ['default new.conf', 'new'],
    ['default NEW.conf', 'new'],
    ['default n*', 'new'],
    ['default [m-o]e?.conf', 'new'],
    ['default new', 'old'],
    ['default @saved', 'old'],
    ['default @oldest', 'old'],
    ['default "new.conf"', 'new'],
    ['timeout 3', 'old'],
    ['default old.conf\ndefault new.conf', 'new'],
  ])('%j', async (config, title) => {
    const { entries, defaultEntry } = await read(two, { '/loader/loader.conf': `${config}\n` });
    expect(entries[defaultEntry ?? -1]?.title).toBe(title);
  });

  test.each([
    ['default a.conf', 'A'],
    ['default a', 'U'],
    ['default a+3.conf', 'A'], // systemd-boot before 258 compares the whole name
    ['default a+*', 'A'],
    ['default c.conf', 'C'],
    ['default d.conf', 'exhausted'],
    ['default u.efi', 'U'],
  ])('%j, where entries are counted', async (config, title) => {
    const counted = { 'a+3': 'title A; linux /k', b: 'title B; linux /k', 'c+2-1': 'title C; linux /k' };
    const { entries, defaultEntry } = await read(
      { ...counted, 'b+x': 'title no counter; linux /k', 'd+0-3': 'title exhausted; linux /k' },
      {
        '/loader/loader.conf': `${config}\nauto-firmware no\n`,
        '/EFI/Linux/u+1.efi': buildUki({ '.osrel': 'ID=u\nPRETTY_NAME=U\n', '.linux': 'k' }),
      },
    );
    expect(entries[defaultEntry ?? -1]?.title).toBe(title);
    expect(entries.map(({ id }) => id)).toEqual(['u.efi', 'c.conf', 'b+x.conf', 'b.conf', 'a.conf', 'd.conf']);
  });

  test('that names no entry is told', async () => {
    expect((await read(two, { '/loader/loader.conf': 'default new' })).problems).toEqual([
      "/loader/loader.conf: no entry is called 'new' (default)",
    ]);
  });

  test('that needs firmware gives way to one that boots', async () => {
    const found = await read(two, {
      '/loader/loader.conf': 'default auto-windows',
      '/EFI/Microsoft/Boot/bootmgfw.efi': 'MZ',
    });
    expect(found.entries.map(({ title }) => title)).toEqual([
      'old',
      'new',
      'Windows Boot Manager',
      'Reboot Into Firmware Interface',
    ]);
    expect(found.defaultEntry).toBe(0);
    expect(found.problems).toEqual([
      "the default entry 'Windows Boot Manager' cannot be booted: starts the EFI program /EFI/Microsoft/Boot/bootmgfw.efi; taking 'old' instead",
    ]);
  });

  test('an entry whose kernel is gone is passed over as systemd-boot does', async () => {
    const { entries, defaultEntry, problems } = await read({ old: 'title old; linux /none', new: two.new });
    expect(entries[defaultEntry ?? -1]?.title).toBe('new');
    expect(problems).toEqual([]);
  });

  test('auto-entries and auto-firmware are honoured', async () => {
    const { entries } = await read(two, {
      '/loader/loader.conf': 'auto-entries no\nauto-firmware 0',
      '/EFI/Microsoft/Boot/bootmgfw.efi': 'MZ',
    });
    expect(entries).toHaveLength(2);
  });
});

describe('unified kernel images', () => {
  const osrel = 'ID=arch\nNAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nBUILD_ID=rolling\n';
  const image = buildUki({
    '.osrel': osrel,
    '.cmdline': 'root=/dev/vda2\n ro\0',
    '.linux': 'a kernel',
    '.initrd': 'an initrd',
    '.ucode': 'microcode',
  });

  test('in EFI/Linux, microcode first', async () => {
    const { entries, defaultEntry } = await findEntries([esp({ ...installed, '/EFI/Linux/Arch.efi': image })], []);
    expect(defaultEntry).toBe(0);
    expect(entries[0]).toMatchObject({
      kind: 'uki',
      title: 'Arch Linux',
      id: 'Arch.efi',
      kernel: { partition: 1, path: '/EFI/Linux/Arch.efi', section: { name: '.linux', size: 8 } },
      initrds: [{ section: { name: '.ucode', size: 9 } }, { section: { name: '.initrd', size: 9 } }],
      cmdline: 'root=/dev/vda2  ro',
      problem: undefined,
    });
  });

  test('sort with entries of type 1', async () => {
    expect(
      await menu(
        esp({ ...installed, ...entryFiles({ a: 'title type 1; sort-key debian; version 1; linux /k' }) }),
        xbootldr({ '/EFI/Linux/arch.efi': image }),
      ),
    ).toEqual(['*Arch Linux', 'type 1']);
  });

  test('every profile is an entry, the first is booted', async () => {
    const profiles = Buffer.from('ID=main\nTITLE=Regular\n');
    const multi = buildPe([
      { name: '.linux', data: 'kernel' },
      { name: '.osrel', data: osrel },
      { name: '.cmdline', data: 'base' },
      { name: '.profile', data: profiles },
      { name: '.profile', data: 'ID=reset\n' },
      { name: '.cmdline', data: 'reset=1' },
    ]);
    const { entries, defaultEntry } = await findEntries([esp({ ...installed, '/EFI/Linux/a.efi': multi })], []);
    expect(entries.slice(0, 2).map(({ title, id, cmdline }) => [title, id, cmdline])).toEqual([
      ['Arch Linux (Regular)', 'a.efi', 'base'],
      ['Arch Linux (reset)', 'a.efi@reset', 'reset=1'],
    ]);
    expect(defaultEntry).toBe(0);
  });

  test('named by an entry of type 1, whose options replace the command line', async () => {
    const found = await read(
      { a: 'title a; uki /u.efi', b: 'title b; linux /u.efi; options mine', c: 'title c; efi /u.efi' },
      { '/u.efi': image },
    );
    expect(found.entries.slice(0, 3).map(({ title, cmdline, initrds }) => [title, cmdline, initrds.length])).toEqual([
      ['c', 'root=/dev/vda2  ro', 2],
      ['b', 'mine', 2],
      ['a', 'root=/dev/vda2  ro', 2],
    ]);
  });

  describe('with addons', () => {
    const kernel = { '.osrel': osrel, '.uname': '6.9.1\n', '.cmdline': 'quiet', '.linux': 'kernel', '.initrd': 'own' };
    const uki = (version: number, sections: Record<string, string> = kernel): Buffer =>
      buildPe([
        { name: '.sdmagic', data: `#### LoaderInfo: systemd-stub ${version}.4-1 ####` },
        ...Object.entries(sections).map(([name, data]) => ({ name, data })),
      ]);
    const addon = (sections: Record<string, string>): Buffer =>
      buildPe(Object.entries(sections).map(([name, data]) => ({ name, data })));
    const addons = {
      '/loader/addons/g.addon.efi': addon({ '.cmdline': 'console=ttyS1\n', '.ucode': 'g' }),
      '/EFI/Linux/a.efi.extra.d/z.ADDON.EFI': addon({ '.cmdline': 'last', '.initrd': 'z', '.uname': '6.9.1' }),
      '/EFI/Linux/a.efi.extra.d/b.addon.efi': addon({ '.cmdline': ' root=UUID=1234 ', '.ucode': 'b', '.initrd': 'b' }),
      '/EFI/Linux/a.efi.extra.d/c.addon.efi': addon({ '.cmdline': 'another kernel', '.uname': '6.9.2' }),
      '/EFI/Linux/a.efi.extra.d/d.cred': 'no addon',
      '/EFI/Linux/b.efi.extra.d/a.addon.efi': addon({ '.cmdline': 'of another image' }),
    };

    test.each(['a.efi', 'a+3-1.efi'])('named %s', async (name) => {
      const path = `/EFI/Linux/${name}`;
      const { entries, problems } = await findEntries([esp({ ...installed, ...addons, [path]: uki(254) })], []);
      expect(problems).toEqual([]);
      expect(entries[0]).toMatchObject({
        kernel: { path },
        cmdline: 'quiet console=ttyS1 root=UUID=1234 last',
        initrds: [
          { path: '/EFI/Linux/a.efi.extra.d/b.addon.efi', section: { name: '.ucode' } },
          { path: '/loader/addons/g.addon.efi', section: { name: '.ucode' } },
          { path, section: { name: '.initrd' } },
          { path: '/EFI/Linux/a.efi.extra.d/b.addon.efi', section: { name: '.initrd' } },
          { path: '/EFI/Linux/a.efi.extra.d/z.ADDON.EFI', section: { name: '.initrd' } },
        ],
      });
    });

    test('options replace its own command line, not theirs', async () => {
      const { entries } = await read({ a: 'uki /u.efi; options mine' }, { ...addons, '/u.efi': uki(257) });
      expect(entries[0]?.cmdline).toBe('mine console=ttyS1');
    });

    test('and a stub that takes none', async () => {
      const { entries, problems } = await findEntries(
        [esp({ ...installed, ...addons, '/EFI/Linux/a.efi': uki(252) })],
        [],
      );
      expect(entries[0]).toMatchObject({ cmdline: 'quiet', initrds: [{ section: { name: '.initrd' } }] });
      expect(problems).toEqual([
        '/EFI/Linux/a.efi: its systemd-stub 252 takes no addons (254 would); they are left out',
      ]);
    });

    test('that are none or too many is told', async () => {
      const many = Array.from({ length: 70 }, (_, i) => String(i).padStart(2, '0'));
      const directory = '/EFI/Linux/a.efi.extra.d';
      const { entries, problems } = await findEntries(
        [
          esp({
            ...installed,
            ...Object.fromEntries(many.map((i) => [`${directory}/${i}.addon.efi`, addon({ '.cmdline': i })])),
            [`${directory}/00.addon.efi`]: uki(254),
            [`${directory}/01.addon.efi`]: 'text',
            '/EFI/Linux/a.efi': uki(254),
          }),
        ],
        [],
      );
      expect(entries[0]?.cmdline).toBe(['quiet', ...many.slice(2, 64)].join(' '));
      expect(problems).toEqual([
        `${directory} has 70 addons; only 64 are taken`,
        `${directory}/00.addon.efi is no addon of a unified kernel image that can be used`,
        `${directory}/01.addon.efi is no addon of a unified kernel image that can be used`,
      ]);
    });
  });

  test('as the only boot loader of the disk', async () => {
    const { entries, defaultEntry } = await findEntries([esp({ '/EFI/BOOT/BOOTX64.EFI': image })], []);
    expect(entries).toHaveLength(1);
    expect(defaultEntry).toBe(0);
    expect(entries[0]).toMatchObject({ kind: 'uki', source: { path: '/EFI/BOOT/BOOTX64.EFI' } });
  });

  test('without a word about its system is left out of the menu, but can be booted alone', async () => {
    const bare = buildUki({ '.linux': 'k' });
    expect(await menu(esp({ '/EFI/Linux/bare.efi': bare }))).toEqual(['*bare.efi']);
    expect(await menu(esp({ ...installed, ...entryFiles({ a: 'linux /k' }), '/EFI/Linux/bare.efi': bare }))).toEqual([
      '*a.conf',
      'bare.efi',
    ]);
  });

  test('a damaged one is a problem, and nothing else is lost', async () => {
    const cut = image.subarray(0, image.length - 600);
    const found = await findEntries([esp({ ...installed, '/EFI/Linux/a.efi': cut, '/EFI/Linux/b.efi': image })], []);
    expect(found.entries[0]?.id).toBe('b.efi');
    expect(found.problems).toEqual([
      '/EFI/Linux/a.efi: the kernel is damaged: its PE section ".ucode" (9 bytes at 4608) is not inside the file (copy or download the kernel file again and compare its checksum)',
    ]);
  });
});

test('damage is told with the place and what to do about it', async () => {
  const volume = memoryVolume(0, { ...files, '/EFI/systemd/systemd-bootx64.efi': systemdBoot }, { type: 'fat16' });
  const { fs } = volume;
  const stat = fs.stat.bind(fs);
  fs.stat = async (path) => {
    if (path === '/EFI/Linux')
      throw new TsvmmError('ERR_TSVMM_DISK_FORMAT', 'a loop of clusters', { hint: 'Try fsck.' });
    return stat(path);
  };
  const { problems } = await findEntries([volume], []);
  expect(problems).toEqual(['the disk: a loop of clusters (Try fsck.)']);
});

describe('among boot loaders', () => {
  const grub = memoryVolume(3, { '/k': 'k', '/boot/grub/grub.cfg': 'menuentry grub { linux /k; }' });
  const entry = entryFiles({ a: 'title bls; linux /k' });

  test.each([
    ['systemd-boot as the fallback loader comes first', { ...installed, ...entry }, ['*bls', 'grub']],
    [
      'systemd-boot behind a shim too',
      {
        '/EFI/BOOT/BOOTX64.EFI': grubEfi,
        '/EFI/BOOT/grubx64.efi': systemdBoot,
        '/EFI/BOOT/GRUBX64.EFI': systemdBoot,
        ...entry,
      },
      ['*bls', 'grub'],
    ],
    ['GRUB as the fallback loader', { '/EFI/BOOT/BOOTX64.EFI': grubEfi, ...entry }, ['*grub', 'bls']],
    [
      'GRUB where systemd-boot is only installed',
      { '/EFI/systemd/systemd-bootx64.efi': systemdBoot, ...entry },
      ['*grub', 'bls'],
    ],
    ['GRUB before entries without a loader', entry, ['*grub', 'bls']],
    [
      'a unified kernel image as the fallback loader',
      { '/EFI/BOOT/BOOTX64.EFI': buildUki({ '.linux': 'k' }), ...entry },
      ['*BOOTX64.EFI', 'grub', 'bls'],
    ],
  ])('%s', async (_, more, expected) => {
    const titles = await menu(esp(more), grub);
    expect(titles.map((title) => title.replace('bootx64.efi', 'BOOTX64.EFI'))).toEqual(expected);
  });
});
