/** ISO 9660 against xorriso and genisoimage, compared byte by byte, and with blkid(8) and isoinfo(1). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readBootImages } from '../../../../../src/boot/fs/iso/el-torito.js';
import {
  type Content,
  expectSameTree,
  haveTools,
  load,
  MemoryDisk,
  mount,
  noise,
  plant,
  run,
  scratch,
} from '../images.js';

const ready = haveTools('xorriso', 'genisoimage', 'isoinfo', 'blkid');
const folder = scratch();
const source = join(folder, 'source');

const files: Record<string, Content> = {
  'live/vmlinuz': noise(123_456, 3),
  'live/initrd.img': noise(300_001, 4),
  'isolinux/isolinux.cfg': Buffer.from('default live\n'),
  '.disk/info': Buffer.from('a live image\n'),
  zeros: Buffer.alloc(100_000), // which mkzftree compresses
  empty: Buffer.alloc(0),
  'MiXeD-CaSe_and.more.than.one.dot': Buffer.from('x'),
  'ünïcödé 文件': Buffer.from('utf-8'),
  ['long-'.repeat(50)]: Buffer.from('a name of 250 characters, in two NM entries with a continuation'),
  'a/b/c/d/e/f/g/h/i/j/k/deep.txt': Buffer.from('deeper than the eight levels of ECMA-119'),
  ...Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`many/entry-number-${i}.conf`, Buffer.from(`${i}`)])),
};
const links: Record<string, Content> = {
  'live/link': { link: 'vmlinuz' },
  'absolute-link': { link: '/live/../live/vmlinuz' },
  'long-link': { link: `${'live/../'.repeat(20)}live/vmlinuz` },
  'dangling-link': { link: './no/such/./file' },
};

beforeAll(() => {
  if (ready) plant(source, { ...files, ...links });
});

let made = 0;
function image(tool: 'xorriso' | 'genisoimage', args: string[], from = source): string {
  const path = join(folder, `${++made}.iso`);
  const command = tool === 'xorriso' ? ['-as', 'mkisofs'] : [];
  run(tool, [...command, '-quiet', '-V', 'Debian 12.5.0 test', ...args, '-o', path, from]);
  return path;
}

const blkid = (path: string, tag: string): string => run('blkid', ['-p', '-o', 'value', '-s', tag, path]).trim();

describe.runIf(ready)('reads what xorriso and genisoimage wrote', () => {
  test.each([
    ['xorriso', ['-R']],
    ['xorriso', ['-R', '-J', '-joliet-long']],
    ['xorriso', ['-R', '-hfsplus', '-partition_offset', '16']],
    ['genisoimage', ['-R']],
    ['genisoimage', ['-r', '-J', '-joliet-long', '-input-charset', 'utf-8']],
    ['genisoimage', ['-R', '-D']],
  ] as const)('Rock Ridge by %s %j', async (tool, args) => {
    const path = image(tool, [...args]);
    const fileSystem = await mount(load(path));
    expect(await expectSameTree(fileSystem, source, '/', ['rr_moved'])).toBe(Object.keys(files).length);
    expect(fileSystem).toMatchObject({ type: 'iso9660', label: blkid(path, 'LABEL'), uuid: blkid(path, 'UUID') });
    const kernel = noise(123_456, 3);
    for (const link of ['/live/link', '/absolute-link', '/long-link', '/a/b/c/d/../../../../live/vmlinuz'])
      expect((await fileSystem.readFile(link, 1e6)).equals(kernel)).toBe(true);
    expect(await fileSystem.stat('/dangling-link')).toBeUndefined();
    expect(await fileSystem.stat('/LIVE/vmlinuz')).toBeUndefined(); // POSIX names
  });

  test('Joliet where there is no Rock Ridge, in any case', async () => {
    const plainNames = join(folder, 'joliet-source');
    plant(plainNames, { 'EFI/Boot/A longer Name.cfg': Buffer.from('wide'), ünïcödé: Buffer.from('u') });
    const path = image('genisoimage', ['-J', '-input-charset', 'utf-8'], plainNames);
    const fileSystem = await mount(load(path));
    expect(await expectSameTree(fileSystem, plainNames)).toBe(2);
    expect((await fileSystem.readFile('/efi/BOOT/a LONGER name.cfg', 10)).toString()).toBe('wide');
    expect(fileSystem.label).toBe(blkid(path, 'LABEL'));
  });

  test('plain names, as Linux shows them', async () => {
    const plainNames = join(folder, 'plain-source');
    plant(plainNames, { 'BOOT/GRUB.CFG': Buffer.from('plain'), KERNEL: Buffer.from('k') });
    const fileSystem = await mount(load(image('genisoimage', [], plainNames)));
    expect((await fileSystem.list('/')).map(({ name }) => name)).toEqual(['boot', 'kernel']);
    expect((await fileSystem.readFile('/boot/grub.cfg', 10)).toString()).toBe('plain');
    expect((await fileSystem.readFile('/Boot/Grub.Cfg', 10)).toString()).toBe('plain');
  });

  test('a file in several sections', async () => {
    const plainNames = join(folder, 'sections-source');
    const content = noise(10_000);
    plant(plainNames, { PARTA: content.subarray(0, 4096), PARTB: content.subarray(4096) });
    const disk = load(image('genisoimage', [], plainNames));
    const at = (name: string) => disk.bytes.indexOf(`${name}.;1`) - 33;
    disk.bytes[at('PARTA') + 25]! |= 0x80;
    disk.bytes.write('PARTA', at('PARTB') + 33);
    const fileSystem = await mount(disk);
    expect((await fileSystem.list('/')).map(({ name }) => name)).toEqual(['parta']);
    expect((await fileSystem.readFile('/parta', 10_000)).equals(content)).toBe(true);
    expect((await fileSystem.readRange('/parta', 4000, 200)).equals(content.subarray(4000, 4200))).toBe(true);
  });

  test.runIf(haveTools('mkzftree'))('a compressed file (zisofs) is refused by name', async () => {
    const compressed = join(folder, 'zisofs');
    run('mkzftree', [source, compressed]);
    const fileSystem = await mount(load(image('genisoimage', ['-R', '-z'], compressed)));
    await expect(fileSystem.readFile('/zeros', 1e6)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining('zisofs'),
    });
  });

  test('isoinfo sees the same names and sizes', async () => {
    const path = image('xorriso', ['-R']);
    const fileSystem = await mount(load(path));
    const listed = run('isoinfo', ['-R', '-f', '-i', path]).trim().split('\n').sort();
    expect(listed.length).toBeGreaterThan(130);
    for (const name of listed)
      if (!/link|^\/rr_moved/.test(name)) expect(await fileSystem.stat(name), name).toBeDefined();
  });
});

describe.runIf(ready)('damage in an ISO 9660 image', () => {
  const sector = 2048;
  const fresh = () => load(image('xorriso', ['-R']));
  const refused = (text: RegExp) => ({ code: 'ERR_TSVMM_DISK_FORMAT', message: expect.stringMatching(text) });

  test('numbers that differ in their two byte orders: little endian counts, as for Linux', async () => {
    const disk = fresh();
    expect((await mount(disk)).notes).toEqual([]);
    const record = recordOf(disk.bytes, 'VMLINUZ.;1');
    for (const at of [16 * sector + 84, 16 * sector + 156 + 6, record + 6, record + 14])
      disk.bytes.writeUInt32BE(1, at);
    const px = disk.bytes.indexOf('PX', record, 'latin1');
    disk.bytes.writeUInt32BE(1, px + 8);
    const fileSystem = await mount(disk);
    expect(fileSystem.notes).toEqual([expect.stringContaining('big-endian numbers differ')]);
    expect(await fileSystem.stat('/live/vmlinuz')).toEqual({ kind: 'file', size: 123_456 });
  });

  test('a truncated image is called that', async () => {
    const { bytes } = fresh();
    await expect(mount(new MemoryDisk(bytes.subarray(0, 100 * sector)))).rejects.toMatchObject(
      refused(/the image ends after 204800/),
    );
  });

  /** Where the record of the file or directory with this plain name starts. */
  const recordOf = (bytes: Buffer, name: string) => bytes.indexOf(name, 17 * sector, 'latin1') - 33;
  const setBoth = (bytes: Buffer, at: number, value: number) => {
    bytes.writeUInt32LE(value, at);
    bytes.writeUInt32BE(value, at + 4);
  };

  test('a directory of 4 GiB and a file of 4 GiB cost nothing', async () => {
    const disk = fresh();
    setBoth(disk.bytes, recordOf(disk.bytes, 'MANY') + 10, 0xffffffff);
    setBoth(disk.bytes, recordOf(disk.bytes, 'VMLINUZ.;1') + 10, 0xffffffff);
    const fileSystem = await mount(disk);
    const before = disk.bytesRead;
    await expect(fileSystem.list('/many')).rejects.toMatchObject(refused(/a directory of 4294967295 bytes/));
    await expect(fileSystem.readFile('/live/vmlinuz', 2 ** 33)).rejects.toMatchObject(refused(/the image ends after/));
    expect(disk.bytesRead - before).toBeLessThan(1e6);
  });

  test('a directory that contains itself is walked as deep as a path can be', async () => {
    const disk = fresh();
    const many = recordOf(disk.bytes, 'MANY');
    setBoth(disk.bytes, many + 2, disk.bytes.readUInt32LE(16 * sector + 156 + 2));
    setBoth(disk.bytes, many + 10, disk.bytes.readUInt32LE(16 * sector + 156 + 10));
    const fileSystem = await mount(disk);
    expect(await fileSystem.stat(`/${'many/'.repeat(800)}live/vmlinuz`)).toEqual({ kind: 'file', size: 123_456 });
    expect(await fileSystem.stat(`/${'many/'.repeat(900)}live/vmlinuz`)).toBeUndefined();
  });

  test('continuation areas that lead to themselves', async () => {
    const disk = fresh();
    // The long name's record continues elsewhere; that place is made to continue at itself.
    const record = recordOf(disk.bytes, 'LONG_');
    const ce = disk.bytes.indexOf('CE', record, 'latin1');
    const place = disk.bytes.readUInt32LE(ce + 4) * sector + disk.bytes.readUInt32LE(ce + 12);
    disk.bytes.copy(disk.bytes, place, ce, ce + 28);
    setBoth(disk.bytes, place + 20, 28);
    setBoth(disk.bytes, ce + 20, 28);
    await expect((await mount(disk)).list('/')).rejects.toMatchObject(refused(/more than 32 continuation areas/));
  });
});

describe.runIf(ready)('El Torito', () => {
  test('BIOS and EFI images are found where xorriso put them', async () => {
    const root = join(folder, 'bootable');
    plant(root, { 'bios.bin': noise(4096), 'efi.img': noise(1 << 20, 7) });
    const args = ['-R', '-b', 'bios.bin', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
    const path = image('xorriso', [...args, '-eltorito-alt-boot', '-e', 'efi.img', '-no-emul-boot'], root);
    const disk = load(path);
    const report = run('xorriso', ['-indev', path, '-report_el_torito', 'plain'], { accept: [0, 32] });
    const places = [...report.matchAll(/El Torito boot img :\s+\d+\s+(\S+)\s+y.*?(\d+)\s*$/gm)];
    expect(places.map(([, platform]) => platform)).toEqual(['BIOS', 'UEFI']);
    expect(await readBootImages(disk)).toEqual([
      { start: Number(places[0]![2]) * 2048, size: 2048, platform: 'BIOS', bootable: true },
      { start: Number(places[1]![2]) * 2048, size: 1 << 20, platform: 'EFI', bootable: true },
    ]);
    const catalog = (await readBootImages(disk)).length;
    expect(catalog).toBe(2);
    const pointer = readFileSync(path).readUInt32LE(17 * 2048 + 71) * 2048;
    disk.bytes[pointer + 4]! ^= 1; // breaks the sum
    expect(await readBootImages(disk)).toEqual([]);
  });
});
