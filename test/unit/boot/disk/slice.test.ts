/** Slices of disks, and the names that commands are given for them. */
import { describe, expect, test } from 'vitest';
import { checkCommand, repairCommand, slice } from '../../../../src/boot/disk/slice.js';
import { MemoryDisk, noise } from '../fs/images.js';

const disk = new MemoryDisk(noise(10_000));
const named = (path: string) => ({
  path,
  size: 10_000,
  read: (offset: number, length: number) => disk.read(offset, length),
  readInto: (offset: number, into: Uint8Array) => disk.readInto(offset, into),
});

describe('slice', () => {
  test('reads its part and nothing else', async () => {
    const part = slice(disk, 1000, 500);
    expect(part.size).toBe(500);
    expect(await part.read(0, 500)).toEqual(disk.bytes.subarray(1000, 1500));
    expect(await slice(part, 100, 50).read(10, 20)).toEqual(disk.bytes.subarray(1110, 1130));
    for (const [offset, length] of [
      [0, 501],
      [500, 1],
      [-1, 1],
      [0, -1],
      [Number.NaN, 1],
      [2 ** 53, 1],
      [0.5, 1],
    ] as const) {
      await expect(part.read(offset, length)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
    }
  });

  test.each([
    [-1, 10],
    [0, 10_001],
    [9_999, 2],
    [2 ** 53, 1],
    [0, Number.NaN],
  ])('refuses what is not inside the disk: %d, %d', (start, size) => {
    expect(() => slice(disk, start, size)).toThrow(expect.objectContaining({ code: 'ERR_TSVMM_DISK_FORMAT' }));
  });
});

describe('commands in hints', () => {
  test('name the image, and the offset of a partition in it', () => {
    const image = named('/images/my disk.img');
    const part = slice(slice(image, 1000, 5000), 24, 100);
    expect(checkCommand(image)).toBe("e2fsck -fn '/images/my disk.img'");
    expect(checkCommand(part)).toBe("e2fsck -fn '/images/my disk.img?offset=1024'");
    expect(repairCommand(named('/disk.img'))).toBe('e2fsck -f /disk.img');
    expect(repairCommand(part)).toBe(
      "LOOP=$(losetup --find --show --offset 1024 --sizelimit 100 '/images/my disk.img'); e2fsck -f $LOOP; losetup --detach $LOOP",
    );
    expect(checkCommand(disk)).toBe('e2fsck -fn IMAGE');
  });
});
