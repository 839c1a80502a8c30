/** Menus: what an entry loads, which one is the default, and what `search` finds. */
import { describe, expect, test } from 'vitest';
import type { BootEntry } from '../../../../src/boot/entries/boot-entry.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import type { GrubConfig } from '../../../../src/boot/grub/grub-config.js';
import { memoryVolume } from './memory-file-system.js';
import { readMenu } from './run-script.js';

const uuid2 = '0f7c1c3e-86d2-4c3f-8d43-7d5fb6a2f002';

const defaultOf = ({ entries, defaultEntry }: GrubConfig): BootEntry | undefined =>
  defaultEntry === undefined ? undefined : entries[defaultEntry];

describe('rules of the menu', () => {
  const files = { '/k': 'k', '/i': 'i', '/j': 'j' };
  const titles = async (script: string): Promise<string | undefined> => defaultOf(await readMenu(script, files))?.path;
  const entry = (name: string, options = ''): string =>
    `menuentry '${name}' ${options} { linux /k x=${name.length}; initrd /i; }\n`;

  test('a title with > in it is written doubled in default', async () => {
    const menu = entry('other') + entry('a>b');
    expect(await titles(`${menu}set default="a>>b"`)).toBe('a>>b');
    expect(await titles(`${menu}set default="a>b"`)).toBe('other');
  });

  test('a number wins over a title that looks like one', async () => {
    expect(await titles(`${entry('zero')}${entry('one')}${entry('1 and more')}set default="1 and more"`)).toBe('one');
  });

  test('a submenu sees exported variables only', async () => {
    const script = `set a=1; set b=2; export b\nsubmenu s {\n menuentry m { linux /k "$a$b" $1; }\n}`;
    expect((await readMenu(script, files)).entries[0]?.cmdline).toBe('BOOT_IMAGE=/k 2 m');
  });

  test('what one entry does is not seen by the next', async () => {
    const script = `set a=1\nmenuentry a { set a=2; linux /k $a; }\nmenuentry b { linux /k $a; }`;
    expect((await readMenu(script, files)).entries.map(({ cmdline }) => cmdline)).toEqual([
      'BOOT_IMAGE=/k 2',
      'BOOT_IMAGE=/k 1',
    ]);
  });

  test('options of an entry, its parameters and functions', async () => {
    const script = `function load {\n linux /k "$1"\n}\nmenuentry --class os --id=the-id "Title" p2 --hotkey=d --unrestricted { load "$2 $chosen"; }`;
    expect((await readMenu(script, files)).entries[0]).toMatchObject({
      title: 'Title',
      id: 'the-id',
      cmdline: 'BOOT_IMAGE=/k "p2 the-id"',
    });
  });

  test('several initrds in one command; a second command replaces them', async () => {
    const script =
      'menuentry a { linux16 /k; initrd16 /j /i; }\nmenuentry b { linuxefi /k; initrdefi /i; initrdefi /j; }';
    expect((await readMenu(script, files)).entries.map(({ initrds }) => initrds.map(({ path }) => path))).toEqual([
      ['/j', '/i'],
      ['/j'],
    ]);
  });

  test('the kernel line is quoted as GRUB quotes it', async () => {
    const script = `menuentry a { linux /k 'a b' "c\\"d" e\\\\f "it's"; }`;
    expect((await readMenu(script, files)).entries[0]?.cmdline).toBe(`BOOT_IMAGE=/k "a b" c\\"d e\\\\f it\\'s`);
  });

  test('fallback is tried before any other', async () => {
    const script = `menuentry gone { linux /none; }\n${entry('first')}${entry('second')}set fallback="7 2"`;
    expect(await titles(script)).toBe('second');
  });

  test('without fallback, an entry with an initrd is preferred', async () => {
    expect(await titles(`menuentry gone { linux /none; }\nmenuentry bare { linux /k; }\n${entry('full')}`)).toBe(
      'full',
    );
    expect(await titles(`menuentry gone { linux /none; }\nmenuentry bare { linux /k; }`)).toBe('bare');
  });

  test.each([
    ['a missing initrd', 'linux /k; initrd /i /none', '/none of partition 1 does not exist'],
    ['a directory', 'linux /boot', '/boot of partition 1 is no regular file'],
    ['another disk', 'linux (hd1,gpt1)/k', '/k: the device (hd1,gpt1) is another disk'],
    ['LVM', 'set root=lvmid/a/b; linux /k', '/k: the device (lvmid/a/b) is an LVM volume, which is not read'],
    [
      'a partition without a file system',
      'linux (hd0,gpt7)/k',
      '/k: the device (hd0,gpt7) is no file system of this disk that can be read',
    ],
    ['a relative path', 'linux k', 'k is no absolute path'],
    ['no kernel', 'true', 'loads no kernel'],
    ['an initrd without a kernel', 'initrd /i', '`initrd` stands before `linux`'],
    ['Xen', 'multiboot2 /k; module2 /k', 'loads a Multiboot 2 kernel, not Linux'],
    ['power off', 'halt', 'leaves GRUB without booting (exit, halt, reboot or fwsetup)'],
    [
      'an archive made by GRUB',
      'linux /k; initrd newc:a:/i',
      'the initrd newc:a:/i is made by GRUB (newc:), which is not followed',
    ],
  ])('%s: the entry says why it cannot be booted', async (_, body, problem) => {
    const config = await readMenu(`menuentry a { ${body}; }`, files);
    expect(config.entries[0]?.problem).toBe(problem);
    expect(config.defaultEntry).toBeUndefined();
  });

  test('a second kernel in the same entry repairs a first that is missing', async () => {
    expect(
      (await readMenu('menuentry a { if linux /none; then true; else linux /k; fi; }', files)).entries[0],
    ).toMatchObject({
      kernel: { path: '/k' },
      problem: undefined,
    });
  });

  test('an entry that loads another configuration is its submenu', async () => {
    const config = await readMenu('menuentry more { configfile /more.cfg; }', {
      ...files,
      '/more.cfg': entry('inner'),
    });
    expect(defaultOf(config)).toMatchObject({ path: 'more>inner', indexPath: '0>0', source: { path: '/more.cfg' } });
  });

  test('a configuration without a menu that loads a kernel', async () => {
    const config = await readMenu('linux /k quiet\ninitrd /i\nboot\necho not reached', files);
    expect(defaultOf(config)).toMatchObject({
      title: '/boot/grub/grub.cfg of partition 1',
      cmdline: 'BOOT_IMAGE=/k quiet',
      initrds: [{ path: '/i' }],
    });
  });

  test('probe tells what a device holds', async () => {
    const script = `probe --set=u --fs-uuid (hd0,gpt2); probe --set p -p hd0,gpt2; probe --set=f --fs (hd0,gpt2)\nmenuentry a { linux /k $u $p $f; }`;
    const other = memoryVolume(2, {}, { uuid: uuid2, type: 'fat16' });
    expect(
      (await readMenu(script.replaceAll('menuentry', 'export u p f\nmenuentry'), files, [other])).entries[0]?.cmdline,
    ).toBe(`BOOT_IMAGE=/k ${uuid2} gpt fat`);
  });
});

describe('search', () => {
  const volumes = (): Volume[] => [
    memoryVolume(2, { '/here': 'x' }, { uuid: uuid2, label: 'two' }),
    memoryVolume(3, { '/here': 'x' }, { uuid: 'A1B2-C3D4', label: 'three', type: 'fat32' }),
  ];
  test.each([
    [`search --no-floppy --fs-uuid --set=root ${uuid2}`, 'hd0,gpt2'],
    [`search -nu --set root ${uuid2}`, 'hd0,gpt2'],
    [`search --fs-uuid --set ${uuid2}`, 'hd0,gpt2'],
    ['search --set=root --fs-uuid a1b2-c3d4', 'hd0,gpt3'],
    ['search --label three --set', 'hd0,gpt3'],
    ['search -s root -l two', 'hd0,gpt2'],
    ['search --file /here --set=root', 'hd0,gpt2'],
    ['search --file --set=root --hint hd0,gpt3 /here', 'hd0,gpt3'],
    ['search --file --set=root --hint-bios=hd0,gpt3 --hint-efi=hd0,gpt2 --hint-new=x /here', 'hd0,gpt3'],
    ['search.file /here root', 'hd0,gpt2'],
    ['search.fs_label three root', 'hd0,gpt3'],
    [`search --fs-uuid ${uuid2}`, 'hd0,gpt1'],
    ['search --fs-uuid --set=root nothing', 'hd0,gpt1'],
    ['search --file --set=root /none', 'hd0,gpt1'],
  ])('%s', async (command, root) => {
    const files = { '/k': 'k' };
    const config = await readMenu(
      `${command}\nexport root\nmenuentry a { linux (hd0,gpt1)/k $root; }`,
      files,
      volumes(),
    );
    expect(config.entries[0]?.cmdline).toBe(`BOOT_IMAGE=(hd0,gpt1)/k ${root}`);
  });

  test('it fails where nothing is found', async () => {
    const config = await readMenu(
      'if search --label --set=root no; then set a=1; else set a=2; fi; menuentry x { linux /k $a; }',
      { '/k': 'k' },
    );
    expect(config.entries[0]?.cmdline).toBe('BOOT_IMAGE=/k 2');
  });
});
