/**
 * What reads disks, configurations and kernels, fed with inputs that coverage chose: whatever the bytes, each parser ends
 * soon, throws nothing but a TsvmmError, and stays within its bounds.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { readPartitions } from '../../../src/boot/disk/partition-table.js';
import { slice } from '../../../src/boot/disk/slice.js';
import { findBootEntries } from '../../../src/boot/disk-boot.js';
import { findEntries } from '../../../src/boot/entries/find-entries.js';
import { probeFileSystem } from '../../../src/boot/fs/probe.js';
import { checksumOf } from '../../../src/boot/fs/xfs/block-header.js';
import { buildBootImage } from '../../../src/boot/linux/build.js';
import { joinInitrds, paddedSize } from '../../../src/boot/linux/initrds.js';
import { readUki } from '../../../src/boot/pe/uki.js';
import { ramRegions } from '../../../src/devices/memory-map.js';
import { fuzzLoop } from '../../support/coverage-fuzz.js';
import { explore } from './fs/explore.js';
import { MemoryDisk } from './fs/images.js';
import { blocksOf, PackedDisk, pack } from './fs/packed-disk.js';
import { contentLength, recordMagic, sumRecord } from './fs/xfs/sum-record.js';
import { memoryVolume } from './grub/memory-file-system.js';
import { readMenu } from './grub/run-script.js';
import { fakeBzImage, fakeElf, fakeNote, PT_NOTE, u32 } from './linux/kernels.js';
import { buildUki, systemdBoot } from './pe/build-pe.js';

/** XFS of version 5: the checksums of superblock, inodes, directory blocks, extent trees and links (`xfs_format.h`). */
function mendXfs(packed: Buffer): void {
  const places = { XDB3: 4, XDD3: 4, BMA3: 64, XSLM: 12 } as const;
  for (const { bytes } of blocksOf(packed)) {
    const mend = (part: Buffer, at: number): unknown => part.writeUInt32LE(checksumOf(part, at), at);
    const magic = bytes.toString('latin1', 0, 4);
    if (magic === 'XFSB') mend(bytes.subarray(0, 512), 224);
    else if (magic in places) mend(bytes, places[magic as keyof typeof places]);
    else if (magic.startsWith('IN'))
      for (let at = 0; at < bytes.length; at += 512) mend(bytes.subarray(at, at + 512), 100);
  }
  mendLog(packed);
}

/** The log's records, which version 5 does not replay without a right checksum. */
function mendLog(packed: Buffer): void {
  const blocks = new Map([...blocksOf(packed)].map(({ number, bytes }) => [number, bytes]));
  if ((blocks.get(0)?.readUInt16BE(100) ?? 0) % 16 !== 5) return;
  for (const [number, bytes] of blocks) {
    for (let at = 0; at < bytes.length; at += 512) {
      if (bytes.readUInt32BE(at) !== recordMagic) continue;
      const header = bytes.subarray(at, at + 512);
      const content = Buffer.alloc(contentLength(header));
      for (let done = 0; done < content.length; done += 512) {
        const from = number * bytes.length + at + 512 + done;
        const start = from % bytes.length;
        blocks.get(Math.floor(from / bytes.length))?.copy(content, done, start, start + 512);
      }
      sumRecord(header, content);
    }
  }
}

/** Without the checksums of the log's records, so that changes reach what is in them. */
function dirtyXfs(name: string): Buffer {
  const image = gunzipSync(readFileSync(join(import.meta.dirname, `fs/xfs/${name}.img.gz`)));
  for (let at = 0; at < image.length; at += 512)
    if (image.readUInt32BE(at) === recordMagic) image.writeUInt32LE(0, at + 32);
  return pack(image);
}

test.each<{ name: string; seeds?: Buffer[]; mend?: (packed: Buffer) => void }>([
  { name: 'ext' },
  { name: 'fat' },
  { name: 'iso' },
  { name: 'xfs', seeds: [dirtyXfs('dirty-4'), dirtyXfs('dirty-5')], mend: mendXfs },
])('file system: $name', async (format) => {
  const report = await fuzzLoop({
    ...format,
    runs: 40,
    async target(input) {
      const disk = new PackedDisk(input);
      const found = await probeFileSystem(disk);
      if (found !== undefined && !('unsupported' in found)) await explore(found);
      expect(disk.largestRead).toBeLessThanOrEqual(8 << 20);
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
    runs: 96,
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
    runs: 64,
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
    runs: 128,
    target(kernel) {
      const { segments } = buildBootImage({ kernel, cmdline: 'console=ttyS0', ram });
      const inRam = ({ address, data }: (typeof segments)[number]): boolean =>
        ram.some(({ start, size }) => start <= address && address + data.length <= start + size);
      expect(segments.every(inRam)).toBe(true);
    },
  });
  expect(report.features).toBeGreaterThan(100);
});

/** Little-endian words: memory in MiB, how many initrds, the sizes of four; then the kernel. */
const initrdCase = (memory: number, sizes: readonly number[], kernel: Buffer): Buffer => {
  const header = Buffer.alloc(24);
  for (const [index, word] of [memory, sizes.length, ...sizes].entries()) header.writeUInt32LE(word, 4 * index);
  return Buffer.concat([header, kernel]);
};

test('initrds, beside kernels that say where they may lie', async () => {
  const report = await fuzzLoop({
    name: 'initrds',
    seeds: [
      initrdCase(64, [100_001, 7, 0, 4096], fakeBzImage({ codeSize: 4096 })),
      initrdCase(32, [1 << 20], fakeElf({ bits: 64 })),
      initrdCase(
        64,
        [1, 2, 3],
        fakeElf({ bits: 32, segments: [{ type: PT_NOTE, data: fakeNote('Xen', 18, u32(0x100000)) }] }),
      ),
    ],
    runs: 96,
    target(input) {
      if (input.length < 24) return;
      const word = (index: number): number => input.readUInt32LE(4 * index);
      const ram = ramRegions(((word(0) % 128) + 1) << 20);
      const parts = Array.from({ length: word(1) % 5 }, (_, i) => Buffer.alloc(word(2 + i) % (2 << 20), i + 1));
      const initrd = joinInitrds(parts);
      let at = 0;
      for (const part of parts) {
        expect(initrd?.subarray(at, at + part.length).equals(part)).toBe(true);
        at = paddedSize(at + part.length);
      }
      const { segments } = buildBootImage({ kernel: input.subarray(24), initrd, cmdline: 'quiet', ram });
      const placed = segments.map(({ address, data }) => ({ start: address, end: address + data.length }));
      placed.sort((a, b) => a.start - b.start);
      for (const [index, { start, end }] of placed.entries()) {
        expect(ram.some((region) => region.start <= start && end <= region.start + region.size)).toBe(true);
        expect(end).toBeLessThanOrEqual(placed[index + 1]?.start ?? end);
      }
      const found = segments.find(({ name }) => name === 'initrd');
      expect(found?.data).toBe(initrd); // not a copy
      expect((found?.address ?? 0) % 4096).toBe(0);
    },
  });
  expect(report.features).toBeGreaterThan(100);
});

test('boot entries of every loader', async () => {
  const words =
    'title linux initrd options sort-key version machine-id architecture efi uki profile default timeout label kernel append menu include say ontimeout ui localboot config fdt';
  const signs =
    '/k /i \\k $kernelopts $x - @saved * [a-z] + ~ # = " \' \n \t \0 __proto__ text endtext .. vesamenu.c32 KBOOT';
  const report = await fuzzLoop({
    name: 'entries',
    seeds: [
      'title Debian\nversion 6.1\nsort-key debian\nlinux /k\ninitrd /i\noptions root=UUID=x $kernelopts\n',
      'default *6.1*\ntimeout 3\neditor no\n',
      'default l0\nprompt 0\nlabel l0\n menu label One\n linux /k\n initrd /i\n append root=x\nlabel l1\n kernel /k\n menu default\n',
      'ui vesamenu.c32\nmenu begin a\ninclude /extlinux/extlinux.conf\nmenu end\nontimeout l0\n',
      'kernelopts=root=UUID=x ro\nsaved_entry=a\n',
    ].map((text) => Buffer.from(text)),
    words: [...words.split(' ').map((word) => `${word} `), ...signs.split(' ')],
    runs: 64,
    async target(input) {
      const text = input.toString('utf8');
      const files = {
        ...{ '/k': 'k', '/i': 'i', '/EFI/systemd/systemd-bootx64.efi': systemdBoot },
        ...{ '/loader/entries/a+1.conf': text, '/loader/entries/b.conf': text, '/loader/loader.conf': text },
        ...{ '/extlinux/extlinux.conf': text, '/grub/grubenv': `# GRUB Environment Block\n${text}` },
      };
      const { entries, defaultEntry } = await findEntries([memoryVolume(1, files)], []);
      expect(entries.length).toBeLessThan(1000);
      expect(defaultEntry === undefined || entries[defaultEntry]?.problem === undefined).toBe(true);
    },
  });
  expect(report.features).toBeGreaterThan(300);
});

test('unified kernel images', async () => {
  const section = { '.osrel': 'ID=x\nPRETTY_NAME="X"\n', '.cmdline': 'quiet', '.linux': 'kernel', '.initrd': 'initrd' };
  const report = await fuzzLoop({
    name: 'uki',
    seeds: [
      buildUki(section),
      buildUki({ ...section, '.ucode': 'micro', '.uname': '6.1.0', '.profile': 'ID=main\nTITLE=Main\n' }),
    ],
    runs: 96,
    async target(input) {
      const read = async (offset: number, length: number): Promise<Buffer> => {
        expect(offset >= 0 && length >= 0 && offset + length <= input.length).toBe(true);
        return input.subarray(offset, offset + length);
      };
      for (const { linux, initrds } of (await readUki({ size: input.length, read })) ?? [])
        for (const { offset, size } of [linux, ...initrds]) expect(offset + size).toBeLessThanOrEqual(input.length);
    },
  });
  expect(report.features).toBeGreaterThan(60);
});
