import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detectKernel } from '../../../../src/boot/linux/detect.js';
import { TsvmmError } from '../../../../src/errors.js';
import { fakeBzImage, fakeElf, refusal } from './kernels.js';

/** `magic` at `at` of a file of 4 KiB. */
function fileWith(at: number, magic: string): Buffer {
  const file = Buffer.alloc(4096);
  file.write(magic, at, 'latin1');
  return file;
}

test('knows a bzImage and both ELF classes', () => {
  expect(detectKernel(fakeBzImage())).toBe('bzImage');
  expect(detectKernel(fakeElf({ bits: 64 }))).toBe('ELF64');
  expect(detectKernel(fakeElf({ bits: 32 }))).toBe('ELF32');
});

test('a bzImage with an EFI stub is a bzImage, not a PE file', () => {
  const file = fakeBzImage();
  file.write('MZ', 'latin1');
  expect(detectKernel(file)).toBe('bzImage');
});

describe('names what a file is instead, with a hint', () => {
  test.each([
    [0, '\x1f\x8b\x08', 'gzip'],
    [0, '\xfd7zXZ\0', 'xz'],
    [0, '\x28\xb5\x2f\xfd', 'zstd'],
    [0, 'BZh9', 'bzip2'],
    [0, '\x02\x21\x4c\x18', 'lz4'],
    [0, '\x5d\0\0', 'lzma'],
    [0x38, 'ARM\x64', 'arm64 Image'],
    [0x38, 'RSC\x05', 'RISC-V Image'],
    [0, 'MZ\0\0zimg', 'EFI zboot'],
    [0, 'MZ\x90', 'an EFI program'],
    [0, '070701', 'initramfs'],
    [0, 'hsqs', 'squashfs'],
    [0, 'QFI\xfb', 'qcow2'],
    [0, '#!/bin/sh', 'script'],
    [0x200, 'EFI PART', 'GPT'],
    [0x1fe, '\x55\xaa', 'boot sector'],
  ])('at %i: %j is %s', (at, magic, name) => {
    const error = refusal(() => detectKernel(fileWith(at, magic)));
    expect(error.code).toBe('ERR_TSVMM_BOOT_KERNEL');
    expect(error.message).toContain(name);
    expect(error.hint).toBeTruthy();
  });
});

test('an arm64 Image with an EFI stub is named as arm64', () => {
  const file = fileWith(0x38, 'ARM\x64');
  file.write('MZ', 'latin1');
  expect(refusal(() => detectKernel(file)).message).toContain('arm64');
});

test('an ELF file for another machine is named by its machine', () => {
  expect(refusal(() => detectKernel(fakeElf({ machine: 183 }))).message).toContain('arm64');
  expect(refusal(() => detectKernel(fakeElf({ machine: 4711 }))).message).toContain('4711');
  const bigEndian = fakeElf();
  bigEndian.writeUInt8(2, 5);
  bigEndian.writeUInt16BE(22, 18);
  expect(refusal(() => detectKernel(bigEndian)).message).toContain('s390');
});

test('anything else is shown by its first bytes', () => {
  const error = refusal(() => detectKernel(Buffer.from('hello, world, I am text')));
  expect(error.message).toContain('68 65 6c 6c 6f');
  expect(refusal(() => detectKernel(Buffer.alloc(0))).message).toContain('empty');
});

test('never throws anything but a TsvmmError, whatever the bytes and wherever they are cut', () => {
  const seeds = fc.constantFrom(fakeBzImage().subarray(0, 1024), fakeElf(), fileWith(0, 'MZ'), Buffer.alloc(600));
  fc.assert(
    fc.property(seeds, fc.nat(1100), fc.array(fc.tuple(fc.nat(1023), fc.nat(255))), (seed, cut, edits) => {
      const file = Buffer.from(seed.subarray(0, cut));
      for (const [at, value] of edits) if (at < file.length) file[at] = value;
      try {
        expect(['bzImage', 'ELF64', 'ELF32']).toContain(detectKernel(file));
      } catch (error) {
        expect(error).toBeInstanceOf(TsvmmError);
        expect((error as TsvmmError).code).toBe('ERR_TSVMM_BOOT_KERNEL');
      }
    }),
  );
});
