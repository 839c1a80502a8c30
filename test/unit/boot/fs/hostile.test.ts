/**
 * Images damaged at random: whatever their bytes, a reader ends, throws nothing but TsvmmError, and neither reads nor
 * holds more than its bounds.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPartitions } from '../../../../src/boot/disk/partition-table.js';
import { slice } from '../../../../src/boot/disk/slice.js';
import { probeFileSystem } from '../../../../src/boot/fs/probe.js';
import { TsvmmError } from '../../../../src/errors.js';
import { effort } from '../../../support/effort.js';
import { usedBlocks } from '../../../support/mutator.js';
import { explore } from './explore.js';
import { haveTools, load, MemoryDisk, mount, noise, plant, run, scratch } from './images.js';
import { smallImages } from './small-images.js';
import { contentLength, recordMagic, sumRecord } from './xfs/sum-record.js';
import { XfsImages } from './xfs/xfs-images.js';

const ready = haveTools('mke2fs', 'debugfs', 'mkfs.fat', 'mkfs.xfs', 'mcopy', 'sfdisk', 'sgdisk', 'genisoimage');
const folder = scratch();
const { blank, source, ext } = smallImages(folder);
const xfs = new XfsImages(folder);
const maxRead = 8 * 1024 * 1024;
const blockSize = 256;

function dirty(open: string, ...args: string[]): string {
  const path = ext('4M', '-t', 'ext4', '-b', '1024', '-J', 'size=1', ...args);
  const data = join(folder, 'data');
  plant(folder, { data: noise(8 * 1024) });
  const blocks = run('debugfs', ['-R', 'blocks /boot/kernel', path]).trim().split(/\s+/);
  const commands = [
    open,
    `jw -b ${blocks.slice(0, 8).join(',')} ${data}`,
    `jw -r ${blocks[1]}`,
    `jw -b ${blocks[2]} ${data}`,
    'jc',
  ];
  run('debugfs', ['-w', '-f', '-', path], { input: commands.join('\n') });
  return path;
}

function dirtyXfs(name: string): string {
  const path = join(folder, `${name}.img`);
  writeFileSync(path, gunzipSync(readFileSync(join(import.meta.dirname, 'xfs', `${name}.img.gz`))));
  return path;
}

/** Makes the checksums of an XFS log's records right again, so that damage reaches what is in them. */
function sumRecords(image: Buffer): void {
  for (let at = 0; at < image.length; at += 512) {
    if (image.readUInt32BE(at) !== recordMagic) continue;
    const header = image.subarray(at, at + 512);
    sumRecord(header, image.subarray(at + 512, at + 512 + contentLength(header)));
  }
}

function fat(size: string, ...args: string[]): string {
  const path = blank(size);
  run('mkfs.fat', [...args, path]);
  run('sh', ['-c', 'mcopy -s -Q -i "$1" "$2"/boot "$2"/many "$2"/sparse ::/', 'sh', path, source()]);
  return path;
}

function iso(...args: string[]): string {
  const path = blank('0');
  run('genisoimage', ['-quiet', ...args, '-o', path, source()], { accept: [0, 1] });
  return path;
}

async function survive(disk: MemoryDisk): Promise<void> {
  try {
    const found = await probeFileSystem(disk);
    if (found && !('unsupported' in found)) await explore(found);
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    expect((error as TsvmmError).code).toMatch(/^ERR_TSVMM_DISK_(FORMAT|IO)$/);
  }
  expect(disk.largestRead).toBeLessThanOrEqual(maxRead);
}

const nasty = fc.oneof(
  fc.constantFrom(0, 1, 2, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.integer({ min: 0, max: 4096 }),
);
const edits = fc.array(
  fc.record({ block: fc.nat(), offset: fc.nat({ max: 63 }), value: nasty, width: fc.constantFrom(1, 2, 4) }),
  { minLength: 1, maxLength: 12 },
);

interface Edit {
  block: number;
  offset: number;
  value: number;
  width: number;
}

/** Lets `look` see `image` with `changes` made to it, and undoes them. */
async function damaged(
  image: Buffer,
  used: readonly number[],
  changes: readonly Edit[],
  look: (disk: MemoryDisk) => Promise<void>,
  mend: (image: Buffer) => void = () => {},
): Promise<void> {
  const undo: { at: number; bytes: Buffer }[] = [];
  for (const { block, offset, value, width } of changes) {
    const at = used[block % used.length]! + offset * 4;
    undo.unshift({ at, bytes: Buffer.from(image.subarray(at, at + width)) });
    image.writeUIntLE(width === 4 ? value : value & (width === 1 ? 0xff : 0xffff), at, width);
  }
  try {
    mend(image);
    await look(new MemoryDisk(image));
  } finally {
    for (const { at, bytes } of undo) bytes.copy(image, at);
  }
}

describe.runIf(ready)('random damage', () => {
  test.each<[name: string, make: () => string, mend?: (image: Buffer) => void]>([
    ['ext2', () => ext('512K', '-t', 'ext2', '-b', '1024')],
    ['ext2 without types', () => ext('512K', '-t', 'ext2', '-b', '1024', '-O', 'none')],
    ['ext4 without checksums', () => ext('512K', '-t', 'ext4', '-b', '1024', '-O', '^metadata_csum,^has_journal')],
    [
      'ext4 with inline data',
      () => ext('1M', '-t', 'ext4', '-b', '1024', '-O', 'inline_data,^metadata_csum,^has_journal'),
    ],
    ['ext4 with checksums', () => ext('512K', '-t', 'ext4', '-b', '1024', '-O', '^has_journal')],
    [
      'ext4 with meta_bg',
      () =>
        ext('2M', '-t', 'ext4', '-b', '1024', '-g', '256', '-O', 'meta_bg,^resize_inode,^metadata_csum,^has_journal'),
    ],
    ['ext4 with a dirty journal', () => dirty('jo', '-O', '^metadata_csum,^64bit')],
    ['ext4 with a dirty checksummed journal', () => dirty('jo -c')],
    ['XFS', () => xfs.make('16M', [], source())],
    ['XFS of version 4', () => xfs.make('16M', ['-m', 'crc=0'], source())],
    [
      'XFS of version 4 with small blocks, without types',
      () => xfs.make('16M', ['-m', 'crc=0', '-b', 'size=512', '-n', 'ftype=0'], source()),
    ],
    ['XFS with a dirty log', () => dirtyXfs('dirty-5'), sumRecords],
    ['XFS of version 4 with a dirty log', () => dirtyXfs('dirty-4'), sumRecords],
    ['FAT12', () => fat('512K', '-F', '12')],
    ['FAT16', () => fat('4M', '-F', '16', '-s', '1')],
    ['FAT32', () => fat('40M', '-F', '32', '-s', '1')],
    ['ISO 9660 with Rock Ridge', () => iso('-R')],
    ['ISO 9660 with Joliet', () => iso('-J', '-f')],
  ])('%s', async (_, make, mend) => {
    const image = load(make()).bytes;
    const healthy = new MemoryDisk(image);
    expect(await explore(await mount(healthy))).toBeGreaterThan(30); // the test looks at something
    const used = usedBlocks(image, blockSize);
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => damaged(image, used, changes, survive, mend)),
      { numRuns: effort(20) },
    );
  });

  test.each([
    ['GPT', 'sgdisk', ['-n', '1:40:100', '-n', '2:101:200', '-t', '2:ef00'], ''],
    [
      'MBR with logical partitions',
      'sfdisk',
      [],
      'label: dos\nstart=64,size=64,type=83\nstart=128,type=5\nstart=192,size=64,type=83\nstart=320,size=64,type=83\nstart=448,size=64,type=83\n',
    ],
  ])('%s', async (_, tool, args, input) => {
    const path = blank('256K');
    run(tool, [...args, path], { input });
    const image = load(path).bytes;
    const used = usedBlocks(image, blockSize);
    expect((await readPartitions(new MemoryDisk(image))).partitions.length).toBeGreaterThan(1);
    await fc.assert(
      fc.asyncProperty(edits, (changes) =>
        damaged(image, used, changes, async (disk) => {
          const table = await readPartitions(disk);
          expect(disk.largestRead).toBeLessThanOrEqual(1 << 20);
          for (const { start, size } of table.partitions) expect(slice(disk, start, size).size).toBe(size);
        }),
      ),
      { numRuns: effort(100) },
    );
  });

  test('bytes that are nothing at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 70_000, size: 'max' }), async (bytes) => {
        const disk = new MemoryDisk(Buffer.from(bytes));
        await survive(disk);
        await readPartitions(disk);
      }),
      { numRuns: effort(20) },
    );
  });
});
