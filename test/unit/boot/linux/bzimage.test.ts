import { expect, test } from 'vitest';
import { parseBzImage } from '../../../../src/boot/linux/bzimage.js';
import { fakeBzImage, refusal } from './kernels.js';

const MIB = 1024 * 1024;

test('reads what a loader needs', () => {
  const file = fakeBzImage();
  const image = parseBzImage(file);
  expect(image).toMatchObject({
    release: '6.1.0-test',
    entryOffset: 0x200,
    cmdlineSize: 2047,
    initrdAddrMax: 0x7fff_ffff,
    initrdMayBeAbove4G: true,
    runtimeStart: 16 * MIB,
    runtimeSize: MIB,
  });
  expect(image.header.length).toBe(0x202 + 0x6a - 0x1f1);
  expect(image.code.length).toBe(64 * 1024);
  expect(image.code[0]).toBe(0xc0);
});

test('parts of the image are views of the file, not copies', () => {
  const file = fakeBzImage();
  const image = parseBzImage(file);
  expect(image.code.buffer).toBe(file.buffer);
  expect(image.header.buffer).toBe(file.buffer);
});

test('setup_sects 0 means 4', () => {
  expect(parseBzImage(fakeBzImage({ setupSects: 0 })).code[0]).toBe(0xc0);
});

test('what follows the protected-mode part, as a signature does, is not loaded', () => {
  expect(parseBzImage(fakeBzImage({ trailer: 5000 })).code.length).toBe(64 * 1024);
});

test('syssize may be rounded up past the end of the file, by less than a paragraph', () => {
  const file = fakeBzImage({ codeSize: 64 * 1024 - 5 });
  expect(parseBzImage(file).code.length).toBe(64 * 1024 - 5);
});

test('a file cut off inside the kernel is refused with both lengths', () => {
  const file = fakeBzImage();
  const error = refusal(() => parseBzImage(file.subarray(0, file.length - 1000)));
  expect(error.message).toContain(String(file.length));
  expect(error.message).toContain(String(file.length - 1000));
  expect(refusal(() => parseBzImage(file.subarray(0, 0x250))).message).toContain('setup header');
});

test('kernels that cannot be entered in 64-bit mode are refused with the reason', () => {
  expect(refusal(() => parseBzImage(fakeBzImage({ version: 0x0206 }))).message).toContain('2.06');
  expect(refusal(() => parseBzImage(fakeBzImage({ xloadflags: 0x3e }))).message).toContain('32-bit');
  expect(refusal(() => parseBzImage(fakeBzImage({ loadflags: 0 }))).message).toContain('zImage');
});

test.each([
  ['no code', { codeSize: 0x200 }],
  ['a header that ends too early', { jumpLength: 0x20 }],
  ['alignment 0', { alignment: 0 }],
  ['an alignment that is no power of two', { alignment: 0x30_0000 }],
  ['an alignment of 2 GiB', { alignment: 0x8000_0000 }],
])('%s is damage', (_, fields) => {
  expect(refusal(() => parseBzImage(fakeBzImage(fields))).message).toContain('damaged');
});

test('the setup header ends where the zero page has other fields, however long it says it is', () => {
  expect(parseBzImage(fakeBzImage({ jumpLength: 0xff })).header.length).toBe(0x290 - 0x1f1);
});

test('where a kernel runs: the preferred address, aligned up if it is relocatable', () => {
  const start = (fields: Parameters<typeof fakeBzImage>[0]): number => parseBzImage(fakeBzImage(fields)).runtimeStart;
  expect(start({ prefAddress: BigInt(16 * MIB + 4096) })).toBe(18 * MIB);
  expect(start({ prefAddress: BigInt(16 * MIB + 4096), relocatable: 0 })).toBe(16 * MIB + 4096);
  expect(start({ prefAddress: 0n })).toBe(2 * MIB);
  expect(start({ prefAddress: 0n, relocatable: 0 })).toBe(MIB);
});

test('the space a kernel needs is never less than what is loaded', () => {
  expect(parseBzImage(fakeBzImage({ initSize: 0 })).runtimeSize).toBe(64 * 1024);
});

test('a release that is no text is left out', () => {
  expect(parseBzImage(fakeBzImage({ release: '\x01\x02' })).release).toBe('');
});
