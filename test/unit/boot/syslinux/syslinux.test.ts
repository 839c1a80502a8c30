/** extlinux, syslinux and isolinux configurations on memory file systems. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FoundEntries } from '../../../../src/boot/entries/boot-entry.js';
import { findSyslinuxEntries } from '../../../../src/boot/syslinux/syslinux-entries.js';
import { type Content, memoryVolume } from '../grub/memory-file-system.js';

const files = { '/boot/vmlinuz': 'k', '/boot/initrd.img': 'i', '/boot/ucode.img': 'u', '/extlinux/k': 'k' };
const read = (config: string, more: Record<string, Content> = {}): Promise<FoundEntries> =>
  findSyslinuxEntries([memoryVolume(1, { ...files, '/extlinux/extlinux.conf': config, ...more })]);
const chosen = async (config: string, more: Record<string, Content> = {}): Promise<string | undefined> => {
  const { entries, defaultEntry } = await read(config, more);
  return defaultEntry === undefined ? undefined : entries[defaultEntry]?.id;
};

test("Debian's extlinux-update", async () => {
  const { entries, defaultEntry, problems } = await read(
    `## /boot/extlinux/extlinux.conf
default l0
display boot.txt
menu title Boot menu
prompt 0
timeout 50
include themes/debian/theme.cfg
label l0
\tmenu label Debian GNU/Linux, kernel 6.1.0-13-amd64
\tlinux /boot/vmlinuz
\tinitrd /boot/initrd.img
\tappend root=UUID=x ro quiet
label l0r
\tmenu label Debian GNU/Linux, kernel 6.1.0-13-amd64 (recovery mode)
\tlinux /boot/vmlinuz
\tinitrd /boot/initrd.img
\tappend root=UUID=x ro single
\ttext help
   linux /not/a/command
\tendtext
`,
    { '/extlinux/themes/debian/theme.cfg': 'menu color title * #FFFFFFFF *\n' },
  );
  expect(problems).toEqual([]);
  expect(defaultEntry).toBe(0);
  expect(entries).toEqual([
    {
      kind: 'syslinux',
      title: 'Debian GNU/Linux, kernel 6.1.0-13-amd64',
      id: 'l0',
      path: 'Debian GNU/Linux, kernel 6.1.0-13-amd64',
      indexPath: '0',
      kernel: { partition: 1, path: '/boot/vmlinuz' },
      initrds: [{ partition: 1, path: '/boot/initrd.img' }],
      cmdline: 'BOOT_IMAGE=/boot/vmlinuz root=UUID=x ro quiet initrd=/boot/initrd.img',
      source: { partition: 1, path: '/extlinux/extlinux.conf' },
      problem: undefined,
    },
    expect.objectContaining({ id: 'l0r', problem: undefined }),
  ]);
});

test.each([
  '/boot/extlinux/extlinux.conf',
  '/extlinux/extlinux.conf',
  '/extlinux.conf',
  '/boot/syslinux/syslinux.cfg',
  '/syslinux/syslinux.cfg',
  '/syslinux.cfg',
  '/isolinux/isolinux.cfg',
  '/boot/isolinux/isolinux.cfg',
  '/EFI/syslinux/syslinux.cfg',
])('%s', async (path) => {
  const found = await findSyslinuxEntries([memoryVolume(1, { '/k': 'k', [path]: 'LABEL a\nKERNEL /k\n' })]);
  expect(found.entries).toHaveLength(1);
});

describe('what a label loads', () => {
  test.each([
    [
      'KERNEL /boot/vmlinuz\nAPPEND initrd=/boot/initrd.img ro',
      'BOOT_IMAGE=/boot/vmlinuz initrd=/boot/initrd.img ro',
      1,
    ],
    [
      'kernel /boot/vmlinuz\ninitrd /boot/ucode.img,/boot/initrd.img',
      'BOOT_IMAGE=/boot/vmlinuz everywhere initrd=/boot/ucode.img,/boot/initrd.img',
      2,
    ],
    ['Linux k\nAppend a  b', 'BOOT_IMAGE=k a b', 0],
    ['LINUX ../boot/vmlinuz quiet', 'BOOT_IMAGE=../boot/vmlinuz quiet everywhere', 0],
    ['KERNEL linux.c32\nAPPEND /boot/vmlinuz ro', 'BOOT_IMAGE=/boot/vmlinuz ro', 0],
    ['LINUX /boot/vmlinuz\nFDT /x.dtb\nIPAPPEND 2\nAPPEND -', 'BOOT_IMAGE=/boot/vmlinuz', 0],
    ['LINUX /boot/vmlinuz', 'BOOT_IMAGE=/boot/vmlinuz everywhere', 0],
    [
      'LINUX /boot/vmlinuz\nAPPEND initrd=/none initrd=/boot/initrd.img',
      'BOOT_IMAGE=/boot/vmlinuz initrd=/none initrd=/boot/initrd.img',
      1,
    ],
  ])('%j', async (label, cmdline, initrds) => {
    const { entries } = await read(`APPEND everywhere\nLABEL a\n${label}\n`);
    expect(entries[0]).toMatchObject({ cmdline, problem: undefined });
    expect(entries[0]?.initrds).toHaveLength(initrds);
  });

  test.each([
    ['KERNEL /none', '/none does not exist'],
    ['KERNEL /boot', '/boot does not exist'],
    ['LINUX /boot/vmlinuz\nINITRD /none', 'its initrd /none does not exist'],
    ['KERNEL chain.c32\nAPPEND hd0 1', 'hands over to another boot loader (chain.c32)'],
    ['COM32 hdt.c32', 'starts the SYSLINUX module hdt.c32'],
    ['KERNEL memtest.bin', 'starts a boot sector, which needs firmware'],
    ['KERNEL pxelinux.0', 'boots over the network'],
    ['BOOT /boot/vmlinuz', 'starts a boot sector, which needs firmware'],
    ['LOCALBOOT 0', 'leaves the disk to the next boot loader (LOCALBOOT)'],
    ['CONFIG /other.cfg', 'goes on with another configuration'],
    ['MENU GOTO more', 'leads to another menu'],
    ['', 'a does not exist'],
  ])('%j cannot be booted', async (label, problem) => {
    const { entries, defaultEntry } = await read(`LABEL a\n${label}\n`);
    expect(entries[0]?.problem).toBe(problem);
    expect(defaultEntry).toBeUndefined();
  });
});

describe('the default', () => {
  const labels = 'LABEL one\nLINUX k\nLABEL two\nLINUX k\n';
  const two = 'LABEL one\nLINUX k\nLABEL two\nMENU DEFAULT\nLINUX k\nLABEL three\nLINUX k\n';
  test.each([
    ['no word about it', labels, 'one'],
    ['DEFAULT', `DEFAULT two\n${labels}`, 'two'],
    ['DEFAULT after the labels', `${labels}DEFAULT two`, 'two'],
    ['DEFAULT with more parameters', `DEFAULT two quiet\n${labels}`, 'two'],
    ['MENU DEFAULT', `UI menu.c32\n${two}`, 'two'],
    ['DEFAULT that is the menu', `DEFAULT vesamenu.c32\n${two}`, 'two'],
    ['DEFAULT beside UI counts more than MENU DEFAULT', `UI menu.c32\nDEFAULT three\n${two}`, 'three'],
    ['MENU DEFAULT without a menu is nothing', `DEFAULT one\n${two}`, 'one'],
    ['ONTIMEOUT of a menu', `UI menu.c32\nTIMEOUT 50\nONTIMEOUT one\n${two}`, 'one'],
    ['ONTIMEOUT without TIMEOUT', `UI menu.c32\nONTIMEOUT one\n${two}`, 'two'],
    ['ONTIMEOUT without menu or prompt', `DEFAULT two\nTIMEOUT 50\nONTIMEOUT one\n${two}`, 'two'],
    ['ONTIMEOUT of a prompt', `DEFAULT two\nPROMPT 1\nTIMEOUT 50\nONTIMEOUT one\n${two}`, 'one'],
    [
      'a submenu that is the default',
      `UI menu.c32\nLABEL a\nLINUX k\nMENU BEGIN\nMENU DEFAULT\n${two}MENU END\n`,
      'two',
    ],
    ['MENU START', `UI menu.c32\nLABEL a\nLINUX k\nMENU BEGIN more\nMENU START\n${two}MENU END\n`, 'two'],
    [
      'a separator is no entry',
      `UI menu.c32\nMENU SEPARATOR\nLABEL x\nMENU DISABLE\nMENU LABEL Title\n${labels}`,
      'one',
    ],
    ['a hidden entry', `UI menu.c32\nLABEL h\nMENU HIDE\nLINUX k\n${labels}`, 'one'],
    ['one that cannot be booted', `DEFAULT x\nLABEL x\nLOCALBOOT 0\n${labels}`, 'one'],
    ['a kernel instead of a label', `DEFAULT /boot/vmlinuz root=/dev/sda1\n${labels}`, '/boot/vmlinuz'],
  ])('%s', async (_, config, id) => {
    expect(await chosen(config)).toBe(id);
  });

  test('that cannot be booted is told', async () => {
    expect((await read(`DEFAULT x\nLABEL x\nLOCALBOOT 0\n${labels}`)).problems).toEqual([
      "/extlinux/extlinux.conf of partition 1: the default label 'x' cannot be booted: leaves the disk to the next boot loader (LOCALBOOT); taking 'one' instead",
    ]);
  });

  test('a menu told to show another file', async () => {
    const { entries, defaultEntry } = await read('UI menu.c32 live.cfg\nLABEL a\nLINUX k\n', {
      '/extlinux/live.cfg': 'LABEL b\nLINUX k\nLABEL c\nMENU DEFAULT\nLINUX k\n',
    });
    expect(entries.map(({ id }) => id)).toEqual(['b', 'c']);
    expect(defaultEntry).toBe(1);
  });
});

test('titles, hot keys and submenus', async () => {
  const { entries } = await read(
    'LABEL a\nMENU LABEL ^Install\nLINUX k\nMENU BEGIN adv\nMENU TITLE Advanced ^options\nLABEL b\nMENU LABEL R^escue\nLINUX k\nMENU END\nLABEL c\nLINUX k\nMENU INCLUDE m.cfg More\n',
    { '/extlinux/m.cfg': 'LABEL d\nLINUX k\n' },
  );
  expect(entries.map(({ path }) => path)).toEqual(['Install', 'adv>Rescue', 'c', 'More>d']);
  expect(entries[3]?.source.path).toBe('/extlinux/m.cfg');
});

describe('hostile', () => {
  test('files that include themselves', async () => {
    const { entries, problems } = await read('INCLUDE extlinux.conf\nINCLUDE extlinux.conf\nLABEL a\nLINUX k\n');
    expect(entries.length).toBeGreaterThan(0);
    expect(problems.join()).toContain('files include each other deeper than 16');
    expect(problems.join()).toContain('more than 64 files are included');
  });

  test('labels and menus without end', async () => {
    const menus = 'MENU BEGIN x\nMENU DEFAULT\nMENU END\n'.repeat(20_000);
    const deep = 'MENU BEGIN x\n'.repeat(20_000);
    const { entries } = await read(`${menus}${deep}${'LABEL a\nLINUX k\n'.repeat(5000)}`);
    expect(entries).toHaveLength(512);
    expect(entries[0]?.path.length).toBeLessThan(100);
  });

  test('any text is a list of entries', async () => {
    const words = fc.constantFrom(
      'LABEL',
      'menu',
      'begin',
      'end',
      'include',
      'default',
      'ui',
      'menu.c32',
      'text',
      'help',
      'endtext',
      'append',
      '-',
      'initrd',
      'initrd=/x,',
      'linux',
      'k',
      'a',
      '__proto__',
      'constructor',
      'ontimeout',
      'timeout',
      '9',
      'goto',
      'hide',
      '\n',
      '\n',
      ' ',
      '\t',
      '\r\n',
      'extlinux.conf',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(words, fc.string()), { maxLength: 120 }), async (parts) => {
        const { entries, defaultEntry } = await read(parts.join(' '));
        expect(defaultEntry === undefined || entries[defaultEntry]?.problem === undefined).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('names of object properties are names', async () => {
    expect(await chosen('DEFAULT constructor\nLABEL __proto__\nLINUX k\nLABEL constructor\nLINUX k\n')).toBe(
      'constructor',
    );
  });
});

describe('CONFIG goes on with another configuration', () => {
  test('whose default is the default', async () => {
    const { entries, defaultEntry, problems } = await read(
      'default sys\nlabel rescue\nlinux k\nlabel sys\nmenu label ^System\nconfig real.cfg\n',
      { '/extlinux/real.cfg': 'default l\nlabel o\nlinux k\nlabel l\nlinux k\nappend root=/dev/vda1\n' },
    );
    expect(problems).toEqual([]);
    expect(entries.map(({ path, indexPath }) => [path, indexPath])).toEqual([
      ['rescue', '0'],
      ['System>o', '1>0'],
      ['System>l', '1>1'],
    ]);
    expect(entries[defaultEntry ?? -1]).toMatchObject({
      id: 'l',
      title: 'l',
      kernel: { path: '/extlinux/k' },
      cmdline: 'BOOT_IMAGE=k root=/dev/vda1',
      source: { path: '/extlinux/real.cfg' },
    });
  });

  test('with names relative to the directory that it gives, or to the first one', async () => {
    const other = { '/isolinux/real.cfg': 'default l\nlabel l\nlinux k\n', '/isolinux/k': 'k' };
    const kernel = async (line: string) => {
      const { entries } = await read(`default s\nlabel s\n${line}\n`, other);
      return entries[0]?.kernel?.path;
    };
    expect(await kernel('config /isolinux/real.cfg')).toBe('/extlinux/k');
    expect(await kernel('config /isolinux/real.cfg /isolinux')).toBe('/isolinux/k');
  });

  test('that leads back, is missing or has nothing is a label that cannot be booted', async () => {
    const { entries, defaultEntry } = await read(
      'default a\nlabel a\nconfig /none.cfg\nlabel b\nconfig b.cfg\nlabel e\nconfig empty.cfg\n',
      { '/extlinux/b.cfg': 'label back\nconfig extlinux.conf\nlabel k\nlinux k\n', '/extlinux/empty.cfg': 'say no\n' },
    );
    expect(entries.map(({ path, problem }) => `${path}: ${problem ?? 'boots'}`)).toEqual([
      'a: goes on with another configuration',
      'b>back: goes on with another configuration',
      'b>k: boots',
      'e: goes on with another configuration',
    ]);
    expect(defaultEntry).toBe(2);
  });

  test('and so on, as far as it goes', async () => {
    const chain = Array.from({ length: 20 }, (_, i) => [
      `/extlinux/${i}.cfg`,
      `default n\nlabel n\nconfig ${i + 1}.cfg\nlabel k\nlinux k\n`,
    ]);
    const found = await read('default n\nlabel n\nconfig 0.cfg\n', Object.fromEntries(chain));
    expect(found.entries.length).toBeLessThan(20);
    expect(found.problems.join()).toContain('more than 8 configurations go on with each other');
    expect(found.entries[found.defaultEntry ?? -1]?.id).toBe('k');
  });
});
