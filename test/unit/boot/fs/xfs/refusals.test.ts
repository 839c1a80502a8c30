/** XFS that is refused by name, and images that claim too much, point to themselves or contradict themselves. */
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checksumOf } from '../../../../../src/boot/fs/xfs/block-header.js';
import { haveTools, load, MemoryDisk, mount, noise, plant, scratch } from '../images.js';
import { ask, XfsImages } from './xfs-images.js';

const ready = haveTools('mkfs.xfs', 'xfs_db');
const images = new XfsImages(scratch());
/** Of version 5, and of version 4, which nothing protects from edits. */
let v5 = '';
let v4 = '';

beforeAll(() => {
  if (!ready) return;
  const root = join(images.folder, 'source');
  plant(root, {
    'boot/kernel': noise(20_000),
    link: { link: 'boot/kernel' },
    'small/file': Buffer.from('x'),
    ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`many/a-name-of-some-length-${i}`, Buffer.from('x')])),
    ...Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`tree/entry-${i}`, Buffer.alloc(i % 2)])),
  });
  v5 = images.make('16M', [], root);
  v4 = images.make('16M', ['-m', 'crc=0', '-b', 'size=512', '-i', 'size=256'], root);
});

/** The image with its superblock changed, and the checksum of that mended where it has one. */
function superblock(image: string, change: (bytes: Buffer) => void): MemoryDisk {
  const disk = load(image);
  change(disk.bytes);
  if ((disk.bytes.readUInt16BE(100) & 15) === 5)
    disk.bytes.writeUInt32LE(checksumOf(disk.bytes.subarray(0, 512), 224), 224);
  return disk;
}

/** Where xfs_db finds what the commands go to, in bytes. */
const place = (image: string, ...commands: string[]): number =>
  Number(/byte offset (\d+)/.exec(ask(image, ...commands, 'stack'))?.[1]);

const formatError = (message: RegExp) => ({
  code: 'ERR_TSVMM_DISK_FORMAT',
  message: expect.stringMatching(message),
  hint: expect.any(String),
});

describe.runIf(ready)('superblocks', () => {
  test.each([
    ['an unknown feature', (b: Buffer) => b.writeUInt32BE(0x8000_0001, 216), /uses incompat 0x80000000, which/],
    ['a mark that it needs repair', (b: Buffer) => b.writeUInt32BE(b.readUInt32BE(216) | 0x10, 216), /needing repair/],
    ['version 6', (b: Buffer) => b.writeUInt16BE(0xb4a6, 100), /version 6 is not known/],
    ['sectors of 256 bytes', (b: Buffer) => b.writeUInt16BE(256, 102), /sectors of 256/],
    ['blocks of 2^31', (b: Buffer) => b.writeUInt8(31, 120), /blocks of 4096 bytes/],
    ['inodes of 4 KiB', (b: Buffer) => b.writeUInt16BE(4096, 104), /inodes of 4096/],
    ['directory blocks of 2^20', (b: Buffer) => b.writeUInt8(8, 192), /directory blocks of 1048576/],
    ['2^48 blocks', (b: Buffer) => b.writeUInt16BE(1, 10), /but the disk or partition ends after/],
    ['no groups', (b: Buffer) => b.writeUInt32BE(0, 88), /0 groups/],
    ['a group too many', (b: Buffer) => b.writeUInt32BE(b.readUInt32BE(88) + 1, 88), /groups of/],
    ['a mkfs that did not finish', (b: Buffer) => b.writeUInt8(1, 126), /did not finish/],
    ['a root far outside', (b: Buffer) => b.writeUInt32BE(0x100, 56), /outside the file system/],
    ['a log far outside', (b: Buffer) => b.writeUInt32BE(0x100, 48), /the log points to block/],
    ['a log of nothing', (b: Buffer) => b.writeUInt32BE(0, 96), /a log of 0 bytes/],
  ])('with %s', async (_, change, message) => {
    await expect(mount(superblock(v5, change))).rejects.toMatchObject(formatError(message));
  });

  test('with a wrong checksum, and cut off', async () => {
    const disk = load(v5);
    disk.bytes[110]! ^= 1;
    await expect(mount(disk)).rejects.toMatchObject(formatError(/superblock: its checksum is wrong/));
    await expect(mount(new MemoryDisk(load(v5).bytes.subarray(0, 1 << 20)))).rejects.toMatchObject(
      formatError(/ends after 1048576/),
    );
  });

  test('of version 4 with unknown features, or with directories of version 1', async () => {
    await expect(mount(superblock(v4, (b) => b.writeUInt32BE(b.readUInt32BE(200) | 0x10, 200)))).rejects.toMatchObject(
      formatError(/features2 0x10/),
    );
    await expect(
      mount(superblock(v4, (b) => b.writeUInt16BE(b.readUInt16BE(100) & ~0x2000, 100))),
    ).rejects.toMatchObject(formatError(/directories of version 1/));
  });

  test('a repair is named with the image', async () => {
    const disk = superblock(v5, (b) => b.writeUInt32BE(b.readUInt32BE(216) | 0x10, 216));
    await expect(mount(disk)).rejects.toMatchObject({ hint: 'Repair it: xfs_repair IMAGE' });
  });
});

/** Offsets in an inode of version 4. */
const at4 = { format: 5, size: 56, extents: 76, forkOffset: 82, flags: 90, fork: 100 } as const;
const inode4 = (path: string): number => place(v4, `path ${path}`);

async function withInode(path: string, change: (bytes: Buffer, at: number) => void): Promise<MemoryDisk> {
  const disk = load(v4);
  change(disk.bytes, inode4(path));
  return disk;
}

describe.runIf(ready)('files', () => {
  const kernel = '/boot/kernel';
  test.each([
    [
      'extents out of order',
      (b: Buffer, at: number) => {
        b.copyWithin(at + at4.fork + 16, at + at4.fork, at + at4.fork + 16);
        b.writeUInt32BE(2, at + at4.extents);
      },
      /out of order/,
    ],
    [
      'an extent without length',
      (b: Buffer, at: number) => b.writeUInt32BE(b.readUInt32BE(at + at4.fork + 12) & ~0x1fffff, at + at4.fork + 12),
      /without length/,
    ],
    [
      'an extent outside',
      (b: Buffer, at: number) => b.writeUInt32BE(0x7fffffff, at + at4.fork + 8),
      /outside the file system/,
    ],
    [
      'more extents than fit',
      (b: Buffer, at: number) => b.writeUInt32BE(0xffffffff, at + at4.extents),
      /4294967295 of them in/,
    ],
    ['a format that is none', (b: Buffer, at: number) => b.writeUInt8(9, at + at4.format), /a data fork of format 9/],
    [
      'data on a realtime device',
      (b: Buffer, at: number) => b.writeUInt16BE(1, at + at4.flags),
      /on a realtime device/,
    ],
    [
      'attributes behind its end',
      (b: Buffer, at: number) => b.writeUInt8(200, at + at4.forkOffset),
      /attributes behind its end/,
    ],
    ['2^62 bytes', (b: Buffer, at: number) => b.writeUInt32BE(0x40000000, at + at4.size), /are accepted/],
  ] as const)('with %s', async (_, change, message) => {
    const fileSystem = await mount(await withInode(kernel, change));
    await expect(fileSystem.readFile(kernel, 1e9)).rejects.toMatchObject({ message: expect.stringMatching(message) });
  });

  test('of many bytes that are a hole cost nothing to read', async () => {
    const disk = await withInode(kernel, (b, at) => b.writeUInt32BE(50_000_000, at + at4.size + 4));
    const fileSystem = await mount(disk);
    const before = disk.bytesRead;
    expect((await fileSystem.readFile(kernel, 1e8)).length).toBe(50_000_000);
    expect(disk.bytesRead - before).toBeLessThan(1_000_000);
  });

  test('a link longer than links can be', async () => {
    const fileSystem = await mount(await withInode('/link', (b, at) => b.writeUInt32BE(1025, at + at4.size + 4)));
    await expect(fileSystem.stat('/link')).rejects.toMatchObject(formatError(/symbolic link \d+ has 1025 bytes/));
  });
});

describe.runIf(ready)('directories', () => {
  test('an extent tree that points to itself, is too deep, or says what is not', async () => {
    const root = inode4('/tree') + at4.fork;
    const healthy = load(v4);
    expect(healthy.bytes.readUInt16BE(root)).toBe(1);
    const room = Math.floor((256 - 100 - 4) / 16);
    const attempt = async (change: (bytes: Buffer) => void) => {
      const disk = load(v4);
      change(disk.bytes);
      return (await mount(disk)).list('/tree');
    };
    expect(await attempt(() => {})).toHaveLength(2000);
    await expect(attempt((b) => b.writeUInt16BE(2, root))).rejects.toMatchObject(
      formatError(/of level 0 where 1 is due/),
    );
    await expect(attempt((b) => b.writeUInt16BE(60, root))).rejects.toMatchObject(formatError(/60 levels deep/));
    await expect(attempt((b) => b.writeUInt16BE(99, root + 2))).rejects.toMatchObject(formatError(/99 of \d+ entries/));
    await expect(attempt((b) => b.writeUInt32BE(7, root + 8))).rejects.toMatchObject(formatError(/out of order/));
    const pointers = root + 4 + room * 8;
    const leafForTwoRanges = (b: Buffer): void => {
      b.writeUInt16BE(2, root + 2);
      b.writeUInt32BE(5, root + 4 + 8 + 4);
      b.copyWithin(pointers + 8, pointers, pointers + 8);
    };
    await expect(attempt(leafForTwoRanges)).rejects.toMatchObject(formatError(/out of order/));
    await expect(attempt((b) => b.writeUInt32BE(0x7fff, pointers))).rejects.toMatchObject(formatError(/outside/));
    await expect(attempt((b) => b.writeUInt32BE(0, pointers + 4))).rejects.toMatchObject(
      formatError(/no part of the tree/),
    );
  });

  test('that claim 2^40 bytes, or more in the inode than there is', async () => {
    const large = await mount(await withInode('/many', (b, at) => b.writeUInt32BE(256, at + at4.size)));
    await expect(large.list('/many')).rejects.toMatchObject(formatError(/has \d+ bytes/));
    const small = await mount(await withInode('/small', (b, at) => b.writeUInt32BE(5000, at + at4.size + 4)));
    await expect(small.list('/small')).rejects.toMatchObject(formatError(/5000 bytes in the inode/));
    const cut = await mount(await withInode('/small', (b, at) => b.writeUInt8(200, at + at4.fork)));
    await expect(cut.list('/small')).rejects.toMatchObject(formatError(/an entry is cut off/));
  });

  test('that lead to themselves end', async () => {
    const disk = load(v4);
    const small = inode4('/small');
    const parent = disk.bytes.readUInt32BE(small + at4.fork + 2);
    disk.bytes.writeUInt32BE(parent, small + at4.fork + 6 + 3 + 'file'.length + 1);
    const fileSystem = await mount(disk);
    expect(await fileSystem.stat(`${'/small/file'.repeat(300)}/boot/kernel`)).toMatchObject({ size: 20_000 });
    expect(await fileSystem.stat('/small/file/'.repeat(400))).toBeUndefined();
  });
});

/** Of version 5: every kind of block is refused when it says that it is another one's. */
describe.runIf(ready)('what metadata says of itself', () => {
  test.each([
    ['its checksum', 30, 'has a wrong checksum', false],
    ['its place', 15, 'was written for another place', true],
    ['its file system', 24, 'belongs to another file system', true],
    ['its owner', 47, 'belongs to another inode', true],
    ['its kind', 3, 'holds no entries', true],
  ] as const)('a directory block with another %s', async (_, offset, message, mended) => {
    const disk = load(v5);
    const block = place(v5, 'path /many', 'dblock 0');
    expect(disk.bytes.toString('latin1', block, block + 4)).toBe('XDB3');
    disk.bytes[block + offset]! ^= 1;
    if (mended) disk.bytes.writeUInt32LE(checksumOf(disk.bytes.subarray(block, block + 4096), 4), block + 4);
    await expect((await mount(disk)).list('/many')).rejects.toMatchObject(formatError(new RegExp(message)));
  });

  test.each([
    ['its checksum', 60, 'its checksum is wrong', false],
    ['its number', 159, 'written for another number', true],
    ['its file system', 160, 'belongs to another file system', true],
    ['its version', 4, 'version', true],
    ['no mode', 2, 'not allocated', true],
    ['no magic', 0, 'there is none', true],
  ] as const)('an inode with another %s', async (_, offset, message, mended) => {
    const disk = load(v5);
    const inode = place(v5, 'path /boot/kernel');
    if (offset === 2) disk.bytes.writeUInt16BE(0, inode + 2);
    else disk.bytes[inode + offset]! ^= 1;
    if (mended) disk.bytes.writeUInt32LE(checksumOf(disk.bytes.subarray(inode, inode + 512), 100), inode + 100);
    await expect((await mount(disk)).stat('/boot/kernel')).rejects.toMatchObject(formatError(new RegExp(message)));
  });
});
