/** XFS against mkfs.xfs: every layout that its options can make, compared byte by byte. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openRawImage } from '../../../../../src/disk/raw-image.js';
import { type Content, expectSameTree, haveTools, load, mount, noise, plant, run, scratch } from '../images.js';
import { ask, XfsImages } from './xfs-images.js';

const ready = haveTools('mkfs.xfs', 'xfs_db', 'blkid');
const images = new XfsImages(scratch());
const source = join(images.folder, 'source');
const longName = `${'very-long-name-'.repeat(17)}`.slice(0, 255);
/** Fits the inode: mkfs.xfs 6.1 writes longer ones without their header. */
const longTarget = `${'../boot/'.repeat(20)}vmlinuz`;

const files: Record<string, Content> = {
  'boot/vmlinuz': noise(434_567, 3),
  'boot/initrd.img': noise(65_536, 4),
  'boot/grub2/grub.cfg': Buffer.from('set default=0\n'),
  empty: Buffer.alloc(0),
  'one-byte': Buffer.from('x'),
  zeros: { size: 200_000, at: [[100_000, noise(100, 9)]] },
  [`names/${longName}`]: Buffer.from('long'),
  'names/ünïcödé-文件': Buffer.from('utf-8'),
  'a/b/c/d/e/f/g/h/deep': Buffer.from('deep'),
  'links/short': { link: '../boot/vmlinuz' },
  'links/long': { link: longTarget },
  'links/absolute': { link: '/boot/grub2' },
  'links/through': { link: 'absolute/../vmlinuz' },
  'links/dangling': { link: 'nowhere' },
  'links/loop-a': { link: 'loop-b' },
  'links/loop-b': { link: 'loop-a' },
  'links/above-root': { link: '../../../../boot/vmlinuz' },
  'small-directory/a': Buffer.from('a'),
  ...Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`many/entry-number-${i}-with-a-name-of-some-length`, Buffer.from(String(i))]),
  ),
};

beforeAll(() => {
  if (!ready) return;
  plant(source, files);
});

interface Case {
  readonly name: string;
  readonly args: string[];
  readonly size?: string;
}

const v4 = ['-m', 'crc=0'];
const cases: Case[] = [
  { name: 'as it comes', args: [], size: '300M' },
  { name: 'as RHEL 7 made it: no finobt', args: ['-m', 'crc=1,finobt=0'] },
  { name: 'without sparse inodes, reflink and rmap', args: ['-m', 'reflink=0,rmapbt=0', '-i', 'sparse=0'] },
  { name: 'with rmap, reflink, inobtcount and bigtime', args: ['-m', 'rmapbt=1,reflink=1,inobtcount=1,bigtime=1'] },
  { name: 'with times of 32 bits', args: ['-m', 'bigtime=0,inobtcount=0'] },
  { name: 'with large extent counters', args: ['-i', 'nrext64=1'] },
  { name: '1 KiB blocks', args: ['-b', 'size=1024'] },
  { name: '2 KiB blocks, 1 KiB inodes', args: ['-b', 'size=2048', '-i', 'size=1024'] },
  { name: '1 KiB blocks, directory blocks of 4 KiB', args: ['-b', 'size=1024', '-n', 'size=4096'] },
  { name: 'directory blocks of 64 KiB', args: ['-n', 'size=65536'] },
  { name: '8 KiB blocks', args: ['-b', 'size=8192'], size: '128M' },
  { name: '64 KiB blocks', args: ['-b', 'size=65536'], size: '512M' },
  { name: 'sectors of 4 KiB', args: ['-s', 'size=4096'], size: '128M' },
  { name: '2 KiB inodes', args: ['-i', 'size=2048'] },
  { name: 'many groups that are no power of two', args: ['-d', 'agcount=5'], size: '130M' },
  { name: 'version 4', args: v4 },
  { name: 'version 4 without types in entries', args: [...v4, '-n', 'ftype=0'] },
  { name: 'version 4, 512-byte blocks', args: [...v4, '-b', 'size=512'] },
  { name: 'version 4, 512-byte blocks, directory blocks of 8 KiB', args: [...v4, '-b', 'size=512', '-n', 'size=8192'] },
  { name: 'version 4, 256-byte inodes', args: [...v4, '-i', 'size=256'] },
  { name: 'version 4, old log and attributes', args: [...v4, '-l', 'version=1', '-i', 'attr=1,projid32bit=0'] },
  { name: 'version 4, 64 KiB blocks', args: [...v4, '-b', 'size=65536'], size: '512M' },
  { name: 'version 4 with names that know no case', args: [...v4, '-n', 'version=ci'] },
];

describe.runIf(ready)('reads what mkfs.xfs wrote', () => {
  test.each(cases)('$name', async ({ args, size = '20M' }) => {
    const image = images.make(size, ['-L', 'tsvmm test', ...args], source);
    await using disk = await openRawImage(image, { format: 'raw' });
    const fileSystem = await mount(disk);
    expect(await expectSameTree(fileSystem, source)).toBeGreaterThan(60);
    expect(fileSystem.notes).toEqual([]);
    const blkid = run('blkid', ['-p', '-o', 'export', image]);
    expect(blkid).toContain(`UUID=${fileSystem.uuid}\n`);
    expect(blkid).toContain(`TYPE=${fileSystem.type}\n`);
    expect(fileSystem.label).toBe('tsvmm test');
    for (const link of ['short', 'long', 'through', 'above-root']) {
      const content = await fileSystem.readFile(`/links/${link}`, 2_000_000);
      expect(content.equals(files['boot/vmlinuz'] as Buffer), link).toBe(true);
    }
    expect((await fileSystem.list('/links/absolute')).map((entry) => entry.name)).toEqual(['grub.cfg']);
    for (const link of ['dangling', 'loop-a']) expect(await fileSystem.stat(`/links/${link}`)).toBeUndefined();
    run('rm', [image]);
  });

  /** How many entries, what mkfs.xfs is told, and the format of the data fork that this leads to. */
  test.each([
    ['leaf', 300, [], '2 (extents)'],
    ['B+tree', 3000, [], '3 (btree)'],
    ['B+tree, 1 KiB blocks', 3000, ['-b', 'size=1024'], '3 (btree)'],
    ['leaf of version 4', 300, v4, '2 (extents)'],
    ['B+tree of version 4 without types', 3000, [...v4, '-n', 'ftype=0'], '3 (btree)'],
    ['B+tree of version 4, 512-byte blocks', 3000, [...v4, '-b', 'size=512'], '3 (btree)'],
    ['B+tree with large directory blocks', 3000, ['-b', 'size=1024', '-n', 'size=8192'], '3 (btree)'],
  ] as const)('a directory as %s', async (_, count, args, format) => {
    const root = join(images.folder, `crowd-${count}`);
    const name = (i: number) => `a-name-that-takes-${'some-'.repeat(i % 5)}room-${i}`;
    const names = Array.from({ length: count }, (__, i) => name(i));
    if (!existsSync(root)) plant(root, Object.fromEntries(names.map((file) => [`crowd/${file}`, Buffer.from(file)])));
    const image = images.make('24M', args, root);
    expect(ask(image, 'path /crowd', 'p core.format')).toBe(`core.format = ${format}`);
    const fileSystem = await mount(load(image));
    const listed = await fileSystem.list('/crowd');
    expect(listed.map((entry) => entry.name).sort()).toEqual(names.sort());
    expect(new Set(listed.map((entry) => entry.kind))).toEqual(new Set(['file']));
    for (const i of [0, 1, count / 2, count - 1])
      expect((await fileSystem.readFile(`/crowd/${name(i)}`, 100)).toString()).toBe(name(i));
    expect(await fileSystem.stat('/crowd/none')).toBeUndefined();
  });
});
