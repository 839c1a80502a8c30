/** Kernels given as files: plain ones, and unified kernel images made by objcopy of Debian's systemd-stub (systemd-boot-efi). */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readKernelFiles } from '../../../src/machine/kernel-files.js';
import { buildPe, buildUki } from '../boot/pe/build-pe.js';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-kernel-files-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: Buffer | string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}
const read = (kernel: string, initrd?: string, cmdline?: string) =>
  readKernelFiles({ kernel, initrd, cmdline }, 'ttyS0');

test('a file that is no EFI program is the kernel, whatever it is', async () => {
  const kernel = Buffer.alloc(2000, 'a kernel');
  expect(await read(file('plain', kernel))).toEqual({ kernel, initrd: undefined, cmdline: '' });
});

test('a bzImage begins like an EFI program and is none', async () => {
  const kernel = buildUki({ '.linux': 'not this' });
  kernel.write('HdrS', 0x202, 'latin1');
  expect((await read(file('bzImage', kernel), file('initrd', 'i'), 'quiet')).kernel).toEqual(kernel);
});

test('an EFI program that is no unified kernel image is left for the loader to name', async () => {
  const shell = buildPe([{ name: '.text', data: Buffer.alloc(600) }]);
  expect((await read(file('shell.efi', shell))).kernel).toEqual(shell);
});

describe('a unified kernel image', () => {
  const image = buildUki({
    '.cmdline': 'root=/dev/vda2 ro',
    '.linux': 'the kernel',
    '.initrd': 'initrd',
    '.ucode': 'ucode',
  });

  test('boots its kernel, initrds and command line', async () => {
    const { kernel, initrd, cmdline } = await read(file('a.efi', image));
    expect(kernel.toString()).toBe('the kernel');
    expect(initrd?.toString()).toBe('ucode\0\0\0initrd\0\0');
    expect(cmdline).toBe('root=/dev/vda2 ro console=ttyS0');
  });

  test("takes the user's command line instead, and initrd behind its own", async () => {
    const { initrd, cmdline } = await read(file('a.efi', image), file('mine', 'mine'), 'init=/bin/sh');
    expect(initrd?.toString()).toBe('ucode\0\0\0initrd\0\0mine');
    expect(cmdline).toBe('init=/bin/sh');
  });

  test('an empty command line is one', async () => {
    expect((await read(file('a.efi', image), undefined, '')).cmdline).toBe('');
  });

  test.each([
    ['cut off', image.subarray(0, image.length - 1100), /its PE section ".initrd" .* is not inside the file/],
    ['for another processor', buildPe([{ name: '.linux', data: 'k' }], 0xaa64), /built for another processor .*0xaa64/],
    [
      'with sections over each other',
      buildPe([
        { name: '.linux', data: 'kernel' },
        { name: '.initrd', data: 'i', offset: 0x202 },
      ]),
      /\.linux and \.initrd .* overlap/,
    ],
    ['with an empty kernel', buildUki({ '.linux': '' }), /\.linux section .* is empty/],
    [
      'with a huge claim',
      buildPe([{ name: '.linux', data: 'k', virtualSize: 0xffffffff, rawSize: 0xffffffff }]),
      /4294967295 bytes/,
    ],
  ])('%s is refused', async (_, content, message) => {
    await expect(read(file('bad.efi', content))).rejects.toMatchObject({
      code: 'ERR_TSVMM_BOOT_KERNEL',
      message: expect.stringMatching(message),
    });
  });
});

const stub = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';
const haveStub = existsSync(stub) && spawnSync('objcopy', ['--version'], { stdio: 'ignore' }).status === 0;
if (!haveStub) console.warn(`skipped: no ${stub} or objcopy (Debian packages systemd-boot-efi, binutils)`);

test.skipIf(!haveStub)('one made with systemd-stub by objcopy', async () => {
  const kernel = Buffer.alloc(100_001, 'kernel');
  const initrd = Buffer.alloc(50_003, 'initrd');
  const sections = { '.osrel': 'ID=debian\n', '.cmdline': 'root=LABEL=x quiet\n', '.linux': kernel, '.initrd': initrd };
  const args = Object.entries(sections).flatMap(([name, data], index) => [
    '--add-section',
    `${name}=${file(name.slice(1), data)}`,
    '--change-section-vma',
    `${name}=0x${(0x1000000 * (index + 1)).toString(16)}`,
  ]);
  execFileSync('objcopy', [...args, stub, join(directory, 'real.efi')]);
  const found = await read(join(directory, 'real.efi'));
  expect(kernel.equals(found.kernel)).toBe(true);
  expect(initrd.equals(found.initrd ?? Buffer.alloc(0))).toBe(true);
  expect(found.cmdline).toBe('root=LABEL=x quiet console=ttyS0');
});

test.each([
  ['a directory', '', 'it is not a regular file'],
  ['nothing', '/none', '/none" does not exist'],
  ['what lies below a file', '/plain/none', '/plain/none" does not exist (a part of its path is no directory)'],
  ['a loop of links', '/loop', '/loop" is a loop of symbolic links'],
  ['what may not be read', '/secret', '/secret" may not be read'],
])('%s is refused, as kernel and as initrd', async (_, name, message) => {
  const plain = file('plain', 'kernel');
  if (name === '/loop') symlinkSync('loop', join(directory, 'loop'));
  if (name === '/secret') chmodSync(file('secret', 'kernel'), 0);
  const refusal = { code: 'ERR_TSVMM_BOOT_KERNEL', message: expect.stringContaining(message) };
  const { geteuid, seteuid } = process as Required<NodeJS.Process>;
  const root = geteuid() === 0;
  if (root) chmodSync(directory, 0o755);
  if (root && name === '/secret') seteuid(65534); // root may read everything
  try {
    await expect(read(`${directory}${name}`)).rejects.toMatchObject(refusal);
    await expect(read(plain, `${directory}${name}`)).rejects.toMatchObject(refusal);
  } finally {
    if (root) seteuid(0);
  }
});
