/**
 * Huge claims in small images: disks of a few mebibytes that are made to take the host's memory or time, looked at as a boot
 * does. Each ends soon, with what the disk offers or one clear error, and the event loop turns meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test, vi } from 'vitest';
import { findBootEntries } from '../../../src/boot/disk-boot.js';
import { DiskBudget, diskLimits } from '../../../src/boot/disk-budget.js';
import { BudgetedFileSystem } from '../../../src/boot/entries/budgeted-files.js';
import { openVolumes } from '../../../src/boot/entries/open-volumes.js';
import { BlockCache } from '../../../src/boot/fs/block-cache.js';
import { probeFileSystem } from '../../../src/boot/fs/probe.js';
import { Budget } from '../../../src/boot/grub/budget.js';
import { readGrubConfig } from '../../../src/boot/grub/grub-config.js';
import { ample, costOf } from '../../support/cost.js';
import { crowdedFat } from '../../support/crowded-fat.js';
import { haveTools, MemoryDisk, plant, run, scratch } from './fs/images.js';
import { smallImages } from './fs/small-images.js';
import { MemoryFileSystem } from './grub/memory-file-system.js';
import { buildPe } from './pe/build-pe.js';

const ready = haveTools('mke2fs', 'debugfs');
const folder = scratch();
const { blank, ext } = smallImages(folder);
let made = 0;

/** A disk whose GPT has `count` entries, all for the one file system. */
function manyPartitions(count: number, fileSystem: Buffer): Buffer {
  const sector = 512;
  const first = 4096;
  const disk = Buffer.alloc((first + 2100) * sector + fileSystem.length);
  fileSystem.copy(disk, first * sector);
  const entries = disk.subarray(2 * sector, 2 * sector + count * 128);
  for (let at = 0; at < entries.length; at += 128) {
    Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex').copy(entries, at);
    Buffer.from(randomUUID().replaceAll('-', ''), 'hex').copy(entries, at + 16);
    entries.writeBigUInt64LE(BigInt(first), at + 32);
    entries.writeBigUInt64LE(BigInt(first + fileSystem.length / sector - 1), at + 40);
  }
  const header = disk.subarray(sector, sector + 92);
  header.write('EFI PART');
  for (const [at, value] of [
    [8, 0x10000],
    [12, 92],
    [24, 1],
    [32, disk.length / sector - 1],
    [40, first],
    [48, disk.length / sector - 34],
    [72, 2],
    [80, count],
    [84, 128],
    [88, crc32(entries)],
  ] as const)
    header.writeUInt32LE(value, at);
  header.writeUInt32LE(crc32(header), 16);
  disk.writeUInt8(0xee, 450);
  disk.writeUInt32LE(1, 454);
  disk.writeUInt32LE(disk.length / sector - 1, 458);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}

describe.runIf(ready)('huge claims in small images: partitions', () => {
  test('eight thousand of one file system', async () => {
    const disk = new MemoryDisk(manyPartitions(8192, readFileSync(ext('1M', '-t', 'ext4', '-b', '1024'))));
    const { result, memory, cpu } = await costOf(() => findBootEntries(disk));
    expect(result).toMatchObject({ scheme: 'gpt' });
    if (result instanceof Error) return;
    expect(result.partitions).toHaveLength(255); // as many as Linux has
    expect(result.problems.length).toBeLessThanOrEqual(256);
    expect(memory).toBeLessThan(128);
    expect(disk.bytesRead).toBeLessThan(255 * (512 << 10));
    expect(cpu).toBeLessThan(ample(10_000));
  });
});

const diskOf = (bytes: Buffer): MemoryDisk => new MemoryDisk(bytes);

/** An ext2 file system with `files` where the block map of `path` claims 4 GiB, each of its blocks the same one. */
function endlessFile(files: Readonly<Record<string, Buffer>>, path: string): Buffer {
  const root = join(folder, `endless-${++made}`);
  plant(root, files);
  const image = blank('1M');
  run('mke2fs', ['-q', '-F', '-t', 'ext2', '-b', '1024', '-d', root, image]);
  const bytes = readFileSync(image);
  const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(
    run('debugfs', ['-R', `imap ${path}`, image]),
  )!;
  const inode = Number(block) * 1024 + Number(offset);
  const indirect = bytes.readUInt32LE(inode + 0x28 + 12 * 4);
  for (const level of [13, 14]) bytes.writeUInt32LE(indirect, inode + 0x28 + level * 4);
  for (let i = 0; i < 256; i++) bytes.writeUInt32LE(indirect, indirect * 1024 + i * 4);
  bytes.writeUInt32LE(0xffffffff, inode + 4);
  return bytes;
}

describe.runIf(ready)('huge claims in small images: files', () => {
  /** A unified kernel image of `profiles`, whose texts lie at `offset`. */
  function uki(profiles: number, offset: number): Buffer {
    const texts = ['.profile', '.cmdline', '.osrel', '.uname'];
    const names = Array.from({ length: profiles }, () => texts).flat();
    const far = names.map((name, i) => ({ name, data: '', offset: offset + 16 * i, rawSize: 16, virtualSize: 16 }));
    return buildPe([{ name: '.linux', data: 'kernel', offset: 0x3000 }, ...far]);
  }
  const entry = { 'loader/entries/a.conf': Buffer.from('title t\nuki /u.efi\n') };

  test.each([
    ['at its end', 0xf000_0000],
    ['where a text may lie', 0x7000_0000],
  ])('texts of an image %s that claims 4 GiB', async (_, offset) => {
    const image = Buffer.alloc(14 * 1024, 1);
    uki(64, offset).copy(image);
    const disk = diskOf(endlessFile({ ...entry, 'u.efi': image }, '/u.efi'));
    const { result, memory, cpu } = await costOf(() => findBootEntries(disk));
    expect(result).not.toBeInstanceOf(Error);
    expect(disk.bytesRead).toBeLessThan(16 << 20);
    expect(memory).toBeLessThan(64);
    expect(cpu).toBeLessThan(ample(5000));
  });

  test('a kernel of 96 MiB in blocks that are all the same is read, and the event loop turns; or not, when nobody waits', async () => {
    const bytes = endlessFile({ 'vmlinuz-1': Buffer.alloc(14 * 1024, 1) }, '/vmlinuz-1');
    const fileSystem = new BlockCache(diskOf(bytes), undefined, new DiskBudget());
    const found = await probeFileSystem(diskOf(bytes), fileSystem);
    if (found === undefined || 'unsupported' in found) throw new Error('no file system');
    const into = Buffer.alloc(96 << 20);
    const { result, delay } = await costOf(() => found.readInto('/vmlinuz-1', 0, into));
    expect(result).toBeUndefined();
    expect(delay).toBeLessThan(1000);

    const stop = new AbortController();
    const again = await probeFileSystem(
      diskOf(bytes),
      new BlockCache(diskOf(bytes), undefined, new DiskBudget(undefined, stop.signal)),
    );
    if (again === undefined || 'unsupported' in again) throw new Error('no file system');
    setTimeout(() => stop.abort(new Error('enough')), 20);
    const aborted = await costOf(() => again.readInto('/vmlinuz-1', 0, Buffer.alloc(96 << 20)));
    expect(aborted.result).toMatchObject({ message: 'enough' });
  });
});

describe('huge claims in small images: time', () => {
  const disk = diskOf(crowdedFat());

  test('GRUB configurations that look up much in a crowded directory share a time', async () => {
    const budget = new DiskBudget();
    const { volumes } = await openVolumes(disk, budget);
    const options = { volume: volumes[0]!, path: '/EFI/V0/grub.cfg' };
    const deadline = budget.work + 200;
    for (let i = 0; i < 3; i++) {
      const reading = readGrubConfig(volumes, { ...options, budget: new Budget(budget, deadline) });
      await expect(reading).rejects.toThrow('takes more than 5 s');
    }
    expect(budget.work).toBeLessThan(deadline + 1000);
  });

  test('the event loop turns meanwhile, and an abort ends it at once', async () => {
    const { signal, at } = aborting(500);
    const { result, delay, memory } = await costOf(() => findBootEntries(disk, { signal }));
    expect(result).toMatchObject({ message: 'enough' });
    expect(performance.now() - at()).toBeLessThan(1000);
    expect(delay).toBeLessThan(500);
    expect(memory).toBeLessThan(128);
  });

  test('work is limited, waiting is not', async () => {
    const budget = new DiskBudget();
    const clock = vi.spyOn(performance, 'now');
    try {
      let now = performance.now();
      clock.mockImplementation(() => now);
      const step = async (ms: number): Promise<void> => {
        now += ms;
        await budget.turn();
      };
      await budget.wait(
        Promise.resolve().then(() => {
          now += 60_000;
        }),
      );
      for (let i = 0; i < 95; i++) await step(100);
      expect(budget.work).toBeLessThan(diskLimits.work);
      await expect(Promise.all(Array.from({ length: 10 }, () => step(100)))).rejects.toThrow('more than 10 s of work');
      expect(() => budget.check()).toThrow('more than 10 s of work');
    } finally {
      clock.mockRestore();
    }
  });

  test('what takes too long altogether is one error that names the disk and says what to do', async () => {
    const slow = new DiskBudget({ size: 0, path: '/images/slow.img' });
    const fileSystem = new BudgetedFileSystem(new MemoryFileSystem({ '/a': '' }), slow);
    const asked = async (): Promise<void> => {
      for (let i = 0; ; i++) await fileSystem.stat(`/${i}`);
    };
    await expect(asked()).rejects.toMatchObject({
      code: 'ERR_TSVMM_BOOT_NOT_FOUND',
      message: 'finding out what "/images/slow.img" boots takes looking up more than 65536 files',
      hint: expect.stringContaining('boot: { kernel'),
    });
    await expect(fileSystem.stat('/a')).rejects.toThrow('65536 files'); // and it stays so
  });
});

/** Aborts after a while, and knows when it did. */
function aborting(ms: number): { signal: AbortSignal; at: () => number } {
  const controller = new AbortController();
  let at = Number.POSITIVE_INFINITY;
  setTimeout(() => {
    at = performance.now();
    controller.abort(new Error('enough'));
  }, ms);
  return { signal: controller.signal, at: () => at };
}
