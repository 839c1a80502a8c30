/**
 * Huge claims in small images: disks of a few mebibytes that are made to take the host's memory or time, looked at as a boot
 * does. Each ends soon, with what the disk offers or one clear error, and the event loop turns meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { findBootEntries } from '../../../src/boot/disk-boot.js';
import { costOf } from '../../support/cost.js';
import { haveTools, MemoryDisk, scratch } from './fs/images.js';
import { smallImages } from './fs/small-images.js';

const ready = haveTools('mke2fs', 'debugfs');
const { ext } = smallImages(scratch());

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
    expect(cpu).toBeLessThan(10_000);
  });
});
