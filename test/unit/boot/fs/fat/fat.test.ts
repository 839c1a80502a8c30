/** FAT12, FAT16 and FAT32 against mkfs.fat and mtools, compared byte by byte. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shortNameChecksum } from '../../../../../src/boot/fs/fat/names.js';
import { openRawImage } from '../../../../../src/disk/raw-image.js';
import {
  type Content,
  expectSameTree,
  haveTools,
  load,
  MemoryDisk,
  mount,
  noise,
  plant,
  run,
  scratch,
} from '../images.js';

const ready = haveTools('mkfs.fat', 'mcopy', 'mlabel', 'mattrib', 'mdel', 'fsck.fat', 'blkid');
const folder = scratch();
const source = join(folder, 'source');

const files: Record<string, Content> = {
  'EFI/BOOT/BOOTX64.EFI': noise(123_456, 3),
  'EFI/Linux/a-unified-kernel-image-6.1.0-13-cloud-amd64.efi': noise(50_001, 4),
  'loader/entries/debian.conf': Buffer.from('title Debian\n'),
  'EMPTY.TXT': Buffer.alloc(0),
  'lower.txt': Buffer.from('lower case short name'),
  'MiXeD.TxT': Buffer.from('mixed case needs a long name'),
  '.hidden': Buffer.from('a leading dot'),
  'no extension': Buffer.from('a blank'),
  'two.dots.conf': Buffer.from('dots'),
  'exactly-13-ch': Buffer.from('one piece, full'),
  'exactly-26-characters-name': Buffer.from('two pieces, full'),
  ['long-'.repeat(30)]: Buffer.from('150 characters'),
  'ünïcödé 文件': Buffer.from('utf-16'),
  'a/b/c/d/e/f/g/deep.txt': Buffer.from('deep'),
  ...Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`many/entry number ${i}.conf`, Buffer.from(String(i))])),
};

beforeAll(() => {
  if (ready) plant(source, files);
});

let made = 0;
function image(size: string, args: string[], from = source): string {
  const path = join(folder, `${++made}.img`);
  run('truncate', ['-s', size, path]);
  run('mkfs.fat', [...args, path]);
  if (from) run('sh', ['-c', `mcopy -s -Q -i "$1" "$2"/* "$2"/.[a-z]* ::/`, 'sh', path, from]);
  return path;
}

const cases = [
  { name: 'FAT12', size: '2M', args: ['-F', '12'], type: 'fat12' },
  { name: 'FAT12 with clusters of 8 sectors', size: '4M', args: ['-F', '12', '-s', '8'], type: 'fat12' },
  { name: 'FAT16', size: '16M', args: ['-F', '16'], type: 'fat16' },
  { name: 'FAT16 with 1024-byte sectors', size: '16M', args: ['-F', '16', '-S', '1024'], type: 'fat16' },
  { name: 'FAT16 with a large root', size: '8M', args: ['-F', '16', '-r', '1024', '-s', '1'], type: 'fat16' },
  { name: 'FAT32', size: '40M', args: ['-F', '32'], type: 'fat32' },
  { name: 'FAT32 with 4096-byte sectors', size: '300M', args: ['-F', '32', '-S', '4096', '-s', '1'], type: 'fat32' },
  { name: 'FAT32 with a single table', size: '40M', args: ['-F', '32', '-s', '1', '-f', '1'], type: 'fat32' },
] as const;

describe.runIf(ready)('reads what mkfs.fat and mtools wrote', () => {
  test.each(cases)('$name', async ({ size, args, type }) => {
    const path = image(size, [...args, '-n', 'TSVMM TEST', '-i', 'BEEF0042']);
    await using disk = await openRawImage(path);
    const fileSystem = await mount(disk);
    expect(await expectSameTree(fileSystem, source)).toBe(Object.keys(files).length);
    expect(fileSystem).toMatchObject({ type, label: 'TSVMM TEST', uuid: 'BEEF-0042', notes: [] });
    expect(run('blkid', ['-p', '-o', 'value', '-s', 'UUID', path]).trim()).toBe(fileSystem.uuid);
  });
});

describe.runIf(ready)('FAT', () => {
  test('finds names whatever their case, and by their short name', async () => {
    const fileSystem = await mount(load(image('2M', ['-F', '12'])));
    for (const path of [
      '/efi/boot/bootx64.efi',
      '/EFI/Boot/BOOTx64.EFI',
      'EFI/BOOT/BOOTX64.EFI',
      '/efi/linux/../boot/./bootx64.efi',
      '/efi/boot/bootx64.efi.',
    ]) {
      expect(await fileSystem.stat(path), path).toEqual({ kind: 'file', size: 123_456 });
    }
    expect(await fileSystem.stat('/EFI/LINUX/A-UNIF~1.EFI')).toEqual({ kind: 'file', size: 50_001 });
    expect(await fileSystem.stat('/ÜNÏCÖDÉ 文件')).toMatchObject({ kind: 'file' });
    expect(await fileSystem.stat('/efi/boot/none.efi')).toBeUndefined();
    expect(await fileSystem.stat('/efi/boot/bootx64.efi/x')).toBeUndefined();
  });

  test('follows fragmented files and reuses nothing of deleted ones', async () => {
    const path = image('2M', ['-F', '12', '-s', '1'], '');
    const root = join(folder, 'fragments');
    plant(root, {
      ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`gap-${i}`, noise(700, i + 1)])),
      fragmented: noise(30_000, 99),
    });
    for (let i = 0; i < 40; i++) run('mcopy', ['-i', path, join(root, `gap-${i}`), '::/']);
    for (let i = 0; i < 40; i += 2) {
      run('mdel', ['-i', path, `::/gap-${i}`]);
      run('rm', [join(root, `gap-${i}`)]);
    }
    run('mcopy', ['-i', path, join(root, 'fragmented'), '::/']);
    const disk = load(path);
    expect(await expectSameTree(await mount(disk), root)).toBe(21);
  });

  test('reads a large file with few reads', async () => {
    const root = join(folder, 'large');
    plant(root, { initrd: noise(12_000_000), '.x': Buffer.alloc(1) });
    const disk = load(image('40M', ['-F', '32', '-s', '1'], root));
    const fileSystem = await mount(disk);
    const before = disk.reads;
    expect((await fileSystem.readFile('/initrd', 12_000_000)).equals(noise(12_000_000))).toBe(true);
    expect(disk.reads - before).toBeLessThan(12);
  });

  test('a label entry in the root wins over the boot sector; none of both is an empty label', async () => {
    const path = image('2M', ['-F', '12', '-n', 'OLD']);
    run('mlabel', ['-i', path, '::NEW NAME']);
    expect((await mount(load(path))).label).toBe('NEW NAME');
    expect((await mount(load(image('2M', ['-F', '12'])))).label).toBe('');
  });

  test('a volume that was not unmounted is noted', async () => {
    const disk = load(image('2M', ['-F', '12']));
    disk.bytes[0x25] = 1;
    expect((await mount(disk)).notes).toEqual(['the file system was not unmounted cleanly']);
  });

  test('a FAT32 with fewer clusters than the specification allows is one all the same', async () => {
    const path = image('4M', ['-F', '32', '-s', '1'], '');
    const { bytes } = load(path);
    const table = bytes.readUInt16LE(0xe) * 512;
    const root = table + 2 * bytes.readUInt32LE(0x24) * 512;
    const start = 3; // two clusters, 3 and 7, behind the root's
    for (const at of [table, table + bytes.readUInt32LE(0x24) * 512]) {
      bytes.writeUInt32LE(7, at + start * 4);
      bytes.writeUInt32LE(0x0fffffff, at + 7 * 4);
    }
    entry('FILE    BIN', 0x20, start, 700).copy(bytes, root);
    noise(512).copy(bytes, root + 512);
    noise(188, 2).copy(bytes, root + 5 * 512);
    writeFileSync(path, bytes);
    run('fsck.fat', ['-n', path], { accept: [0, 1] }); // 1: the count of free clusters is off
    const fileSystem = await mount(load(path));
    expect(fileSystem.type).toBe('fat32');
    expect((await fileSystem.readFile('/file.bin', 700)).equals(Buffer.concat([noise(512), noise(188, 2)]))).toBe(true);
  });

  test('the active table counts when FAT32 does not mirror', async () => {
    const disk = load(image('40M', ['-F', '32', '-s', '1']));
    const reserved = disk.bytes.readUInt16LE(0xe) * 512;
    disk.bytes.fill(0xff, reserved, reserved + disk.bytes.readUInt32LE(0x24) * 512); // the first table is lost
    disk.bytes.writeUInt16LE(0x81, 0x28); // mirroring off, table 1
    expect(await expectSameTree(await mount(disk), source)).toBe(Object.keys(files).length);
  });
});

/** A tiny FAT12 volume built by hand: 1 reserved sector, 1 table, a root of 32 entries, clusters of one sector. */
function tiny(root: Buffer[], chain: Record<number, number> = {}): MemoryDisk {
  const bytes = Buffer.alloc(64 * 512);
  bytes.set([0xeb, 0x3c, 0x90]);
  bytes.writeUInt16LE(512, 0xb);
  bytes[0xd] = 1;
  bytes.writeUInt16LE(1, 0xe);
  bytes[0x10] = 1;
  bytes.writeUInt16LE(32, 0x11);
  bytes.writeUInt16LE(64, 0x13);
  bytes[0x15] = 0xf8;
  bytes.writeUInt16LE(1, 0x16);
  bytes.writeUInt16LE(0xaa55, 510);
  for (const [cluster, next] of Object.entries(chain)) {
    const at = 512 + Number(cluster) + (Number(cluster) >> 1);
    const old = bytes.readUInt16LE(at);
    bytes.writeUInt16LE(Number(cluster) & 1 ? (old & 0xf) | (next << 4) : (old & 0xf000) | next, at);
  }
  root.forEach((entry, i) => {
    entry.copy(bytes, 1024 + i * 32);
  });
  for (let cluster = 2; cluster < 50; cluster++)
    bytes.fill(cluster, 2048 + (cluster - 2) * 512, 2048 + (cluster - 1) * 512);
  return new MemoryDisk(bytes);
}

function entry(name: string, attributes: number, cluster: number, size: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.write(name.padEnd(11), 'latin1');
  bytes[11] = attributes;
  bytes.writeUInt16LE(cluster, 26);
  bytes.writeUInt32LE(size, 28);
  return bytes;
}

/** One piece of a long name for the short entry `of`. */
function piece(ordinal: number, text: string, of: Buffer): Buffer {
  const bytes = Buffer.alloc(32, 0xff);
  bytes[0] = ordinal;
  bytes[11] = 0x0f;
  bytes[12] = 0;
  bytes[13] = shortNameChecksum(of);
  bytes.writeUInt16LE(0, 26);
  const units = Array.from({ length: 13 }, (_, i) =>
    i <= text.length ? (i < text.length ? text.charCodeAt(i) : 0) : 0xffff,
  );
  const places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
  units.forEach((unit, i) => {
    bytes.writeUInt16LE(unit, places[i]!);
  });
  return bytes;
}

describe('FAT by hand', () => {
  const file = entry('FILE    TXT', 0x20, 2, 1200);

  test('reads a chain, and refuses one that is a loop, ends early, is free, bad or outside', async () => {
    const read = async (chain: Record<number, number>, size = 1200) =>
      (await mount(tiny([entry('FILE    TXT', 0x20, 2, size)], chain))).readFile('/file.txt', 100_000);
    const content = await read({ 2: 5, 5: 3, 3: 0xfff });
    expect([content[0], content[511], content[512], content[1024], content.length]).toEqual([2, 2, 5, 3, 1200]);
    await expect(read({ 2: 5, 5: 2 }, 50_000)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining('is a loop'),
    });
    await expect(read({ 2: 2 }, 50_000)).rejects.toMatchObject({ message: expect.stringContaining('is a loop') });
    await expect(read({ 2: 5, 5: 0xfff })).rejects.toMatchObject({
      message: expect.stringContaining('ends after 1024'),
    });
    await expect(read({ 2: 5 })).rejects.toMatchObject({ message: expect.stringContaining('free cluster') });
    await expect(read({ 2: 0xff7 })).rejects.toMatchObject({ message: expect.stringContaining('bad one') });
    await expect(read({ 2: 0xff0 })).rejects.toMatchObject({ message: expect.stringContaining('cluster 4080') });
  });

  test('takes a long name only whole, in order and with the checksum of its short name', async () => {
    const long = 'a rather long name'; // two pieces
    const first = piece(1, long.slice(0, 13), file);
    const last = piece(0x42, long.slice(13), file);
    const names = async (...entries: Buffer[]) => (await (await mount(tiny(entries))).list('/')).map((e) => e.name);
    expect(await names(last, first, file)).toEqual([long]);
    expect(await names(first, last, file)).toEqual(['FILE.TXT']);
    expect(await names(last, file)).toEqual(['FILE.TXT']);
    expect(await names(first, file)).toEqual(['FILE.TXT']);
    expect(await names(last, first, entry('OTHER', 0x20, 3, 1))).toEqual(['OTHER']);
    await expect(names(piece(0x41, 'slash/in', file), file)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_FORMAT' });
    expect(await names(piece(0x41, 'a pair: 🙂', file), file)).toEqual(['a pair: 🙂']);
    const longest = `${'0123456789abc'.repeat(19)}to 255 x`;
    const pieces = Array.from({ length: 20 }, (_, i) =>
      piece(i === 19 ? 0x54 : i + 1, longest.slice(i * 13, (i + 1) * 13), file),
    );
    expect(longest.length).toBe(255);
    expect(await names(...pieces.toReversed(), file)).toEqual([longest]);
  });

  test('leaves out deleted entries, labels, and what follows the end', async () => {
    const deleted = entry('\xe5ILE    TXT', 0x20, 2, 5);
    const label = entry('MY LABEL', 0x08, 0, 0);
    const fileSystem = await mount(tiny([deleted, label, file, Buffer.alloc(32), entry('AFTER', 0x20, 2, 1)]));
    expect((await fileSystem.list('/')).map((e) => e.name)).toEqual(['FILE.TXT']);
    expect(fileSystem.label).toBe('MY LABEL');
  });

  test('shows the first byte 0x05 as the character that it stands for, and code page 437', async () => {
    const fileSystem = await mount(tiny([entry('\x05A\x80     \x81', 0x20, 2, 1)]));
    expect((await fileSystem.list('/')).map((e) => e.name)).toEqual(['σAÇ.ü']);
  });

  test('a directory that contains itself, and one whose chain is a loop', async () => {
    const disk = tiny([entry('DIR', 0x10, 2, 0)], { 2: 0xfff, 3: 4, 4: 3 });
    Buffer.concat([entry('SELF', 0x10, 2, 0), entry('LOOP', 0x10, 3, 0)]).copy(disk.bytes, 2048);
    disk.bytes.fill(0xe5, 2560, 3584);
    const fileSystem = await mount(disk);
    expect(await fileSystem.stat(`/dir${'/self'.repeat(500)}`)).toMatchObject({ kind: 'directory' });
    await expect(fileSystem.list('/dir/self/loop')).rejects.toMatchObject({
      message: expect.stringContaining('is a loop'),
    });
  });

  test.each([
    ['more sectors than the disk has', (b: Buffer) => b.writeUInt16LE(65, 0x13), /ends after 32768/],
    ['tables that leave no room', (b: Buffer) => b.writeUInt16LE(65, 0x16), /tables of 65 sectors/],
    ['a root without entries', (b: Buffer) => b.writeUInt16LE(0, 0x11), /without entries/],
    ['no sectors', (b: Buffer) => b.writeUInt16LE(0, 0x13), /file system of 0 sectors/],
  ])('refuses %s', async (_, change, message) => {
    const disk = tiny([file]);
    change(disk.bytes);
    await expect(mount(disk)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(message),
    });
  });
});
