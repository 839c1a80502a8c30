/** Partition tables against sgdisk, sfdisk and fdisk, which write them, and partx, which says what Linux makes of them. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { readPartitions } from '../../../../src/boot/disk/partition-table.js';
import { haveTools, load, MemoryDisk, run, scratch } from '../fs/images.js';

const MiB = 1024 * 1024;
const ready = haveTools('sgdisk', 'sfdisk', 'fdisk', 'partx');
const folder = scratch();
let made = 0;

function blank(size: string): string {
  const path = join(folder, `${++made}.img`);
  run('truncate', ['-s', size, path]);
  return path;
}

/** What partx(8), with the kernel's rules, finds in an image of 512-byte sectors. */
function partx(path: string): { index: number; start: number; size: number; type: string; uuid: string }[] {
  const out = run('partx', ['--bytes', '-r', '-g', '-o', 'NR,START,SECTORS,TYPE,UUID', path], { accept: [0, 1] });
  return out
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' '))
    .map(([nr, start, sectors, type, uuid]) => ({
      index: Number(nr),
      start: Number(start) * 512,
      size: Number(sectors) * 512,
      type: type!.startsWith('0x') ? `mbr:${type!.slice(2).padStart(2, '0')}` : type!,
      uuid: uuid!,
    }));
}

const places = (table: {
  partitions: readonly { index: number; start: number; size: number; type: string; uuid: string }[];
}) => table.partitions.map(({ index, start, size, type, uuid }) => ({ index, start, size, type, uuid }));

/** Whatever it was: identifiers are random. */
function flip(bytes: Buffer, at: number): void {
  bytes[at]! ^= 1;
}

describe.runIf(ready)('GPT', () => {
  let original: string | undefined; // once: sgdisk waits for the disk
  function debianLike(): string {
    const path = blank('64M');
    if (original) {
      copyFileSync(original, path);
      return path;
    }
    run('sgdisk', [
      '-n',
      '14:2048:8191',
      '-t',
      '14:ef02',
      '-n',
      '15:8192:+16M',
      '-t',
      '15:ef00',
      '-c',
      '15:EFI System',
      path,
    ]);
    run('sgdisk', ['-n', '1:40960:', '-t', '1:8304', '-c', '1:wurzel – ü', '-A', '1:set:2', path]);
    original = blank('64M');
    copyFileSync(path, original);
    return path;
  }

  test('reads what sgdisk wrote', async () => {
    const path = debianLike();
    const table = await readPartitions(load(path));
    expect(table).toMatchObject({ scheme: 'gpt', sectorSize: 512, notes: [] });
    expect(places(table)).toEqual(partx(path));
    expect(table.partitions[0]).toMatchObject({
      index: 1,
      name: 'wurzel – ü',
      typeName: 'Linux root (x86-64)',
      bootable: true,
      start: 20 * MiB,
    });
    expect(table.partitions.map((p) => [p.index, p.typeName, p.bootable])).toEqual([
      [1, 'Linux root (x86-64)', true],
      [14, 'BIOS boot', false],
      [15, 'EFI System', false],
    ]);
  });

  test('reads larger tables', async () => {
    const path = blank('32M');
    run('sgdisk', ['-S', '256', ...[60, 120, 180, 240].flatMap((index) => ['-n', `${index}:0:+1M`]), path]);
    expect(places(await readPartitions(load(path)))).toEqual(partx(path));
  });

  test('reads a table for 4096-byte sectors', async () => {
    const path = blank('64M');
    run('fdisk', ['-b', '4096', path], { input: 'g\nn\n1\n\n+16M\nn\n2\n\n\nw\n' });
    const table = await readPartitions(load(path));
    expect(table).toMatchObject({ scheme: 'gpt', sectorSize: 4096, notes: [] });
    expect(table.partitions.map((p) => [p.index, p.start, p.size])).toEqual([
      [1, MiB, 16 * MiB],
      [2, 17 * MiB, 64 * MiB - 17 * MiB - MiB],
    ]);
  });

  test.each([
    ['its header is zeroed', (bytes: Buffer) => bytes.fill(0, 512, 1024), /header is missing/],
    ['its header is damaged', (bytes: Buffer) => flip(bytes, 512 + 60), /header has a wrong checksum/],
    ['its entries are damaged', (bytes: Buffer) => flip(bytes, 1024 + 60), /entry array has a wrong checksum/],
  ])('uses the backup when the primary is damaged: %s', async (_, damage, note) => {
    const path = debianLike();
    const disk = load(path);
    damage(disk.bytes);
    const table = await readPartitions(disk);
    expect(table.scheme).toBe('gpt');
    expect(places(table)).toEqual(partx(path));
    expect(table.notes).toEqual([expect.stringMatching(note)]);
    expect(table.notes[0]).toContain('sgdisk -e');
    expect(table.backupOnly).toBe(true);
  });

  test('reads a disk that was made larger, whose backup is no longer at its end', async () => {
    const path = debianLike();
    const before = partx(path);
    run('truncate', ['-s', '96M', path]);
    expect(places(await readPartitions(load(path)))).toEqual(before);
  });

  test('leaves out partitions behind the end of a truncated disk', async () => {
    const disk = load(debianLike());
    const table = await readPartitions(new MemoryDisk(disk.bytes.subarray(0, 32 * MiB)));
    expect(table.partitions.map((p) => p.index)).toEqual([14, 15]);
    expect(table.notes).toEqual([expect.stringMatching(/^partition 1 .* is not inside the disk/)]);
  });

  test('both copies damaged is no GPT, and says so', async () => {
    const disk = load(debianLike());
    flip(disk.bytes, 512 + 60);
    flip(disk.bytes, disk.bytes.length - 512 + 60);
    const table = await readPartitions(disk);
    expect(table).toMatchObject({ scheme: 'none', partitions: [] });
    expect(table.notes).toEqual([
      expect.stringContaining('announces a GPT'),
      expect.stringContaining('wrong checksum'),
    ]);
  });

  test('without a protective MBR it does not count, as in Linux', async () => {
    const disk = load(debianLike());
    disk.bytes.fill(0, 0, 512);
    expect(await readPartitions(disk)).toMatchObject({
      scheme: 'none',
      notes: [expect.stringContaining('without a protective MBR')],
    });
  });

  test('counts behind a hybrid MBR', async () => {
    const path = debianLike();
    run('sgdisk', ['-h', '1:15:EE', path]);
    expect((await readPartitions(load(path))).partitions.map((p) => p.index)).toEqual([1, 14, 15]);
  });

  /** Changes the table of `disk` and makes its checksums right again. */
  function rewritten(change: (header: Buffer, entries: Buffer) => void): MemoryDisk {
    const disk = load(debianLike());
    const header = disk.bytes.subarray(512, 1024);
    change(header, disk.bytes.subarray(1024));
    const length = Math.min(header.readUInt32LE(80) * header.readUInt32LE(84), MiB);
    header.writeUInt32LE(crc32(disk.bytes.subarray(1024, 1024 + length)), 88);
    header.writeUInt32LE(0, 16);
    header.writeUInt32LE(crc32(header.subarray(0, Math.min(512, header.readUInt32LE(12)))), 16);
    disk.bytes.fill(0, disk.bytes.length - 512);
    return disk;
  }

  test.each([
    ['entries of 64 bytes', (h: Buffer) => h.writeUInt32LE(64, 84), /entries of 64 bytes/],
    ['entries of 8192 bytes', (h: Buffer) => h.writeUInt32LE(8192, 84), /entries of 8192 bytes/],
    ['four thousand million entries', (h: Buffer) => h.writeUInt32LE(0xffffffff, 80), /claims 4294967295 entries/],
    ['entries behind the end', (h: Buffer) => h.writeBigUInt64LE(0xffffffffffffffffn, 72), /not inside the disk/],
    ['a header of 4 GiB', (h: Buffer) => h.writeUInt32LE(0xfffffff0, 12), /size of 4294967280/],
    ['a header for another sector', (h: Buffer) => h.writeUInt32LE(2, 24), /belongs elsewhere/],
  ])('refuses %s', async (_, change, note) => {
    const table = await readPartitions(rewritten(change));
    expect(table.scheme).toBe('none');
    expect(table.notes.join()).toMatch(note);
  });

  test('notes overlaps, and leaves out what ends before it starts or cannot be a place on a disk', async () => {
    const table = await readPartitions(
      rewritten((_, entries) => {
        entries.writeUInt32LE(9000, 32); // partition 1 from inside partition 15
        entries.writeUInt32LE(100, 13 * 128 + 32);
        entries.writeUInt32LE(99, 13 * 128 + 40);
        entries.copy(entries, 3 * 128, 0, 128);
        entries.writeBigUInt64LE(2n ** 63n, 3 * 128 + 40);
      }),
    );
    expect(table.partitions.map((p) => p.index)).toEqual([1, 15]);
    expect(table.notes).toEqual([
      expect.stringMatching(/^partition 4 /),
      expect.stringMatching(/^partition 14 /),
      'partitions 15 and 1 overlap',
    ]);
  });
});

describe.runIf(ready)('MBR', () => {
  const script = `label: dos
label-id: 0x1234abcd
start=2048, size=16384, type=83, bootable
start=18432, size=4096, type=82
start=22528, size=100000, type=5
start=24576, size=8192, type=83
start=34816, size=8192, type=c
start=45056, size=8192, type=8e
start=126976, size=2048, type=ef
`;

  let original: string | undefined;
  function disk(): { path: string; disk: MemoryDisk } {
    if (!original) {
      original = blank('64M');
      run('sfdisk', [original], { input: script });
    }
    return { path: original, disk: load(original) };
  }

  test('reads primary, extended and logical partitions', async () => {
    const { path, disk: image } = disk();
    const table = await readPartitions(image);
    expect(table).toMatchObject({ scheme: 'mbr', sectorSize: 512, notes: [] });
    expect(places(table)).toEqual(partx(path).sort((a, b) => a.index - b.index));
    expect(table.partitions.map((p) => [p.index, p.typeName, p.bootable, p.uuid])).toEqual([
      [1, 'Linux', true, '1234abcd-01'],
      [2, 'Linux swap', false, '1234abcd-02'],
      [3, 'Extended', false, '1234abcd-03'],
      [4, 'EFI System', false, '1234abcd-04'],
      [5, 'Linux', false, '1234abcd-05'],
      [6, 'FAT32 (LBA)', false, '1234abcd-06'],
      [7, 'Linux LVM', false, '1234abcd-07'],
    ]);
  });

  test('what lies in the last slots of an extended boot record counts only inside the extended partition', async () => {
    const path = blank('64M');
    const input =
      'label: dos\nlabel-id: 0x00000001\nstart=2048, size=70000, type=5\nstart=4096, size=8192, type=83\nstart=24576, size=8192, type=83\n';
    run('sfdisk', [path], { input });
    const { bytes } = load(path);
    const slot = (index: number, start: number, count: number) => {
      const at = 2048 * 512 + 446 + 16 * index;
      bytes.writeUInt8(0x41, at + 4);
      bytes.writeUInt32LE(start, at + 8);
      bytes.writeUInt32LE(count, at + 12);
    };
    const numbers = async () => {
      writeFileSync(path, bytes);
      const table = await readPartitions(load(path));
      expect(table.notes).toEqual([]);
      expect(places(table)).toEqual(partx(path));
      return table.partitions.map(({ index }) => index);
    };
    slot(2, 0x2020_2020, 0x6f72_7245);
    slot(3, 60_000, 20_000);
    expect(await numbers()).toEqual([1, 5, 6]);
    slot(3, 60_000, 4000);
    expect(await numbers()).toEqual([1, 5, 6, 7]);
  });

  test('numbers many logical partitions as Linux does', async () => {
    const path = blank('64M');
    const logical = Array.from({ length: 20 }, (_, i) => `start=${4096 + i * 4096}, size=1024, type=83`).join('\n');
    run('sfdisk', [path], { input: `label: dos\nlabel-id: 0x00000001\nstart=2048, type=f\n${logical}\n` });
    const table = await readPartitions(load(path));
    expect(table.partitions.length).toBe(21);
    expect(table.partitions.at(-1)).toMatchObject({ index: 24, uuid: '00000001-18' });
    expect(places(table)).toEqual(partx(path));
  });

  test('a chain of extended boot records that is a loop ends with a note', async () => {
    const { disk: image } = disk();
    const second = 22528 * 512 + 446 + 16;
    image.bytes.writeUInt32LE(0, second + 8); // the next record is the first one
    const table = await readPartitions(image);
    expect(table.partitions.map((p) => p.index)).toEqual([1, 2, 3, 4, 5]);
    expect(table.notes).toEqual([expect.stringContaining('is a loop')]);
  });

  test('a chain that leaves the extended partition, or leads to nothing, ends with a note', async () => {
    const { disk: image } = disk();
    const second = 22528 * 512 + 446 + 16;
    image.bytes.writeUInt32LE(0xfffffff0, second + 8);
    expect((await readPartitions(image)).notes).toEqual([expect.stringContaining('leaves the disk')]);
    image.bytes.writeUInt32LE(5000, second + 8);
    expect((await readPartitions(image)).notes).toEqual([expect.stringContaining('no extended boot record')]);
  });

  test('a chain without end ends', async () => {
    const path = blank('8M');
    run('sfdisk', [path], { input: 'label: dos\nstart=2048, type=5\n' });
    const { bytes } = load(path);
    for (let i = 0; i < 200; i++) {
      const record = (2048 + i) * 512;
      bytes.writeUInt16LE(0xaa55, record + 510);
      bytes[record + 446 + 4] = 0x83;
      bytes.writeUInt32LE(1, record + 446 + 8);
      bytes.writeUInt32LE(1, record + 446 + 12);
      bytes[record + 446 + 16 + 4] = 5;
      bytes.writeUInt32LE(i + 1, record + 446 + 16 + 8);
      bytes.writeUInt32LE(1, record + 446 + 16 + 12);
    }
    const table = await readPartitions(new MemoryDisk(bytes));
    expect(table.partitions.length).toBe(101);
    expect(table.notes).toEqual([expect.stringContaining('more than 100 records')]);
  });

  test('leaves out partitions that are not inside the disk', async () => {
    const { disk: image } = disk();
    const table = await readPartitions(new MemoryDisk(image.bytes.subarray(0, 22 * MiB)));
    expect(table.partitions.map((p) => p.index)).toEqual([1, 2, 5, 6]);
    expect(table.notes.length).toBeGreaterThanOrEqual(2);
  });

  test('notes overlaps', async () => {
    const { disk: image } = disk();
    image.bytes.writeUInt32LE(20000, 446 + 12);
    expect((await readPartitions(image)).notes).toEqual(['partitions 1 and 2 overlap']);
  });
});

describe('no partition table', () => {
  test('an empty disk, a tiny one, boot code without a table', async () => {
    expect(await readPartitions(new MemoryDisk(Buffer.alloc(MiB)))).toEqual({
      scheme: 'none',
      sectorSize: 512,
      partitions: [],
      notes: [],
    });
    expect(await readPartitions(new MemoryDisk(Buffer.alloc(100)))).toMatchObject({ scheme: 'none' });
    const code = Buffer.alloc(MiB, 0xcc);
    code.writeUInt16LE(0xaa55, 510);
    expect(await readPartitions(new MemoryDisk(code))).toMatchObject({ scheme: 'none', partitions: [] });
  });

  test.runIf(haveTools('mkfs.fat', 'mke2fs'))('a file system on the whole disk', async () => {
    for (const [tool, ...args] of [
      ['mkfs.fat', '-F', '16'],
      ['mkfs.fat', '-F', '32'],
      ['mke2fs', '-q', '-F', '-t', 'ext4'],
    ]) {
      const path = blank('40M');
      run(tool!, [...args, path]);
      expect(await readPartitions(new MemoryDisk(readFileSync(path)))).toEqual({
        scheme: 'none',
        sectorSize: 512,
        partitions: [],
        notes: [],
      });
    }
  });
});
