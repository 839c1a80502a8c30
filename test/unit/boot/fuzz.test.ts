/**
 * What reads disks, configurations and kernels, fed with inputs that coverage chose: whatever the bytes, each parser ends
 * soon, throws nothing but a TsvmmError, and stays within its bounds.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { readPartitions } from '../../../src/boot/disk/partition-table.js';
import { slice } from '../../../src/boot/disk/slice.js';
import { findBootEntries } from '../../../src/boot/disk-boot.js';
import { probeFileSystem } from '../../../src/boot/fs/probe.js';
import { buildBootImage } from '../../../src/boot/linux/build.js';
import { ramRegions } from '../../../src/devices/memory-map.js';
import { fuzzLoop } from '../../support/coverage-fuzz.js';
import { explore } from './fs/explore.js';
import { MemoryDisk } from './fs/images.js';
import { readMenu } from './grub/run-script.js';
import { fakeBzImage, fakeElf, fakeNote, PT_NOTE, u32 } from './linux/kernels.js';

test.each([
  ['ext', 96],
  ['fat', 96],
  ['iso', 96],
])('file system: %s', async (name, runs) => {
  const report = await fuzzLoop({
    name,
    runs,
    async target(input) {
      const disk = new MemoryDisk(input);
      const found = await probeFileSystem(disk);
      if (found !== undefined && !('unsupported' in found)) await explore(found);
      expect(disk.largestRead).toBeLessThanOrEqual(input.length);
      expect(disk.bytesRead).toBeLessThan(512 << 20);
    },
  });
  expect(report.features).toBeGreaterThan(200); // it looked at something
});

/** GPT: both checksums of every header that is where one can be. */
function mendGpt(disk: Buffer): void {
  for (const at of [512, disk.length - 512]) {
    if (disk.toString('latin1', at, at + 8) !== 'EFI PART') continue;
    const size = Math.min(disk.readUInt32LE(at + 12), 512);
    const start = disk.readUInt32LE(at + 72) * 512;
    const length = disk.readUInt32LE(at + 80) * disk.readUInt32LE(at + 84);
    if (start + length <= disk.length) disk.writeUInt32LE(crc32(disk.subarray(start, start + length)), at + 88);
    disk.writeUInt32LE(0, at + 16);
    disk.writeUInt32LE(crc32(disk.subarray(at, at + size)), at + 16);
  }
}

test('partition tables', async () => {
  const report = await fuzzLoop({
    name: 'partitions',
    runs: 400,
    mend: mendGpt,
    async target(input) {
      const disk = new MemoryDisk(input);
      const table = await readPartitions(disk);
      for (const { start, size } of table.partitions) expect(slice(disk, start, size).size).toBe(size);
      await findBootEntries(disk);
      expect(disk.largestRead).toBeLessThanOrEqual(1 << 20);
    },
  });
  expect(report.features).toBeGreaterThan(100);
});

test('GRUB configurations', async () => {
  const folder = join(import.meta.dirname, 'grub/fixtures');
  const names = readdirSync(folder).filter((name) => name.endsWith('.cfg'));
  const words = 'if then else elif fi for in do done while until function menuentry submenu linux initrd set search';
  const signs = '{ } ; ( ) [ ] $ ${ "$a" \' " \\ \n # = * ? ~ < > || && | & \0 ünï --id -f -s regexp source configfile';
  const report = await fuzzLoop({
    name: 'grub',
    seeds: names.map((name) => readFileSync(join(folder, name))),
    words: [...words.split(' ').map((word) => `${word} `), ...signs.split(' ')],
    runs: 96,
    target: (input) => readMenu(input.toString('utf8'), { '/vmlinuz': 'k', '/initrd.img': 'i' }),
  });
  expect(report.features).toBeGreaterThan(500);
});

test('kernels', async () => {
  const ram = ramRegions(64 << 20);
  const note = fakeNote('Xen', 18, u32(0x100000));
  const report = await fuzzLoop({
    name: 'kernels',
    seeds: [
      fakeBzImage({ codeSize: 4096 }),
      fakeElf({ bits: 64 }),
      fakeElf({ bits: 32 }),
      fakeElf({ bits: 64, segments: [{ type: PT_NOTE, data: note }] }),
    ],
    runs: 640,
    target(kernel) {
      const { segments } = buildBootImage({ kernel, cmdline: 'console=ttyS0', ram });
      const inRam = ({ address, data }: (typeof segments)[number]): boolean =>
        ram.some(({ start, size }) => start <= address && address + data.length <= start + size);
      expect(segments.every(inRam)).toBe(true);
    },
  });
  expect(report.features).toBeGreaterThan(100);
});
