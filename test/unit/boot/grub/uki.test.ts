/** `uki` and `chainloader`: unified kernel images in GRUB's menu, and the options that `blscfg` has with GNU GRUB 2.14. */
import { describe, expect, test } from 'vitest';
import { buildPe } from '../pe/build-pe.js';
import { type Content, memoryVolume } from './memory-file-system.js';
import { readMenu } from './run-script.js';

const image = (name: string | undefined, cmdline?: string): Buffer =>
  buildPe([
    ...(name === undefined ? [] : [{ name: '.osrel', data: `ID=x\nPRETTY_NAME="${name}"\n` }]),
    ...(cmdline === undefined ? [] : [{ name: '.cmdline', data: cmdline }]),
    { name: '.linux', data: 'kernel' },
    { name: '.initrd', data: 'initrd' },
  ]);

const esp = (more: Record<string, Content> = {}) =>
  memoryVolume(
    2,
    {
      '/EFI/Linux/os-6.2.9.efi': image('Nine', 'root=nine'),
      '/EFI/Linux/os-6.10.3.efi': image('Ten', 'root=ten'),
      '/EFI/Linux/nameless.efi': image(undefined),
      '/EFI/Linux/note.txt': 'x',
      '/EFI/Linux/not-pe.efi': 'x',
      "/EFI/other/it's $one.efi": image('Other'),
      '/EFI/Microsoft/Boot/bootmgfw.efi': buildPe([{ name: '.text', data: 'x' }]),
      ...more,
    },
    { type: 'fat32', partitionType: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' },
  );
const menu = (script: string, files: Record<string, Content> = {}) => readMenu(script, files, [esp()]);

test('an entry for each image on the EFI System Partition, the newest first', async () => {
  const { entries, defaultEntry, problems } = await menu('menuentry own { linux /k; }\nuki', { '/k': 'k' });
  expect(problems).toEqual([]);
  expect(defaultEntry).toBe(0);
  expect(entries.map(({ kind, title, id }) => [kind, title, id])).toEqual([
    ['grub', 'own', 'own'],
    ['grub', 'Ten', 'os-6.10.3.efi'],
    ['grub', 'Nine', 'os-6.2.9.efi'],
  ]);
  expect(entries[1]).toMatchObject({
    kernel: { partition: 2, path: '/EFI/Linux/os-6.10.3.efi', section: { name: '.linux', size: 6 } },
    initrds: [{ section: { name: '.initrd', size: 6 } }],
    cmdline: 'root=ten',
    source: { partition: 2, path: '/EFI/Linux/os-6.10.3.efi' },
    problem: undefined,
  });
});

test.each([
  ['uki\nuki --entry os-6.2.9.efi', ['Ten', 'Nine', 'Nine']],
  ['set default=os-6.2.9.efi\nuki --show-default\nsubmenu more {\n uki\n}', ['Nine', 'more>Ten', 'more>Nine']],
  ['set default=1\nuki -d', ['Nine']],
  ['uki --entry os-6.2.9.efi', ['Nine']],
  ['uki --path (hd0,gpt2)/EFI/other', ['Other']],
  ['uki -p /EFI/other/', ['Other']],
  ['uki -p /EFI/Linux/os-6.2.9.efi', ['Nine']],
  ['uki --path /EFI/none', []],
  ['uki --path /EFI/none --enable-fallback', ['Ten', 'Nine']],
  ['uki --wrong', []],
])('%j', async (script, expected) => {
  expect((await menu(script)).entries.map(({ path }) => path)).toEqual(expected);
});

test('without an EFI System Partition, or with one that is not read, the configuration says so', async () => {
  const { entries, problems } = await readMenu('uki');
  expect(entries).toEqual([]);
  expect(problems).toEqual(['uki: /EFI/Linux: the disk has no EFI System Partition that can be read']);
});

describe('chainloader', () => {
  test('starts a unified kernel image, with its own command line or the one given', async () => {
    const script = ['', ' root=given quiet']
      .map((words) => `menuentry e { chainloader (hd0,gpt2)/EFI/Linux/os-6.2.9.efi${words}; }`)
      .join('\n');
    const { entries } = await menu(script);
    expect(entries.map(({ cmdline, problem }) => [cmdline, problem])).toEqual([
      ['root=nine', undefined],
      ['root=given quiet', undefined],
    ]);
    expect(entries[0]).toMatchObject({ kernel: { section: { name: '.linux' } }, source: { partition: 1 } });
  });

  test.each(['(hd0,gpt2)/EFI/Microsoft/Boot/bootmgfw.efi', '+1', '(hd0,gpt2)/none', '(hd1)+1', ''])(
    '%j is none',
    async (file) => {
      const { entries } = await menu(`menuentry w { chainloader --force ${file}; }`);
      expect(entries[0]).toMatchObject({ kernel: undefined, problem: expect.stringContaining('needs firmware') });
    },
  );
});

test.each([
  ['blscfg --path ($root)/other', ['B']],
  ['blscfg -p /other/b.conf', ['B']],
  ['blscfg --path ($root)/none --enable-fallback', ['A2', 'A1']],
  ['set default=a-1\nblscfg --show-default', ['A1']],
  ['set default=a-1\nblscfg --show-non-default', ['A2']],
  ['blscfg --entry a-1.conf', ['A1']],
  ['blscfg --wrong', []],
])('%j', async (script, expected) => {
  const files = {
    '/loader/entries/a-1.conf': 'title A1\nlinux /k\n',
    '/loader/entries/a-2.conf': 'title A2\nlinux /k\n',
    '/other/b.conf': 'title B\nlinux /k\n',
    '/k': 'k',
  };
  expect((await readMenu(script, files)).entries.map(({ path }) => path)).toEqual(expected);
});
