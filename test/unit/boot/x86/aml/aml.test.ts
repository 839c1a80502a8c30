import { describe, expect, test } from 'vitest';
import { newTable, seal } from '../../../../../src/boot/x86/acpi/table.js';
import { buffer, integer, namePath, packageOf, string } from '../../../../../src/boot/x86/aml/data.js';
import { eisaId, uuid } from '../../../../../src/boot/x86/aml/ids.js';
import * as resources from '../../../../../src/boot/x86/aml/resources.js';
import { device, name, scope } from '../../../../../src/boot/x86/aml/terms.js';
import { type Aml, encode } from '../../../../../src/boot/x86/aml/writer.js';
import { complaints, noIasl, roundTrip } from '../iasl.js';

const hex = (...terms: Aml[]): string => Buffer.from(encode(...terms)).toString('hex');
const filler =
  (count: number): Aml =>
  (out) => {
    for (let i = 0; i < count; i++) out.byte(0xa3); // NoopOp
  };

describe('integers are as short as they can be (ACPI §20.2.3)', () => {
  test.each([
    [0, '00'],
    [1, '01'],
    [2, '0a02'],
    [0xff, '0aff'],
    [0x100, '0b0001'],
    [0xffff, '0bffff'],
    [0x1_0000, '0c00000100'],
    [0xffff_ffff, '0cffffffff'],
    [0x1_0000_0000, '0e0000000001000000'],
    [2 ** 53 - 1, '0effffffffffff1f00'],
  ])('%i', (value, bytes) => expect(hex(integer(value))).toBe(bytes));
});

describe('names (ACPI §20.2.2)', () => {
  test.each([
    ['_CRS', '5f435253'],
    ['RTC', '5254435f'],
    ['\\_S5', '5c5f53355f'],
    ['\\_SB.PCI0', '5c2e5f53425f50434930'],
    ['\\_SB.PCI0.S08', '5c2f035f53425f504349305330385f'],
  ])('%s', (path, bytes) => expect(hex(namePath(path))).toBe(bytes));

  test.each(['', 'abc', '1ABC', 'ABCDE', 'A.', '\\'])('%j is no name', (path) => {
    expect(() => encode(namePath(path))).toThrow(RangeError);
  });
});

describe('package lengths at their edges (ACPI §20.2.4)', () => {
  // Scope (ABCD) { filler }: opcode, length, four bytes of name, filler. The length counts itself.
  test.each([
    [0, '05'],
    [0x3f - 5, '3f'],
    [0x3f - 4, '4104'],
    [0xfff - 6, '4fff'],
    [0xfff - 5, '810001'],
    [0xf_ffff - 7, '8fffff'],
    [0xf_ffff - 6, 'c1000001'],
  ])('with %i bytes of content', (count, length) => {
    const bytes = hex(scope('ABCD', filler(count)));
    expect(bytes.slice(2, 2 + length.length)).toBe(length);
    expect(bytes.slice(2 + length.length, 10 + length.length)).toBe('41424344');
    expect(bytes.length / 2).toBe(1 + length.length / 2 + 4 + count);
  });
});

test('EISA ids are those of the specification', () => {
  expect(hex(eisaId('PNP0A03'))).toBe('0c41d00a03');
  expect(hex(eisaId('PNP0501'))).toBe('0c41d00501');
  expect(() => eisaId('QEMU0001')).toThrow(RangeError);
});

test('a UUID is a buffer with its first three groups swapped', () => {
  expect(hex(uuid('33DB4D5B-1FF7-401C-9657-7441C03DD766'))).toBe('11130a105b4ddb33f71f1c4096577441c03dd766');
  expect(() => uuid('33DB4D5B')).toThrow(RangeError);
});

test('strings end in zero and are ASCII', () => {
  expect(hex(string('ACPI0007'))).toBe('0d414350493030303700');
  expect(() => encode(string('ä'))).toThrow(RangeError);
});

test('a package holds at most 255 elements', () => {
  expect(() => encode(packageOf(...Array.from({ length: 256 }, () => integer(0))))).toThrow(RangeError);
});

describe.skipIf(noIasl !== undefined)('iasl reads', () => {
  const table = (...terms: Aml[]): Uint8Array => {
    const body = encode(...terms);
    const { bytes } = newTable('DSDT', 2, 36 + body.length);
    bytes.set(body, 36);
    return seal(bytes);
  };

  test('every resource descriptor as what was meant', () => {
    const { source, messages, recompiled } = roundTrip(
      table(
        device(
          'DEV0',
          name('_HID', eisaId('PNP0C02')),
          name(
            '_CRS',
            resources.resourceTemplate(
              resources.io({ base: 0x3f8, size: 8 }),
              resources.irq(4),
              resources.interrupt(23, 'level', 'low'),
              resources.interrupt(5, 'edge', 'high'),
              resources.memory32Fixed({ start: 0xe000_0000, size: 0x1000_0000 }),
              resources.wordBusNumber(0, 256),
              resources.wordIo(0xd00, 0xf300),
              resources.dwordMemory({ start: 0xc000_0000, size: 0x2000_0000 }),
              resources.qwordMemory({ start: 0x80_0000_0000, size: 0x4000_0000 }),
            ),
          ),
        ),
      ),
    );
    expect(complaints(messages)).toEqual([]);
    const flat = source.replace(/\/\/.*$/gm, '').replace(/\s+/g, ' ');
    for (const expected of [
      'IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08',
      'IRQNoFlags () {4}',
      'Interrupt (ResourceConsumer, Level, ActiveLow, Exclusive, ,, ) { 0x00000017, }',
      'Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000005, }',
      'Memory32Fixed (ReadWrite, 0xE0000000, 0x10000000',
      'WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0x0000, 0x0000, 0x00FF, 0x0000, 0x0100',
      'WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300',
      'DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x00000000, 0xC0000000, 0xDFFFFFFF, 0x00000000, 0x20000000',
      'QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0x0000000000000000, 0x0000008000000000, 0x000000803FFFFFFF, 0x0000000000000000, 0x0000000040000000',
    ]) {
      expect(flat).toContain(expected);
    }
    expect(recompiled.length).toBeGreaterThan(36);
  });

  test('packages of every length form', () => {
    const sizes = [10, 100, 5000];
    const bytes = table(...sizes.map((size, i) => name(`BUF${i}`, buffer(filler(size)))));
    const { messages, recompiled } = roundTrip(bytes);
    expect(complaints(messages)).toEqual([]);
    expect(recompiled.subarray(36).equals(bytes.subarray(36))).toBe(true);
  });
});
