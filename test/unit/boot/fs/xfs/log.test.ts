/**
 * Dirty logs, from images that kernels made and that are kept here: `dirty-4` (Debian's 6.1, which still had version
 * 4) and `dirty-5` (6.18), by `dirty.sh` beside them. What of it only the log knows: boot/vmlinuz-2 and the new
 * boot/grub.cfg, links, a file as a tree of extents, a directory of several blocks, and forty files that are gone.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { checksumOf } from '../../../../../src/boot/fs/xfs/block-header.js';
import { MemoryDisk, mount } from '../images.js';

const fixture = (name: string): Buffer => gunzipSync(readFileSync(join(import.meta.dirname, `${name}.img.gz`)));
const images = { 'dirty-5': fixture('dirty-5'), 'dirty-4': fixture('dirty-4') };
const copyOf = (name: keyof typeof images): MemoryDisk => new MemoryDisk(Buffer.from(images[name]));

/** As `yes "NAME 0123456789" | head -c LENGTH` makes it. */
const data = (name: string, length: number): Buffer =>
  Buffer.from(`${name} 0123456789\n`.repeat(Math.ceil(length / (name.length + 12))).slice(0, length));

interface Log {
  readonly start: number;
  /** Offsets of records in the image, in the order of the log. */
  readonly records: readonly number[];
}

function logOf(bytes: Buffer): Log {
  const blockSize = bytes.readUInt32BE(4);
  const agBlockLog = bytes.readUInt8(124);
  const address = Number(bytes.readBigUInt64BE(48));
  const start =
    (Math.floor(address / 2 ** agBlockLog) * bytes.readUInt32BE(84) + (address % 2 ** agBlockLog)) * blockSize;
  const end = start + bytes.readUInt32BE(96) * blockSize;
  const records: number[] = [];
  for (let at = start; at < end; at += 512) if (bytes.readUInt32BE(at) === 0xfeedbabe) records.push(at);
  const lsn = (at: number) => Number(bytes.readBigUInt64BE(at + 16));
  return { start, records: records.sort((a, b) => lsn(a) - lsn(b)) };
}

describe.each(['dirty-5', 'dirty-4'] as const)('%s', (name) => {
  test('is as it would be after the kernel replayed the log', async () => {
    const disk = copyOf(name);
    const fileSystem = await mount(disk);
    expect(fileSystem.notes).toEqual([
      expect.stringMatching(/^the file system was not unmounted cleanly: \d+ log transactions with \d+ blocks/),
    ]);
    const text = async (path: string) => (await fileSystem.readFile(path, 1e6)).toString();
    expect(await text('/boot/grub.cfg')).toBe('set default=2\n');
    expect((await fileSystem.readFile('/boot/vmlinuz', 1e6)).equals(data('new', 50_000))).toBe(true);
    expect((await fileSystem.readFile('/boot/vmlinuz-1', 1e6)).equals(data('old', 30_000))).toBe(true);
    expect(await text('/boot/last')).toBe(data('last', 700).toString());
    expect(await text('/long-link')).toBe(data('new', 50_000).toString());
    const scattered = Buffer.alloc(250_000);
    for (let i = 0; i < 25; i++) data(String(i), 512).copy(scattered, i * 16 * 512);
    expect((await fileSystem.readFile('/scattered', 1e6)).equals(scattered)).toBe(true);
    expect((await fileSystem.readFile('/unwritten', 1e6)).equals(Buffer.alloc(20_000))).toBe(true);
    const names = async (path: string) => (await fileSystem.list(path)).map((entry) => entry.name);
    expect(await names('/crowd')).toHaveLength(70);
    expect((await fileSystem.list('/crowd')).every((entry) => entry.kind === 'directory')).toBe(true);
    expect((await names('/dir')).sort()).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9, ...Array.from({ length: 11 }, (_, i) => 50 + i)]
        .map((i) => `a-file-with-some-name-${i}`)
        .sort(),
    );
    expect(disk.largestRead).toBeLessThan(4 << 20);
  });

  test('without its last record it is as it was before', async () => {
    const disk = copyOf(name);
    const { records } = logOf(disk.bytes);
    disk.bytes[records.at(-1)! + 600]! ^= 1; // torn: some of it did not reach the disk
    const fileSystem = await mount(disk);
    expect(fileSystem.notes).toEqual([expect.stringContaining('replayed in memory')]);
    expect((await fileSystem.readFile('/boot/grub.cfg', 100)).toString()).toBe('set default=2\n');
    expect((await fileSystem.stat('/boot/last'))?.size ?? 0).toBe(0);
  });

  test('with a damaged tail it is refused, and what to do is said', async () => {
    const disk = copyOf(name);
    const { records, start } = logOf(disk.bytes);
    const tail = start + Number(disk.bytes.readBigUInt64BE(records.at(-1)! + 24) % 2n ** 32n) * 512;
    disk.bytes[tail + 700]! ^= 1;
    await expect(mount(disk)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(/not unmounted cleanly and its log cannot be replayed .* has a wrong checksum/),
      hint: expect.stringContaining('xfs_repair -L IMAGE'),
    });
  });

  test(`without checksums it is ${name === 'dirty-5' ? 'refused, as by the kernel' : 'replayed'}`, async () => {
    const disk = copyOf(name);
    for (const record of logOf(disk.bytes).records) disk.bytes.writeUInt32LE(0, record + 32);
    const mounted = mount(disk);
    if (name === 'dirty-5')
      await expect(mounted).rejects.toMatchObject({
        message: expect.stringMatching(/a record at block \d+ has no checksum/),
      });
    else expect((await (await mounted).readFile('/boot/grub.cfg', 100)).toString()).toBe('set default=2\n');
  });

  test('of another file system or of another machine it is refused', async () => {
    for (const [at, message] of [
      [304, 'belongs to another file system'],
      [303, 'another byte order'],
    ] as const) {
      const disk = copyOf(name);
      for (const record of logOf(disk.bytes).records) {
        disk.bytes[record + at]! ^= 2;
        disk.bytes.writeUInt32LE(0, record + 32); // no checksum
      }
      await expect(mount(disk)).rejects.toMatchObject({ message: expect.stringContaining(message) });
    }
  });

  test('on another device it is not looked at, which a note says', async () => {
    const disk = copyOf(name);
    disk.bytes.writeBigUInt64BE(0n, 48);
    if (name === 'dirty-5') disk.bytes.writeUInt32LE(checksumOf(disk.bytes.subarray(0, 512), 224), 224);
    const fileSystem = await mount(disk);
    expect(fileSystem.notes).toEqual([expect.stringContaining('on another device')]);
    expect((await fileSystem.readFile('/boot/grub.cfg', 100)).toString()).toBe('set default=1\n');
  });
});
