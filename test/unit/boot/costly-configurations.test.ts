/**
 * Huge claims in small images: boot configurations of a few kilobytes that are made to take memory or time without bound.
 * Each ends soon, with what the disk offers or one clear error.
 */
import { describe, expect, test } from 'vitest';
import { maxInitrds } from '../../../src/boot/disk-budget.js';
import { isBootable } from '../../../src/boot/entries/boot-entry.js';
import { BudgetedFileSystem } from '../../../src/boot/entries/budgeted-files.js';
import { findEntries } from '../../../src/boot/entries/find-entries.js';
import { ample, costOf } from '../../support/cost.js';
import { type Content, type MemoryFileSystem, memoryVolume } from './grub/memory-file-system.js';
import { buildPe } from './pe/build-pe.js';

const kernel = { '/k': 'kernel' };
const environment = `# GRUB Environment Block\na=${'x'.repeat(60_000)}\n`;

/** What a disk with these files would boot; fails when finding out takes more than 64 MiB or much processor time. */
async function find(files: Readonly<Record<string, Content>>) {
  const { fs, budget, ...volume } = memoryVolume(1, { ...kernel, ...files });
  const disk = { ...volume, budget, fs: new BudgetedFileSystem(fs, budget) };
  const { result, memory, cpu } = await costOf(async () => {
    const found = await findEntries([disk], [], budget);
    budget.check();
    return found;
  });
  expect(memory).toBeLessThan(64);
  expect(cpu).toBeLessThan(ample(5000));
  if (result instanceof Error) throw result;
  return result;
}

describe('huge claims in small images: variables', () => {
  const conf = (variables: number): string => `title t\nlinux /k\noptions ${'$a'.repeat(variables)}\n`;

  test('of a Boot Loader Specification entry that stand for a gibibyte', async () => {
    const { entries, problems } = await find({
      '/grub2/grubenv': environment,
      '/loader/entries/a.conf': conf(30_000),
      '/loader/entries/b.conf': 'title b\nlinux /k\noptions $b quiet\n',
    });
    expect(entries.map(({ title, cmdline }) => [title, cmdline])).toEqual([['b', 'quiet']]);
    expect(problems).toContain('/loader/entries/a.conf: its variables make a text of more than 65536 characters');
  });

  test('on many lines of one entry', async () => {
    const { problems } = await find({
      '/grub2/grubenv': environment,
      '/loader/entries/a.conf': `linux /k\n${'options $a\n'.repeat(5000)}`,
      '/loader/entries/b.conf': `linux /k\n${'initrd $a\n'.repeat(5000)}`,
    });
    expect(problems.filter((problem) => problem.includes('more than 65536 characters'))).toHaveLength(2);
  });

  test('of eighty entries that stand for ten gibibytes', async () => {
    const entries = Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`/loader/entries/${i}.conf`, conf(2000)]));
    const found = await find({ '/grub2/grubenv': environment, ...entries });
    expect(found.entries).toEqual([]);
  });

  test('of entries in a menu of GRUB', async () => {
    const { problems } = await find({
      '/grub2/grubenv': environment,
      '/grub2/grub.cfg': 'load_env\nblscfg\n',
      '/loader/entries/a.conf': conf(30_000),
    });
    expect(problems[0]).toMatch(/GRUB configuration makes a command line of more than 65536 characters/);
  });

  test('that name initrds without end', async () => {
    const early = `# GRUB Environment Block\nearly_initrd=${'e '.repeat(30_000)}\n`;
    const { entries } = await find({
      '/grub2/grubenv': early,
      '/grub2/grub.cfg': 'set root=hd0,gpt1\nload_env\nblscfg\n',
      '/loader/entries/a.conf': `linux /k\ninitrd /${'d'.repeat(1000)}/i\n`,
    });
    expect(entries[0]?.problem).toBe(`it has more than ${maxInitrds} initrds`);
  });
});

describe('huge claims in small images: lists', () => {
  const many = 32_000;

  test('of initrds, in a Boot Loader Specification entry', async () => {
    const conf = `title t\nlinux /k\ninitrd ${'k '.repeat(many)}\n`;
    const entries = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`/loader/entries/${i}.conf`, conf]));
    const found = await find(entries);
    expect(found.entries).toHaveLength(100);
    expect(new Set(found.entries.map(({ problem }) => problem))).toEqual(
      new Set([`it has more than ${maxInitrds} initrds`]),
    );
  });

  test('of initrds and a command line, in a menu of GRUB', async () => {
    const { entries } = await find({
      '/boot/grub/grub.cfg': [
        `menuentry a {\nlinux /k\ninitrd ${'/k '.repeat(4000)}\n}`,
        `menuentry b {\nlinux /k ${'x'.repeat(70_000)}\n}`,
        `menuentry c {\nlinux /k\ninitrd ${'/k '.repeat(maxInitrds)}\n}`,
      ].join('\n'),
    });
    expect(entries.map(({ initrds, problem }) => problem ?? initrds.length)).toEqual([
      `it has more than ${maxInitrds} initrds`,
      'its command line has more than 65536 characters',
      maxInitrds,
    ]);
  });

  const labels = Array.from({ length: 500 }, (_, i) => `label l${i}\nlinux k\n`).join('');
  test.each([
    ['of parameters', `append ${'y'.repeat(1_000_000)}\n`, 'its command line has more than 65536 characters'],
    ['of initrds', `append initrd=${'k,'.repeat(500_000)}\n`, 'its command line has more than 65536 characters'],
    ['of initrds, shorter', `append initrd=${'k,'.repeat(30_000)}\n`, `it has more than ${maxInitrds} initrds`],
  ])('%s, for every label of SYSLINUX', async (_, append, problem) => {
    const { entries } = await find({ '/syslinux.cfg': append + labels });
    expect(entries.length).toBeGreaterThan(499);
    expect(entries[0]?.problem).toBe(problem);
  });

  test('of titles around titles', async () => {
    const title = 'm'.repeat(100_000);
    const menus = `menu begin ${title}\n`.repeat(9);
    await expect(find({ '/syslinux.cfg': menus + labels })).rejects.toMatchObject({
      code: 'ERR_TSVMM_BOOT_NOT_FOUND',
      message: 'finding out what the disk boots makes more than 16777216 characters of titles and command lines',
      hint: expect.stringContaining('boot: { kernel'),
    });
  });
});

describe('huge claims in small images: unified kernel images', () => {
  const profiles = (size: number): Buffer =>
    buildPe([
      { name: '.linux', data: 'kernel' },
      ...Array.from({ length: 64 }, (_, i) => [
        { name: '.profile', data: `ID=p${i}\n` },
        { name: '.cmdline', data: 'c'.repeat(size) },
        { name: '.osrel', data: `PRETTY_NAME=${'n'.repeat(size - 20)}\n` },
      ]).flat(),
    ]);

  test('of many texts of 64 KiB', async () => {
    const { entries, problems } = await findOnEsp({ '/EFI/Linux/a.efi': profiles(65_000) });
    expect(entries).toEqual([]);
    expect(problems[0]).toMatch(/its section .cmdline has 65000 bytes/);
  });

  test('that are many, of many profiles of long texts', async () => {
    const image = profiles(16_000);
    const esp = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`/EFI/Linux/${i}.efi`, image]));
    const { result, memory, cpu } = await costOf(() => findOnEsp(esp));
    expect(memory).toBeLessThan(256);
    expect(cpu).toBeLessThan(ample(5000));
    expect(result).not.toBeInstanceOf(Error);
  });

  test('that are many, of many profiles', async () => {
    const image = profiles(100);
    const esp = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`/EFI/Linux/${i}.efi`, image]));
    const { entries, problems } = await findOnEsp(esp);
    expect(entries).toHaveLength(1024);
    expect(problems).toContain('/EFI/Linux offers 1024 entries and more; the rest is left out');
  });

  test('that many entries lead to are looked into once', async () => {
    const conf = Array.from({ length: 500 }, (_, i) => [`/loader/entries/${i}.conf`, 'uki /u.efi\nprofile 1\n']);
    const { fs, ...volume } = memoryVolume(1, { '/u.efi': profiles(1000), ...Object.fromEntries(conf) });
    const { entries } = await findEntries([{ ...volume, fs }], []);
    expect(entries.filter(isBootable)).toHaveLength(500);
    expect((fs as MemoryFileSystem).operations).toBeLessThan(500 * 4 + 64 * 4 + 100);
  });

  async function findOnEsp(files: Readonly<Record<string, Content>>) {
    const { fs, budget, ...volume } = memoryVolume(1, files, { type: 'fat32' });
    const found = await findEntries([{ ...volume, budget, fs: new BudgetedFileSystem(fs, budget) }], [], budget);
    budget.check();
    return found;
  }
});

describe('huge claims in small images: directories', () => {
  test('that GRUB lists under many names of one', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => [`/boot/vmlinuz-${'1a'.repeat(60)}.${i}`, ''] as const);
    const spellings = Array.from({ length: 45 }, (_, i) => `blscfg (hd0,gpt1)/${'./'.repeat(i)}${'/'.repeat(i)}boot`);
    const { fs, budget, ...volume } = memoryVolume(1, {
      ...kernel,
      ...Object.fromEntries(names),
      '/grub/grub.cfg': `${spellings.join('\n')}\nmenuentry a {\nlinux /k\n}\n`,
    });
    let listed = 0;
    const list = fs.list.bind(fs);
    fs.list = (path) => {
      if (path.endsWith('boot')) listed++;
      return list(path);
    };
    const { result, memory, cpu } = await costOf(() => findEntries([{ ...volume, fs, budget }], [], budget));
    expect(result).toMatchObject({ entries: [{ title: 'a', problem: undefined }] });
    expect(listed).toBe(1);
    expect(memory).toBeLessThan(128);
    expect(cpu).toBeLessThan(ample(5000));
  });

  test('of kernels without end, where no configuration is', async () => {
    const names = Array.from({ length: 60_000 }, (_, i) => [`/boot/vmlinuz-${'1a'.repeat(110)}.${i}`, 'k'] as const);
    const { entries } = await find(Object.fromEntries(names));
    expect(entries).toHaveLength(64);
  });
});

test('huge claims in small images: the event loop turns while a megabyte of SYSLINUX lines is read', async () => {
  const { fs, budget, ...volume } = memoryVolume(1, { '/syslinux.cfg': 'x\n'.repeat(1 << 19) });
  const { result, delay } = await costOf(() => findEntries([{ ...volume, fs, budget }], [], budget));
  expect(result).toMatchObject({ entries: [] });
  expect(delay).toBeLessThan(500);
});
