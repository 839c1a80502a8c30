/** The cache under the file system readers: what it keeps, for how long, and what it lets through. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BlockCache } from '../../../../src/boot/fs/block-cache.js';
import { MemoryDisk, noise } from './images.js';

const KiB = 1024;
const line = 32 * KiB;

describe('BlockCache', () => {
  test('answers every range as the disk does', async () => {
    const disk = new MemoryDisk(noise(10 * line + 777));
    const cache = new BlockCache(disk, 3 * line);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: disk.size }), fc.nat({ max: 5 * line }), async (offset, length) => {
        const within = Math.min(length, disk.size - offset);
        expect((await cache.read(offset, within)).equals(disk.bytes.subarray(offset, offset + within))).toBe(true);
        const into = Buffer.alloc(within);
        await cache.readInto(offset, into);
        expect(into.equals(disk.bytes.subarray(offset, offset + within))).toBe(true);
      }),
    );
  });

  test('reads a line once, also for readers at the same time', async () => {
    const disk = new MemoryDisk(noise(4 * line));
    const cache = new BlockCache(disk);
    await Promise.all(Array.from({ length: 100 }, (_, i) => cache.read(i * 300, 256)));
    expect(disk.reads).toBe(1);
    await cache.read(line - 10, 20);
    expect(disk.reads).toBe(2);
  });

  test('keeps what was used last and no more than its size', async () => {
    const disk = new MemoryDisk(noise(20 * line));
    const cache = new BlockCache(disk, 4 * line);
    for (let i = 0; i < 4; i++) await cache.read(i * line, 1);
    await cache.read(0, 1); // used again: line 1 is now the oldest
    await cache.read(4 * line, 1);
    expect(disk.reads).toBe(5);
    await cache.read(0, 1);
    expect(disk.reads).toBe(5);
    await cache.read(line, 1);
    expect(disk.reads).toBe(6);
  });

  test('lets large reads through whole, and does not give up its lines for them', async () => {
    const disk = new MemoryDisk(noise(64 * line));
    const cache = new BlockCache(disk, 2 * line);
    await cache.read(0, 10);
    await cache.read(line, 40 * line);
    expect(disk.largestRead).toBe(40 * line);
    await cache.read(0, 10);
    expect(disk.reads).toBe(2);
  });

  test('what a head brought is not read again, and the line it ends in is read with it', async () => {
    const disk = new MemoryDisk(noise(4 * line));
    const cache = new BlockCache(disk);
    expect(await cache.head(2 * line + 100)).toEqual(disk.bytes.subarray(0, 2 * line + 100));
    expect(await cache.read(line - 5, 10)).toEqual(disk.bytes.subarray(line - 5, line + 5));
    expect(disk.reads).toBe(1);
    expect(await cache.read(2 * line + 90, 20)).toEqual(disk.bytes.subarray(2 * line + 90, 2 * line + 110));
    expect(disk.reads).toBe(1);
    const small = new BlockCache(new MemoryDisk(noise(1000)));
    expect((await small.head(line)).length).toBe(1000);
    expect((await small.read(990, 10)).length).toBe(10);
  });

  test('a part that begins within a line shares the lines with what lies around it', async () => {
    const disk = new MemoryDisk(noise(4 * line + 300));
    const cache = new BlockCache(disk);
    const part = cache.part(line + 512, 3 * line - 300);
    expect(await part.head(line)).toEqual(disk.bytes.subarray(line + 512, 2 * line + 512));
    expect(await part.read(line - 5, 10)).toEqual(disk.bytes.subarray(2 * line + 507, 2 * line + 517));
    expect(await cache.read(line, 100)).toEqual(disk.bytes.subarray(line, line + 100));
    expect(disk.reads).toBe(1);
    const into = Buffer.alloc(20);
    await part.readInto(part.size - 20, into);
    expect(into).toEqual(disk.bytes.subarray(4 * line + 192, 4 * line + 212));
    await expect(part.read(part.size - 5, 6)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  });

  test('a failed read is tried again', async () => {
    const disk = new MemoryDisk(noise(line));
    let broken = true;
    const flaky = {
      size: disk.size,
      readInto: () => Promise.reject(new Error('EIO')),
      read: (offset: number, length: number) => (broken ? Promise.reject(new Error('EIO')) : disk.read(offset, length)),
    };
    const cache = new BlockCache(flaky);
    await expect(cache.read(0, 10)).rejects.toThrow('EIO');
    broken = false;
    expect(await cache.read(0, 10)).toEqual(disk.bytes.subarray(0, 10));
  });

  test('refuses ranges outside the disk', async () => {
    const cache = new BlockCache(new MemoryDisk(noise(1000)));
    for (const [offset, length] of [
      [1000, 1],
      [-1, 1],
      [0, 1001],
      [0, Number.POSITIVE_INFINITY],
      [Number.NaN, 0],
    ] as const) {
      await expect(cache.read(offset, length)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
    }
  });
});
