/** ext2, ext3 and ext4 against mke2fs: every layout that its options can make, compared byte by byte. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Content, expectSameTree, haveTools, load, mount, noise, plant, run, scratch } from '../images.js';

const ready = haveTools('mke2fs', 'debugfs', 'e2fsck', 'blkid');
const folder = scratch();
const source = join(folder, 'source');
const longName = `${'very-long-name-'.repeat(17)}`.slice(0, 255);
const longTarget = `${'../boot/'.repeat(20)}vmlinuz`;

/** Many pieces with holes between them: an extent tree several levels deep, or indirect blocks with gaps. */
const scattered = {
  size: 1_224_800,
  at: Array.from({ length: 300 }, (_, i) => [i * 4096, noise(100, i + 1)] as const),
};

const files: Record<string, Content> = {
  'boot/vmlinuz': noise(434_567, 3),
  'boot/initrd.img': noise(65_536, 4),
  'boot/grub/grub.cfg': Buffer.from('set default=0\n'),
  empty: Buffer.alloc(0),
  'one-byte': Buffer.from('x'),
  'fits-the-inode': noise(60, 5),
  'fits-with-attribute': noise(140, 6),
  scattered,
  'hole-only': { size: 200_000, at: [] },
  'hole-at-end': { size: 500_001, at: [[0, noise(10, 9)]] },
  [`names/${longName}`]: Buffer.from('long'),
  'names/ünïcödé 文件': Buffer.from('utf-8'),
  'names/with\nnewline': Buffer.from('newline'),
  'a/b/c/d/e/f/g/h/deep': Buffer.from('deep'),
  'links/fast': { link: '../boot/vmlinuz' },
  'links/slow': { link: longTarget },
  'links/absolute': { link: '/boot/grub' },
  'links/through': { link: 'absolute/../vmlinuz' },
  'links/dangling': { link: 'nowhere' },
  'links/loop-a': { link: 'loop-b' },
  'links/loop-b': { link: 'loop-a' },
  'links/self': { link: 'self/x' },
  'links/above-root': { link: '../../../../boot/vmlinuz' },
  'links/exactly-59': { link: `${'./'.repeat(22)}../boot/vmlinuz` },
  'links/exactly-60': { link: `${'./'.repeat(22)}..//boot/vmlinuz` },
  'small-directory/a': Buffer.from('a'),
  ...Object.fromEntries(
    Array.from({ length: 150 }, (_, i) => [
      `many/entry-number-${i}-with-a-name-of-some-length`,
      Buffer.from(String(i)),
    ]),
  ),
};

/** mke2fs 1.47 with inline_data writes a wrong size for a file that ends in a hole. */
const inlineSource = join(folder, 'inline-source');
const { 'hole-at-end': _, ...inlineFiles } = files;

beforeAll(() => {
  if (!ready) return;
  plant(source, files);
  plant(inlineSource, inlineFiles);
});

interface Case {
  readonly name: string;
  readonly args: string[];
  readonly size?: string;
  readonly type?: 'ext2' | 'ext3' | 'ext4';
  readonly root?: string;
}

const cases: Case[] = [
  { name: 'ext2, 1 KiB blocks', args: ['-t', 'ext2', '-b', '1024'], type: 'ext2' },
  { name: 'ext2, 4 KiB blocks', args: ['-t', 'ext2', '-b', '4096'], type: 'ext2' },
  { name: 'ext2 revision 0', args: ['-t', 'ext2', '-r', '0', '-b', '1024'], type: 'ext2' },
  { name: 'ext2 without types in entries', args: ['-t', 'ext2', '-O', '^filetype', '-b', '1024'], type: 'ext2' },
  { name: 'ext2 without sparse superblocks', args: ['-t', 'ext2', '-O', 'none', '-b', '1024'], type: 'ext2' },
  { name: 'ext3', args: ['-t', 'ext3'], type: 'ext3' },
  { name: 'ext3, 2 KiB blocks, 128-byte inodes', args: ['-t', 'ext3', '-b', '2048', '-I', '128'], type: 'ext3' },
  { name: 'ext4 as it comes', args: ['-t', 'ext4'], type: 'ext4' },
  { name: 'ext4, 1 KiB blocks', args: ['-t', 'ext4', '-b', '1024'] },
  { name: 'ext4, 2 KiB blocks', args: ['-t', 'ext4', '-b', '2048'] },
  { name: 'ext4, 4 KiB blocks', args: ['-t', 'ext4', '-b', '4096'] },
  { name: 'ext4, 64 KiB blocks', args: ['-t', 'ext4', '-b', '65536'], size: '192M' },
  { name: 'ext4 without types in entries', args: ['-t', 'ext4', '-O', '^filetype', '-b', '1024'] },
  { name: 'ext4 without 64bit', args: ['-t', 'ext4', '-O', '^64bit'] },
  { name: 'ext4 without metadata_csum, with uninit_bg', args: ['-t', 'ext4', '-O', '^metadata_csum,uninit_bg'] },
  { name: 'ext4 with uninit_bg but without 64bit', args: ['-t', 'ext4', '-O', '^metadata_csum,^64bit,uninit_bg'] },
  { name: 'ext4 without any checksums', args: ['-t', 'ext4', '-O', '^metadata_csum,^uninit_bg'] },
  { name: 'ext4 with block maps', args: ['-t', 'ext4', '-O', '^extents,^64bit', '-b', '1024'], type: 'ext4' },
  {
    name: 'ext4 with meta_bg and many groups',
    args: ['-t', 'ext4', '-O', 'meta_bg,^resize_inode', '-b', '1024', '-g', '512'],
  },
  {
    name: 'ext4 with meta_bg from the third descriptor block',
    args: ['-t', 'ext4', '-O', '^resize_inode,^flex_bg', '-b', '1024', '-g', '256'],
  },
  { name: 'ext4 with inline data', args: ['-t', 'ext4', '-O', 'inline_data', '-I', '256'], root: inlineSource },
  {
    name: 'ext4 with inline data in 1 KiB inodes',
    args: ['-t', 'ext4', '-O', 'inline_data', '-I', '1024', '-b', '4096'],
    root: inlineSource,
  },
  { name: 'ext4 with bigalloc', args: ['-t', 'ext4', '-O', 'bigalloc', '-C', '16384', '-b', '4096'], size: '48M' },
  {
    name: 'ext4 with bigalloc, 1 KiB blocks',
    args: ['-t', 'ext4', '-O', 'bigalloc', '-C', '8192', '-b', '1024'],
    size: '48M',
  },
  {
    name: 'ext4 with bigalloc and meta_bg, 1 KiB blocks',
    args: ['-t', 'ext4', '-O', 'bigalloc,meta_bg,^resize_inode', '-C', '8192', '-b', '1024'],
    size: '48M',
  },
  { name: 'ext4 without flex_bg', args: ['-t', 'ext4', '-O', '^flex_bg', '-g', '1024', '-b', '1024'] },
  {
    name: 'ext4 with sparse_super2 and meta_bg',
    args: ['-t', 'ext4', '-O', 'sparse_super2,meta_bg,^resize_inode', '-b', '1024', '-g', '512'],
  },
  { name: 'ext4 with a checksum seed', args: ['-t', 'ext4', '-O', 'metadata_csum_seed'] },
  { name: 'ext4 without journal', args: ['-t', 'ext4', '-O', '^has_journal'] },
  {
    name: 'ext4 with features that only some files use',
    args: ['-t', 'ext4', '-O', 'encrypt,casefold,ea_inode,large_dir,verity,quota,project'],
  },
  { name: 'ext4 with 128-byte inodes', args: ['-t', 'ext4', '-I', '128'] },
];

describe.runIf(ready)('reads what mke2fs wrote', () => {
  test.each(cases)('$name', async ({ name, args, size = '12M', type, root = source }) => {
    const image = join(folder, `${name.replace(/\W+/g, '-')}.img`);
    run('truncate', ['-s', size, image]);
    run('mke2fs', ['-q', '-F', '-L', 'tsvmm test', '-d', root, ...args, image]);
    const disk = load(image);
    const fileSystem = await mount(disk);
    expect(await expectSameTree(fileSystem, root)).toBeGreaterThan(160);
    expect(fileSystem.notes).toEqual([]);
    const blkid = Object.fromEntries(
      run('blkid', ['-p', '-o', 'export', image])
        .split('\n')
        .filter((line) => line.includes('='))
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
    expect(fileSystem.type).toBe(blkid['TYPE']);
    expect(fileSystem.uuid).toBe(blkid['UUID']);
    expect(fileSystem.label).toBe('tsvmm test');
    if (type) expect(fileSystem.type).toBe(type);

    for (const link of ['fast', 'slow', 'through', 'above-root', 'exactly-59', 'exactly-60']) {
      expect(
        (await fileSystem.readFile(`/links/${link}`, 2_000_000)).equals(files['boot/vmlinuz'] as Buffer),
        link,
      ).toBe(true);
    }
    expect((await fileSystem.list('/links/absolute')).map((entry) => entry.name)).toEqual(['grub.cfg']);
    for (const link of ['dangling', 'loop-a', 'self']) expect(await fileSystem.stat(`/links/${link}`)).toBeUndefined();

    // The same files after e2fsck has sorted the directories into hash trees.
    run('e2fsck', ['-fyD', image], { accept: [0, 1] });
    expect(await expectSameTree(await mount(load(image)), root)).toBeGreaterThan(160);
  });
});

describe.runIf(ready)('ext', () => {
  test('reads far into a file through triple indirect blocks', async () => {
    const root = join(folder, 'far');
    const image = join(folder, 'far.img');
    plant(root, {
      far: {
        size: 70_000_123,
        at: [
          [0, noise(5000)],
          [300_000, noise(3000, 2)],
          [67_400_000, noise(9000, 3)],
          [70_000_000, noise(123, 4)],
        ],
      },
    });
    run('truncate', ['-s', '8M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext2', '-b', '1024', '-d', root, image]);
    expect(run('debugfs', ['-R', 'stat /far', image])).toContain('(TIND)');
    expect(await expectSameTree(await mount(load(image)), root)).toBe(1);
  });

  test('reads allocated but unwritten extents as zeros', async () => {
    const image = join(folder, 'unwritten.img');
    run('truncate', ['-s', '8M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '1024', image]);
    const data = join(folder, 'unwritten.data');
    plant(folder, { 'unwritten.data': noise(3000) });
    run('debugfs', ['-w', '-f', '-', image], {
      input: `write ${data} f\nfallocate f 1 20\nset_inode_field f size 16384\n`,
    });
    expect(run('debugfs', ['-R', 'stat f', image])).toMatch(/\[u\]/);
    const disk = load(image);
    // Old content of the disk must not show through.
    const expected = Buffer.concat([noise(3000), Buffer.alloc(16384 - 3000)]);
    expect((await (await mount(disk)).readFile('/f', 16384)).equals(expected)).toBe(true);
  });

  test('walks an extent tree several levels deep', async () => {
    const root = join(folder, 'tree');
    const image = join(folder, 'tree.img');
    plant(root, {
      f: { size: 1024 * 2400, at: Array.from({ length: 1200 }, (_, i) => [i * 2048, noise(1000, i + 7)] as const) },
    });
    run('truncate', ['-s', '8M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '1024', '-d', root, image]);
    expect(run('debugfs', ['-R', 'dump_extents /f', image])).toMatch(/ 2\/ 2/);
    expect(await expectSameTree(await mount(load(image)), root)).toBe(1);
  });

  test('reads a large file with few reads and within its own size', async () => {
    const root = join(folder, 'large');
    const image = join(folder, 'large.img');
    plant(root, { initrd: noise(20_000_000) });
    run('truncate', ['-s', '40M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, image]);
    const disk = load(image);
    const fileSystem = await mount(disk);
    const before = disk.reads;
    const content = await fileSystem.readFile('/initrd', 20_000_000);
    expect(content.length).toBe(20_000_000);
    expect(disk.reads - before).toBeLessThan(16);
    expect(disk.largestRead).toBeLessThanOrEqual(8 * 1024 * 1024);
  });

  test('says that a file is missing, too large, or not one', async () => {
    const image = join(folder, 'says.img');
    const root = join(folder, 'says');
    plant(root, { 'dir/file': noise(5000), 'dir/link': { link: 'file' }, loop: { link: 'loop' } });
    run('truncate', ['-s', '4M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', root, image]);
    const fileSystem = await mount(load(image));
    await expect(fileSystem.readFile('/dir/none', 1)).rejects.toMatchObject({
      code: 'ERR_TSVMM_BOOT_NOT_FOUND',
      message: expect.stringContaining('there is no "none"'),
    });
    await expect(fileSystem.readFile('/dir/file/x', 1)).rejects.toMatchObject({
      message: expect.stringContaining('not a directory'),
    });
    await expect(fileSystem.readFile('/dir', 1)).rejects.toMatchObject({
      message: expect.stringContaining('but a directory'),
    });
    await expect(fileSystem.readFile('/dir/link', 4999)).rejects.toMatchObject({
      message: expect.stringContaining('5000 bytes'),
    });
    await expect(fileSystem.readRange('/dir/link', 4999, 2)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: '"/dir/link" has 5000 bytes, not the 2 that are expected from byte 4999 on',
    });
    await expect(fileSystem.readFile('/loop', 1)).rejects.toMatchObject({
      message: expect.stringContaining('40 symbolic links'),
    });
    await expect(fileSystem.list('/dir/file')).rejects.toMatchObject({ code: 'ERR_TSVMM_BOOT_NOT_FOUND' });
    expect(await fileSystem.stat('/')).toMatchObject({ kind: 'directory' });
    expect(await fileSystem.stat('/dir/../dir/./file')).toEqual({ kind: 'file', size: 5000 });
    expect(await fileSystem.stat('/dir/file/')).toBeUndefined();
    expect(await fileSystem.stat(`/${'x/'.repeat(3000)}`)).toBeUndefined();
    expect(await fileSystem.stat('/dir/fi\0le')).toBeUndefined();
  });
});
