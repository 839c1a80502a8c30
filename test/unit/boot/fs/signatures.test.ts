/** What is named though it is not read: made by each format's own tool where it is installed, by its magic where not. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { probeFileSystem } from '../../../../src/boot/fs/probe.js';
import { openRawImage } from '../../../../src/disk/raw-image.js';
import { haveTools, MemoryDisk, noise, plant, run, scratch } from './images.js';

const folder = scratch();
const KiB = 1024;
let made = 0;

function blank(size: string): string {
  const path = join(folder, `${++made}.img`);
  run('truncate', ['-s', size, path]);
  return path;
}

async function probe(path: string): Promise<unknown> {
  await using image = await openRawImage(path, { format: 'raw' });
  return await probeFileSystem(image); // before the image is closed
}

const tools: [name: string, size: string, tool: string, ...args: string[]][] = [
  ['swap', '1M', 'mkswap'],
  ['swap', '4M', 'mkswap', '-p', '65536'],
  ['btrfs', '128M', 'mkfs.btrfs', '-q', '-f'],
  ['F2FS', '64M', 'mkfs.f2fs', '-q', '-f'],
  ['JFS', '32M', 'jfs_mkfs', '-q', '-f'],
  ['ReiserFS', '64M', 'mkfs.reiserfs', '-q', '-ff'],
  ['UDF', '32M', 'mkudffs'],
  ['exFAT', '32M', 'mkfs.exfat'],
  ['NTFS', '16M', 'mkntfs', '-q', '-F', '-f'],
  [
    'LUKS',
    '20M',
    'cryptsetup',
    'luksFormat',
    '-q',
    '--type',
    'luks1',
    '--pbkdf-force-iterations',
    '1000',
    '--key-file',
    '/etc/hostname',
  ],
];

describe('made by their own tools', () => {
  test.for(tools)('%s (%s, %s)', async ([name, size, tool, ...args], context) => {
    if (!haveTools(tool)) context.skip(`${tool} is not installed`);
    const path = blank(size);
    run(tool, [...args, path]);
    expect(await probe(path)).toEqual({ unsupported: name, hint: expect.stringMatching(/\.$/) });
  });

  test.for([
    ['squashfs', 'mksquashfs', (from: string, to: string) => [from, to, '-quiet', '-no-progress', '-noappend']],
    ['EROFS', 'mkfs.erofs', (from: string, to: string) => [to, from]],
  ] as const)('%s (%s)', async ([name, tool, args], context) => {
    if (!haveTools(tool)) context.skip(`${tool} is not installed`);
    const root = join(folder, `${name}-root`);
    plant(root, { file: noise(50_000) });
    const path = join(folder, `${++made}.img`);
    run(tool, args(root, path));
    expect(await probe(path)).toMatchObject({ unsupported: name });
  });
});

const mdMagic = Buffer.from([0xfc, 0x4e, 0x2b, 0xa9]);
const size = 1024 * KiB + 40 * KiB;

const magics: [name: string, at: number, bytes: Buffer][] = [
  ['LUKS', 0, Buffer.from('LUKS\xba\xbe\0\x02', 'latin1')],
  ['BitLocker', 3, Buffer.from('-FVE-FS-')],
  ['LVM2 physical volume', 512, Buffer.from('LABELONE')],
  ['LVM2 physical volume', 1536, Buffer.from('LABELONE')],
  ['Linux RAID member', 0, mdMagic],
  ['Linux RAID member', 4096, mdMagic],
  ['Linux RAID member', size - 8 * KiB, mdMagic], // version 1.0
  ['Linux RAID member', 1024 * KiB - 64 * KiB, mdMagic], // version 0.90: 64 KiB before the last multiple of 64 KiB
  ['bcache', 4120, Buffer.from('c68573f64e1a45ca8265f57f48ba6d81', 'hex')],
  ['btrfs', 65600, Buffer.from('_BHRfS_M')],
  ['F2FS', 1024, Buffer.from([0x10, 0x20, 0xf5, 0xf2])],
  ['EROFS', 1024, Buffer.from([0xe2, 0xe1, 0xf5, 0xe0])],
  ['squashfs', 0, Buffer.from('hsqs')],
  ['UDF', 32769, Buffer.from('BEA01')],
  ['ReiserFS', 65588, Buffer.from('ReIsEr2Fs')],
  ['JFS', 32768, Buffer.from('JFS1')],
  ['ZFS', 135168, Buffer.from([0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0])],
  ['ZFS', 261120, Buffer.from([0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c])],
  ['swap', 4086, Buffer.from('SWAPSPACE2')],
  ['swap', 65526, Buffer.from('SWAPSPACE2')],
  ['hibernation image in swap', 4086, Buffer.from('S1SUSPEND\0')],
  ['NTFS', 3, Buffer.from('NTFS    ')],
  ['exFAT', 3, Buffer.from('EXFAT   ')],
  ['HFS+', 1024, Buffer.from('H+\0\x04')],
  ['APFS', 32, Buffer.from('NXSB')],
  ['cramfs', 0, Buffer.from([0x45, 0x3d, 0xcd, 0x28])],
];

describe('by their magic', () => {
  test.each(magics)('%s at %i', async (name, at, bytes) => {
    const disk = new MemoryDisk(Buffer.alloc(size));
    bytes.copy(disk.bytes, at);
    expect(await probeFileSystem(disk)).toEqual({ unsupported: name, hint: expect.any(String) });
  });

  test('nothing is found in nothing, in noise and in very little', async () => {
    expect(await probeFileSystem(new MemoryDisk(Buffer.alloc(size)))).toBeUndefined();
    expect(await probeFileSystem(new MemoryDisk(noise(size)))).toBeUndefined();
    for (const bytes of [0, 1, 511, 512, 1023, 1100, 2048])
      expect(await probeFileSystem(new MemoryDisk(Buffer.alloc(bytes, 0x55)))).toBeUndefined();
  });

  test.runIf(haveTools('mke2fs', 'mkfs.fat'))(
    'a RAID member is named though a file system can be seen in it',
    async () => {
      const path = blank('8M');
      run('mke2fs', ['-q', '-F', '-t', 'ext4', path]);
      expect(await probe(path)).toMatchObject({ type: 'ext4' });
      const disk = new MemoryDisk(Buffer.concat([Buffer.alloc(8 * 1024 * KiB)]));
      await using image = await openRawImage(path);
      (await image.read(0, image.size)).copy(disk.bytes);
      mdMagic.copy(disk.bytes, disk.size - 8 * KiB);
      writeFileSync(path, disk.bytes);
      expect(await probe(path)).toMatchObject({ unsupported: 'Linux RAID member' });
    },
  );
});
