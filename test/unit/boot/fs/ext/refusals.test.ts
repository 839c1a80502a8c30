/** What is valid but not read here is refused when it is met, and what needs repair with the command that repairs it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readPartitions } from '../../../../../src/boot/disk/partition-table.js';
import { slice } from '../../../../../src/boot/disk/slice.js';
import { openRawImage } from '../../../../../src/disk/raw-image.js';
import { haveTools, load, mayMount, mount, noise, plant, run, scratch } from '../images.js';

const ready = haveTools('mke2fs', 'debugfs', 'e2fsck', 'sfdisk');
const folder = scratch();
const loopDevices = ready && mayMount(folder, 'ext4', ['mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^has_journal']);
let made = 0;

function image(...args: string[]): string {
  const path = join(folder, `${++made}.img`);
  const root = join(folder, 'source');
  if (made === 1) plant(root, { 'dir/file': noise(3000), kernel: noise(5000), link: { link: 'kernel' } });
  run('truncate', ['-s', '4M', path]);
  run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '1024', '-d', root, ...args, path]);
  return path;
}

const debugfs = (path: string, ...commands: string[]) =>
  run('debugfs', ['-w', '-f', '-', path], { input: commands.join('\n') });

describe.runIf(ready)('files that are not read', () => {
  test.each([
    ['encrypted', '/kernel', 0x80800, /encrypted/],
    ['an attribute value', '/kernel', 0x280000, /ea_inode/],
    ['compressed', '/kernel', 0x80004, /compressed/],
  ])('%s: the file is refused, the others are read', async (_, path, flags, message) => {
    const disk = image('-O', 'encrypt,ea_inode');
    debugfs(disk, `sif ${path} flags 0x${flags.toString(16)}`, 'ssv feature_incompat 0x104c7'); // with the compression feature too
    const fileSystem = await mount(load(disk));
    await expect(fileSystem.readFile('/kernel', 10_000)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(message),
      hint: expect.stringContaining('boot: { kernel, initrd, cmdline }'),
    });
    expect((await fileSystem.readFile('/dir/file', 3000)).equals(noise(3000))).toBe(true);
  });

  test('a case-insensitive directory', async () => {
    const disk = image('-O', 'casefold');
    debugfs(disk, 'sif /dir flags 0x40080000');
    const fileSystem = await mount(load(disk));
    await expect(fileSystem.stat('/dir/file')).rejects.toMatchObject({ message: expect.stringContaining('casefold') });
    expect((await fileSystem.readFile('/kernel', 5000)).length).toBe(5000);
  });

  test('a wrong checksum anywhere on the way', async () => {
    const [, block, offset] = /located at block (\d+), offset (0x[0-9a-f]+)/.exec(
      run('debugfs', ['-R', 'imap /kernel', image()]),
    )!;
    const path = join(folder, `${made}.img`);
    const attempt = async (at: number) => {
      const disk = load(path);
      disk.bytes[at]! ^= 0x10;
      return (await mount(disk)).readFile('/kernel', 10_000);
    };
    const inode = Number(block) * 1024 + Number(offset);
    const message = (text: string) => ({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining(text),
      hint: expect.stringContaining('e2fsck -fn'),
    });
    await expect(attempt(1024 + 0x30)).rejects.toMatchObject(message('superblock: its checksum is wrong'));
    await expect(attempt(2048 + 0x0c)).rejects.toMatchObject(message('group descriptor 0: its checksum is wrong'));
    await expect(attempt(inode + 0x10)).rejects.toMatchObject(message('its checksum is wrong'));
    const directory = Number(run('debugfs', ['-R', 'blocks <2>', path]).trim().split(' ')[0]) * 1024;
    await expect(attempt(directory + 30)).rejects.toMatchObject(message('directory 2: a block has a wrong checksum'));
  });

  test('an external journal device is not a file system, and is called by its feature', async () => {
    const path = join(folder, 'journal-device.img');
    run('truncate', ['-s', '4M', path]);
    run('mke2fs', ['-q', '-F', '-O', 'journal_dev', '-b', '1024', path]);
    await expect(mount(load(path))).rejects.toMatchObject({ message: expect.stringContaining('journal_dev') });
  });

  test('errors that were recorded are noted', async () => {
    const disk = image();
    debugfs(disk, 'ssv state 3');
    expect((await mount(load(disk))).notes).toEqual([expect.stringMatching(/marked as having errors \(e2fsck -f /)]);
  });
});

describe.runIf(ready)('in a partition', () => {
  test('the hint of a journal that cannot be replayed is a command that mends it', async (context) => {
    const inner = image();
    const data = join(folder, 'data');
    writeFileSync(data, noise(1024, 9));
    const block = run('debugfs', ['-R', 'blocks /kernel', inner]).trim().split(' ')[1]!;
    debugfs(inner, 'jo -c', `jw -b ${block} ${data}`, 'jc');
    const journal = run('debugfs', ['-R', 'blocks <8>', inner]).trim().split(/\s+/).map(Number);
    const bytes = readFileSync(inner);
    bytes[journal[3]! * 1024 + 1000]! ^= 1; // the commit block
    const path = join(folder, 'a disk.img');
    run('truncate', ['-s', '8M', path]);
    run('sfdisk', ['-q', path], { input: 'label: gpt\nstart=4096, size=8192, type=linux\n' });
    const disk = readFileSync(path);
    bytes.copy(disk, 4096 * 512);
    writeFileSync(path, disk);

    await using image1 = await openRawImage(path);
    const [partition] = (await readPartitions(image1)).partitions;
    const error = await mount(slice(image1, partition!.start, partition!.size)).catch((refused) => refused);
    const command = `LOOP=$(losetup --find --show --offset 2097152 --sizelimit 4194304 '${path}'); e2fsck -f $LOOP; losetup --detach $LOOP`;
    expect(error).toMatchObject({ code: 'ERR_TSVMM_DISK_FORMAT', hint: `Repair it: ${command}` });
    if (!loopDevices) context.skip('loop devices cannot be used here');
    // With -y instead of questions.
    run('sh', ['-c', command.replace('e2fsck -f', 'e2fsck -fy')]);
    await using image2 = await openRawImage(path);
    const mended = await mount(slice(image2, partition!.start, partition!.size));
    expect(mended.notes).toEqual([]);
    expect((await mended.readFile('/dir/file', 3000)).equals(noise(3000))).toBe(true);
  });
});
