/**
 * Images that claim too much, point to themselves, or make a look-up costly: refused by name, or read within bounds.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { haveTools, load, MemoryDisk, mount, noise, plant, run, scratch } from './images.js';
import { smallImages } from './small-images.js';
import { XfsImages } from './xfs/xfs-images.js';

const ready = haveTools('mke2fs', 'debugfs', 'mkfs.fat', 'mkfs.xfs', 'mcopy', 'genisoimage');
const folder = scratch();
const { blank, ext } = smallImages(folder);
const xfs = new XfsImages(folder);

describe.runIf(ready)('claims', () => {
  const superblock = 1024;

  test.each([
    ['2^48 blocks', 0x150, 0xffff],
    ['blocks of 2^31 KiB', 0x18, 31],
    ['groups of no blocks', 0x20, 0],
    ['groups of no inodes', 0x28, 0],
    ['four thousand million inodes', 0x0, 0xffffffff],
    ['descriptors of 32 KiB', 0xfe, 0x8000],
    ['inodes of 32 KiB', 0x58, 0x8000],
    ['unknown features', 0x60, 0x80000000],
    ['revision 7', 0x4c, 7],
  ])('an ext superblock with %s is refused', async (_, offset, value) => {
    const disk = load(ext('512K', '-t', 'ext4', '-b', '1024', '-O', '64bit,^metadata_csum,^has_journal'));
    const at = superblock + offset;
    if (offset === 0xfe || offset === 0x58) disk.bytes.writeUInt16LE(value, at);
    else disk.bytes.writeUInt32LE(value, at);
    await expect(mount(disk)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_FORMAT', hint: expect.any(String) });
  });

  test('a truncated image is called that', async () => {
    const disk = load(ext('512K', '-t', 'ext4', '-b', '1024'));
    await expect(mount(new MemoryDisk(disk.bytes.subarray(0, 300 * 1024)))).rejects.toMatchObject({
      message: expect.stringMatching(/ends after 307200/),
      hint: expect.stringContaining('truncated'),
    });
  });

  /** Where the inode `path` is in the image. */
  function inodeOffset(image: string, path: string): number {
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(
      run('debugfs', ['-R', `imap ${path}`, image]),
    )!;
    return Number(block) * 1024 + Number(offset);
  }

  const plain = () => ext('512K', '-t', 'ext4', '-b', '1024', '-O', '^metadata_csum,^has_journal,large_dir');

  test('a file of 2^62 bytes is too large, and one that says so with holes costs nothing', async () => {
    const image = plain();
    const disk = load(image);
    const inode = inodeOffset(image, '/boot/kernel');
    disk.bytes.writeUInt32LE(0x40000000, inode + 0x6c);
    await expect((await mount(disk)).readFile('/boot/kernel', 1e9)).rejects.toMatchObject({
      message: expect.stringContaining('are accepted'),
    });
    disk.bytes.writeUInt32LE(0, inode + 0x6c);
    disk.bytes.writeUInt32LE(50_000_000, inode + 0x4);
    const before = disk.bytesRead;
    expect((await (await mount(disk)).readFile('/boot/kernel', 1e8)).length).toBe(50_000_000);
    expect(disk.bytesRead - before).toBeLessThan(1_000_000);
  });

  test('a directory of 2^40 bytes is refused', async () => {
    const image = plain();
    const disk = load(image);
    disk.bytes.writeUInt32LE(256, inodeOffset(image, '/many') + 0x6c);
    await expect((await mount(disk)).list('/many')).rejects.toMatchObject({
      message: expect.stringContaining('a directory of'),
    });
  });

  test('an extent tree that points to itself, is too deep, or has more entries than room', async () => {
    const image = plain();
    const inode = inodeOffset(image, '/sparse');
    const header = inode + 0x28;
    const { bytes } = load(image);
    expect(bytes.readUInt16LE(header + 6)).toBe(1); // an index at the root, leaves below
    const leaf = bytes.readUInt32LE(header + 12 + 4);
    const attempt = async (change: (bytes: Buffer) => void) => {
      const disk = load(image);
      change(disk.bytes);
      return (await mount(disk)).readFile('/sparse', 100_000);
    };
    expect((await attempt(() => {})).length).toBe(60_000);
    await expect(
      attempt((b) => {
        b.writeUInt16LE(2, header + 6);
        b.copyWithin(leaf * 1024, header, header + 24); // the leaf becomes an index that leads to itself
        b.writeUInt16LE(1, leaf * 1024 + 6);
      }),
    ).rejects.toMatchObject({ message: expect.stringMatching(/extent tree: a node of depth 1 where 0 is due/) });
    await expect(attempt((b) => b.writeUInt16LE(9, header + 6))).rejects.toMatchObject({
      message: expect.stringContaining('9 levels deep'),
    });
    await expect(attempt((b) => b.writeUInt16LE(99, header + 4))).rejects.toMatchObject({
      message: expect.stringContaining('entries'),
    });
    await expect(attempt((b) => b.writeUInt16LE(0xffff, leaf * 1024 + 4))).rejects.toMatchObject({
      message: expect.stringContaining('more entries than fit'),
    });
    await expect(attempt((b) => b.writeUInt32LE(3, leaf * 1024 + 12))).rejects.toMatchObject({
      message: expect.stringContaining('does not start at'),
    });
    await expect(attempt((b) => b.writeUInt32LE(0, leaf * 1024 + 24))).rejects.toMatchObject({
      message: expect.stringContaining('out of order'),
    });
    await expect(attempt((b) => b.writeUInt16LE(0, leaf * 1024 + 16))).rejects.toMatchObject({
      message: expect.stringContaining('without length'),
    });
    await expect(attempt((b) => b.writeUInt32LE(0xfffffff, leaf * 1024 + 20))).rejects.toMatchObject({
      message: expect.stringContaining("outside the file system's"),
    });
  });

  test('indirect blocks that point to themselves end with the size of the file', async () => {
    const image = ext('512K', '-t', 'ext2', '-b', '1024');
    const disk = load(image);
    const inode = inodeOffset(image, '/boot/kernel');
    const indirect = disk.bytes.readUInt32LE(inode + 0x28 + 12 * 4);
    disk.bytes.writeUInt32LE(indirect, inode + 0x28 + 13 * 4);
    disk.bytes.writeUInt32LE(indirect, inode + 0x28 + 14 * 4);
    for (let i = 0; i < 256; i++) disk.bytes.writeUInt32LE(indirect, indirect * 1024 + i * 4);
    disk.bytes.writeUInt32LE(1_000_000, inode + 4);
    const fileSystem = await mount(disk);
    const content = await fileSystem.readFile('/boot/kernel', 1_000_000);
    expect(content.length).toBe(1_000_000);
    expect(content.readUInt32LE(999_424)).toBe(indirect);
    disk.bytes.writeUInt32LE(0, inode + 4);
    disk.bytes.writeUInt32LE(0x100, inode + 0x6c); // 2^40 bytes: more than a block map can hold
    await expect((await mount(disk)).readFile('/boot/kernel', 2 ** 41)).rejects.toMatchObject({
      message: expect.stringContaining('are accepted'),
    });
  });
});

describe.runIf(ready)('directories', () => {
  test('a thousand levels deep', async () => {
    const root = join(folder, 'deep');
    const path = 'd/'.repeat(1000);
    plant(root, { [`${path}file`]: Buffer.from('bottom') });
    const image = blank('4M');
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-N', '1200', '-I', '128', '-b', '1024', '-d', root, image]);
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile(`/${path}file`, 10)).toString()).toBe('bottom');
    expect(await fileSystem.stat(`/${path}${'../'.repeat(600)}d`)).toMatchObject({ kind: 'directory' });
  });

  test('that contain themselves and their parents', async () => {
    const image = ext('512K', '-t', 'ext4', '-b', '1024', '-O', '^has_journal');
    run('debugfs', ['-w', '-f', '-', image], { input: 'ln <2> /boot/root\nln /boot /boot/self\n' });
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile(`/boot${'/self/root/boot'.repeat(200)}/cfg`, 10)).toString()).toBe('text');
    expect(await fileSystem.stat('/boot/self/../../boot/cfg')).toMatchObject({ kind: 'file' }); // back along the path, not the entry
  });

  test('symbolic links that make one look-up cost thousands are given up', async () => {
    const root = join(folder, 'costly');
    const last = 'z'.repeat(240); // fits into no gap, so that it comes after all others
    const names = Array.from({ length: 1200 }, (_, i) => [`many/${'n'.repeat(200)}${i}`, Buffer.alloc(0)] as const);
    const links = Array.from(
      { length: 39 },
      (_, i) => [`l${i}`, { link: `${`many/${last}/../../`.repeat(16)}l${i + 1}` }] as const,
    );
    plant(root, { ...Object.fromEntries(names), ...Object.fromEntries(links), l39: Buffer.alloc(0) });
    const image = blank('32M');
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', '-N', '2000', '-d', root, image]);
    run('debugfs', ['-w', '-R', `mkdir /many/${last}`, image]);
    const fileSystem = await mount(load(image));
    await expect(fileSystem.stat('/l0')).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining('looking up one path'),
    });
  });

  test('with more entries than a listing may return', async () => {
    const root = join(folder, 'crowded');
    plant(root, { 'many/0': Buffer.alloc(0) });
    const image = blank('4M');
    run('mke2fs', ['-q', '-F', '-t', 'ext2', '-b', '1024', '-d', root, image]);
    const disk = load(image);
    const at = Number(run('debugfs', ['-R', 'blocks /many', image]).trim().split(' ')[0]) * 1024;
    const inode = disk.bytes.readUInt32LE(at + 24);
    for (let entry = 24; entry < 1024; entry += 12) {
      disk.bytes.writeUInt32LE(inode, at + entry);
      disk.bytes.writeUInt16LE(entry + 24 > 1024 ? 1024 - entry : 12, at + entry + 4);
      disk.bytes.writeUInt16LE(1, at + entry + 6);
      disk.bytes.writeUInt8(0x41, at + entry + 8);
      if (entry + 24 > 1024) break;
    }
    // The same full block again and again: one block of the disk, a directory of a million bytes.
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(
      run('debugfs', ['-R', 'imap /many', image]),
    )!;
    const place = Number(block) * 1024 + Number(offset);
    const indirect = 3000; // free
    disk.bytes.writeUInt32LE(2_000_000, place + 4);
    disk.bytes.writeUInt32LE(indirect, place + 0x28 + 13 * 4);
    for (let i = 0; i < 256; i++) {
      disk.bytes.writeUInt32LE(indirect + 1, indirect * 1024 + i * 4);
      disk.bytes.writeUInt32LE(at / 1024, (indirect + 1) * 1024 + i * 4);
    }
    await expect((await mount(disk)).list('/many')).rejects.toMatchObject({
      message: expect.stringContaining('more than 65536 entries'),
    });
  });
});

/** The same hostile trees in every file system that can hold them: each answer comes soon, from few reads. */
describe.runIf(ready)('in every file system', () => {
  const depth = 120;
  const root = join(folder, 'everywhere');
  const deep = `${'d/'.repeat(depth)}file`;
  const links = {
    'loop/a': { link: '../loop2/b' },
    'loop2/b': { link: '../loop/a' },
    'up/self': { link: '../up' },
    'chain/0': { link: '1' },
    ...Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`chain/${i + 1}`, { link: `${i + 2}` }])),
  };
  let planted = false;
  const source = (): string => {
    if (!planted) plant(root, { [deep]: Buffer.from('bottom'), 'BIG.BIN': noise(9000), ...links });
    planted = true;
    return root;
  };
  const image = (type: string): string => {
    const path = blank(type === 'iso' ? '0' : '2M');
    if (type === 'ext4') run('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^metadata_csum', '-d', source(), path]);
    if (type === 'xfs') return xfs.make('16M', [], source());
    if (type === 'iso') run('genisoimage', ['-quiet', '-R', '-D', '-o', path, source()]);
    if (type === 'fat') {
      run('mkfs.fat', ['-F', '12', '-s', '1', path]);
      run('sh', ['-c', 'mcopy -s -Q -i "$1" "$2"/d "$2"/BIG.BIN ::/', 'sh', path, source()]);
    }
    return path;
  };

  test.each(['ext4', 'fat', 'iso', 'xfs'])(
    '%s: a path of 120 directories is followed, one that is longer than a path may be is not there',
    async (type) => {
      const disk = load(image(type));
      const fileSystem = await mount(disk);
      expect((await fileSystem.readFile(`/${deep}`, 10)).toString()).toBe('bottom');
      expect(await fileSystem.stat(`/${'d/../'.repeat(2000)}d`)).toBeUndefined();
      expect(disk.bytesRead).toBeLessThan(64 << 20);
    },
  );

  test.each(['ext4', 'iso', 'xfs'])(
    '%s: links across directories that lead to each other, and chains of more than forty, lead nowhere',
    async (type) => {
      const disk = load(image(type));
      const fileSystem = await mount(disk);
      for (const path of ['/loop/a', '/loop2/b', '/chain/0', `/up/${'self/'.repeat(41)}`])
        expect(await fileSystem.stat(path)).toBeUndefined();
      await expect(fileSystem.readFile('/loop/a', 10)).rejects.toMatchObject({
        message: expect.stringContaining('more than 40 symbolic links'),
      });
      expect(await fileSystem.stat(`/up/${'self/'.repeat(20)}`)).toMatchObject({ kind: 'directory' });
      expect(disk.bytesRead).toBeLessThan(64 << 20);
    },
  );

  test('FAT: a file and a directory whose clusters are a loop, a file of 4 GiB in a chain of ten', async () => {
    const disk = load(image('fat'));
    const entry = disk.bytes.indexOf('BIG     BIN');
    const first = disk.bytes.readUInt16LE(entry + 26);
    const table = 512 * disk.bytes.readUInt16LE(14);
    const link = (bytes: Buffer, cluster: number, next: number): void => {
      const at = table + Math.floor(cluster * 1.5);
      const pair = bytes.readUInt16LE(at);
      bytes.writeUInt16LE(cluster & 1 ? (pair & 0xf) | (next << 4) : (pair & 0xf000) | next, at);
    };
    disk.bytes.writeUInt32LE(0xffffffff, entry + 28);
    const before = disk.bytesRead;
    await expect((await mount(disk)).readFile('/BIG.BIN', 2 ** 33)).rejects.toMatchObject({
      message: expect.stringMatching(/whose chain ends after|are accepted/),
    });
    link(disk.bytes, first + 5, first + 2);
    await expect((await mount(disk)).readFile('/BIG.BIN', 2 ** 33)).rejects.toMatchObject({
      message: expect.stringMatching(/is a loop/),
    });
    disk.bytes[entry + 11] = 0x10; // a directory now, of free entries without end
    const content = disk.bytes.indexOf(noise(512));
    disk.bytes.fill(0xe5, content, content + 9000);
    await expect((await mount(disk)).list('/BIG.BIN')).rejects.toMatchObject({
      message: expect.stringMatching(/is a loop/),
    });
    expect(disk.bytesRead - before).toBeLessThan(16 << 20);
  });

  test('ext4: an extent that claims terabytes lies outside the disk', async () => {
    const path = image('ext4');
    const disk = load(path);
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(
      run('debugfs', ['-R', 'imap /BIG.BIN', path]),
    )!;
    const inode = Number(block) * 1024 + Number(offset);
    disk.bytes.writeUInt32LE(0x400, inode + 0x6c); // 4 TiB
    disk.bytes.writeUInt16LE(0x7fff, inode + 0x28 + 12 + 4);
    disk.bytes.writeUInt16LE(0xff, inode + 0x28 + 12 + 6);
    await expect((await mount(disk)).readFile('/BIG.BIN', 2 ** 50)).rejects.toMatchObject({
      message: expect.stringMatching(/are accepted/),
    });
    disk.bytes.writeUInt32LE(0, inode + 0x6c);
    disk.bytes.writeUInt32LE(100 << 20, inode + 4);
    await expect((await mount(disk)).readFile('/BIG.BIN', 2 ** 30)).rejects.toMatchObject({
      message: expect.stringMatching(/outside the file system/),
    });
  });
});
