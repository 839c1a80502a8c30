/**
 * From a disk image to kernel, initrd and command line, with images made by sgdisk, sfdisk, mke2fs and mkfs.vfat (Debian
 * packages gdisk, fdisk, e2fsprogs, dosfstools, mtools). Root is not needed.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chooseEntry, type DiskInspection, findBootEntries, loadEntry } from '../../../src/boot/disk-boot.js';
import { renderInspection } from '../../../src/boot/inspect.js';
import { openRawImage } from '../../../src/disk/raw-image.js';

const tools = ['sgdisk', 'sfdisk', 'mke2fs', 'mkfs.vfat', 'mcopy'];
const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, MTOOLS_SKIP_CHECK: '1' };
const missing = tools.filter((tool) => spawnSync('which', [tool], { env, stdio: 'ignore' }).status !== 0);
if (missing.length > 0)
  console.warn(
    `skipped: ${missing.join(', ')} not installed (Debian packages gdisk, fdisk, e2fsprogs, dosfstools, mtools)`,
  );

const MiB = 1 << 20;
const rootUuid = '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001';
const fixture = (name: string): string => readFileSync(new URL(`grub/fixtures/${name}`, import.meta.url), 'utf8');
const kernel = Buffer.alloc(300_001, 'kernel');
const initrd = Buffer.alloc(700_003, 'initrd');

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-disk-boot-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const run = (command: string, ...args: string[]): void => void execFileSync(command, args, { env, stdio: 'pipe' });
const path = (name: string): string => join(directory, name);

type Tree = Readonly<Record<string, string | Buffer | { link: string }>>;

function makeTree(name: string, tree: Tree): string {
  for (const [file, content] of Object.entries(tree)) {
    const at = path(`${name}${file}`);
    mkdirSync(dirname(at), { recursive: true });
    if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(at, content);
    else symlinkSync(content.link, at);
  }
  return path(name);
}

/** An ext4 file system of `size` bytes at `offset` of the image. */
function putExt4(image: string, offset: number, size: number, uuid: string, tree: Tree): void {
  const source = makeTree(`${image}-${offset}`, tree);
  run(
    'mke2fs',
    '-q',
    '-F',
    '-t',
    'ext4',
    '-U',
    uuid,
    '-d',
    source,
    '-E',
    `offset=${offset}`,
    path(image),
    `${size / 1024}k`,
  );
}

function makeImage(name: string, size: number): void {
  writeFileSync(path(name), '');
  truncateSync(path(name), size);
}

function openBytes(name: string, content: Buffer) {
  writeFileSync(path(name), content);
  return openRawImage(path(name));
}

async function inspect<T>(name: string, use: (inspection: DiskInspection) => Promise<T> | T): Promise<T> {
  await using image = await openRawImage(path(name));
  return await use(await findBootEntries(image));
}

const debian: Tree = {
  '/boot/vmlinuz-6.1.0-13-amd64': kernel,
  '/boot/initrd.img-6.1.0-13-amd64': initrd,
  '/boot/vmlinuz-6.1.0-9-amd64': 'old kernel',
  '/boot/initrd.img-6.1.0-9-amd64': 'old initrd',
  '/etc/fstab': '',
  '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
  '/vmlinuz': { link: 'boot/vmlinuz-6.1.0-13-amd64' },
  '/initrd.img': { link: 'boot/initrd.img-6.1.0-13-amd64' },
};

describe.skipIf(missing.length > 0)('a Debian on GPT with an EFI System Partition', () => {
  const esp = { offset: 41 * MiB, size: 8 * MiB };
  beforeAll(() => {
    makeImage('gpt.img', 50 * MiB);
    run(
      'sgdisk',
      '-n',
      '1:1M:+40M',
      '-t',
      '1:8304',
      '-c',
      '1:root',
      '-n',
      '15:41M:+8M',
      '-t',
      '15:ef00',
      path('gpt.img'),
    );
    putExt4('gpt.img', MiB, 40 * MiB, rootUuid, { ...debian, '/boot/grub/grub.cfg': fixture('debian-12.cfg') });
    makeImage('esp', esp.size);
    run('mkfs.vfat', '-n', 'EFI', '-i', 'A1B2C3D4', path('esp'));
    makeTree('esp-files', {
      '/EFI/debian/grub.cfg': `search.fs_uuid ${rootUuid} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n`,
    });
    run('mcopy', '-s', '-i', path('esp'), path('esp-files/EFI'), '::');
    run('dd', `if=${path('esp')}`, `of=${path('gpt.img')}`, 'bs=1M', 'seek=41', 'conv=notrunc');
  });

  test('boots what GRUB would boot', () =>
    inspect('gpt.img', async (inspection) => {
      expect(inspection).toMatchObject({ size: 50 * MiB, scheme: 'gpt', problems: [], defaultEntry: 0 });
      expect(inspection.partitions.map(({ index, fileSystem }) => [index, fileSystem])).toEqual([
        [1, { type: 'ext4', label: '', uuid: rootUuid }],
        [15, { type: expect.stringMatching(/^fat(12|16)$/), label: 'EFI', uuid: 'A1B2-C3D4' }],
      ]);
      const loaded = await loadEntry(inspection, chooseEntry(inspection));
      expect(loaded.kernel.equals(kernel)).toBe(true);
      expect(loaded.initrd?.equals(initrd)).toBe(true);
      expect(loaded.title).toBe('Debian GNU/Linux');
      expect(loaded.cmdline).toMatch(/^BOOT_IMAGE=\/boot\/vmlinuz-6\.1\.0-13-amd64 root=UUID=6a3ecb9f-.* ro .*quiet$/);
    }));

  test('another entry on request', () =>
    inspect('gpt.img', async (inspection) => {
      const loaded = await loadEntry(inspection, chooseEntry(inspection, 'Linux 6.1.0-9-amd64 (recovery mode)'));
      expect([loaded.kernel.toString(), loaded.initrd?.toString()]).toEqual(['old kernel', 'old initrd']);
      expect(loaded.cmdline).toContain(' single ');
    }));

  test('the listing marks what would boot', () =>
    inspect('gpt.img', (inspection) => {
      const text = renderInspection(inspection);
      expect(text).toContain(
        '*  1  grub  Debian GNU/Linux\n   2  grub  Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-13-amd64\n',
      );
      expect(text).toContain('Initrd        /boot/initrd.img-6.1.0-13-amd64 of partition 1');
      expect(text).toContain('   8  grub  Windows Boot Manager (on /dev/vda2)\n        cannot be booted: hands over');
    }));

  test('by the backup of the table alone, which Linux uses only when it is told', async () => {
    const disk = readFileSync(path('gpt.img'));
    disk.fill(0, 512, 1024);
    await using image = await openBytes('backup.img', disk);
    const { entries, problems } = await findBootEntries(image);
    expect(problems).toEqual([expect.stringContaining('the kernel parameter gpt, which is added')]);
    const [debian, windows] = [entries[0], entries.at(-1)];
    expect(debian?.cmdline).toMatch(/^BOOT_IMAGE=.* quiet gpt$/);
    expect(windows).toMatchObject({ kernel: undefined, cmdline: '' });
  });

  test('the one on the EFI System Partition leads there too', async () => {
    makeImage('esp-first.img', 50 * MiB);
    run('dd', `if=${path('gpt.img')}`, `of=${path('esp-first.img')}`, 'conv=notrunc,sparse', 'bs=1M');
    // Where GRUB's directory has another name, only the EFI System Partition knows it.
    const config = `search.fs_uuid ${rootUuid} root\nconfigfile ($root)/boot/menu.cfg\n`;
    run('dd', `if=${path('esp')}`, `of=${path('esp2')}`, 'bs=1M');
    writeFileSync(path('grub.cfg'), config);
    run('mcopy', '-o', '-i', path('esp2'), path('grub.cfg'), '::/EFI/debian/grub.cfg');
    run('dd', `if=${path('esp2')}`, `of=${path('esp-first.img')}`, 'bs=1M', 'seek=41', 'conv=notrunc');
    putExt4('esp-first.img', MiB, 40 * MiB, rootUuid, {
      ...debian,
      '/boot/menu.cfg': 'menuentry found { linux /boot/vmlinuz-6.1.0-9-amd64; }',
    });
    await inspect('esp-first.img', (inspection) => {
      expect(chooseEntry(inspection)).toMatchObject({
        title: 'found',
        source: { partition: 1, path: '/boot/menu.cfg' },
      });
    });
  });
});

describe.skipIf(missing.length > 0)('other layouts', () => {
  test('MBR with /boot in a logical partition', async () => {
    makeImage('mbr.img', 64 * MiB);
    const layout =
      'label: dos\nlabel-id: 0x1234abcd\nstart=2048, size=40960, type=83\nstart=45056, type=5\nstart=47104, size=40960, type=83\n';
    execFileSync('sfdisk', ['-q', path('mbr.img')], { input: layout, env, stdio: 'pipe' });
    putExt4('mbr.img', MiB, 20 * MiB, '0f7c1c3e-86d2-4c3f-8d43-7d5fb6a2f002', { '/etc/fstab': '' });
    putExt4('mbr.img', 23 * MiB, 20 * MiB, rootUuid, {
      '/vmlinuz-1': kernel,
      '/ucode.img': 'abc',
      '/initrd-1': 'defgh',
      '/grub/grub.cfg':
        'menuentry multi {\n linux (hd0,msdos5)/vmlinuz-1 root=/dev/vda1\n initrd /ucode.img /initrd-1\n}\n',
    });
    await inspect('mbr.img', async (inspection) => {
      expect(inspection.scheme).toBe('mbr');
      const entry = chooseEntry(inspection);
      expect(entry).toMatchObject({
        kernel: { partition: 5, path: '/vmlinuz-1' },
        cmdline: 'BOOT_IMAGE=(hd0,msdos5)/vmlinuz-1 root=/dev/vda1',
      });
      expect((await loadEntry(inspection, entry)).initrd).toEqual(Buffer.from('abc\0defgh\0\0\0'));
    });
  });

  test('a bare file system, without a boot configuration', async () => {
    makeImage('bare.img', 40 * MiB);
    putExt4('bare.img', 0, 40 * MiB, rootUuid, debian);
    await inspect('bare.img', async (inspection) => {
      expect(inspection).toMatchObject({ scheme: 'none', partitions: [{ index: 0, fileSystem: { type: 'ext4' } }] });
      const entry = chooseEntry(inspection);
      expect(entry).toMatchObject({
        title: 'Debian GNU/Linux 12 (bookworm), /vmlinuz',
        cmdline: `root=UUID=${rootUuid} ro`,
      });
      expect((await loadEntry(inspection, entry)).kernel.equals(kernel)).toBe(true);
      expect(chooseEntry(inspection, '6.1.0-9').kernel?.path).toBe('/boot/vmlinuz-6.1.0-9-amd64');
    });
  });

  test('GPT without a boot configuration: the root by its PARTUUID', async () => {
    makeImage('plain.img', 42 * MiB);
    run('sgdisk', '-n', '1:1M:+40M', '-u', '1:4F1C7A52-9C1B-4B0A-8A4E-3F2D1E0C0001', path('plain.img'));
    putExt4('plain.img', MiB, 40 * MiB, rootUuid, debian);
    await inspect('plain.img', (inspection) => {
      expect(chooseEntry(inspection).cmdline).toBe('root=PARTUUID=4f1c7a52-9c1b-4b0a-8a4e-3f2d1e0c0001 ro');
    });
  });

  test('nothing that boots: every partition is named with its remedy', async () => {
    makeImage('nothing.img', 64 * MiB);
    run('sgdisk', '-n', '1:1M:+20M', '-n', '2:21M:+20M', '-n', '3:41M:+10M', '-t', '3:8200', path('nothing.img'));
    putExt4('nothing.img', MiB, 20 * MiB, rootUuid, { '/data': 'x' });
    const bytes = readFileSync(path('nothing.img'));
    bytes.write('_BHRfS_M', 21 * MiB + 64 * 1024 + 64, 'latin1');
    writeFileSync(path('nothing.img'), bytes);
    await inspect('nothing.img', (inspection) => {
      expect(() => chooseEntry(inspection)).toThrow(
        expect.objectContaining({
          code: 'ERR_TSVMM_BOOT_NOT_FOUND',
          hint: 'Pass a kernel with boot: { kernel, initrd, cmdline }.',
          message: expect.stringMatching(
            /partition 1 .*: ext4 without a boot.*\n {2}partition 2 .*: btrfs\. .*\n {2}partition 3 .*: nothing that is recognised/,
          ),
        }),
      );
    });
  });

  test('an abort before the disk was read', async () => {
    makeImage('empty.img', 4 * MiB);
    await using image = await openRawImage(path('empty.img'));
    await expect(findBootEntries(image, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  });
});
