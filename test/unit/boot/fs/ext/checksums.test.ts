/** The three checksums against the check values of the catalogue of parametrised CRC algorithms. */
import { expect, test } from 'vitest';
import { crc32c, crc32cOfU32, crc32cWithout, crcStart } from '../../../../../src/boot/fs/crc32c.js';
import { crc16, crc32be } from '../../../../../src/boot/fs/ext/checksums.js';

const check = Buffer.from('123456789');

test('check values', () => {
  expect((~crc32c(crcStart, check) >>> 0).toString(16)).toBe('e3069283'); // CRC-32/ISCSI
  expect(crc16(0xffff, check).toString(16)).toBe('4b37'); // CRC-16/MODBUS
  expect(crc32be(crcStart, check).toString(16).padStart(8, '0')).toBe('0376e6e7'); // CRC-32/MPEG-2
});

test('in parts, over numbers and over holes', () => {
  expect(crc32c(crc32c(crcStart, check.subarray(0, 4)), check.subarray(4))).toBe(crc32c(crcStart, check));
  expect(crc32cOfU32(crcStart, 0x34333231)).toBe(crc32c(crcStart, check.subarray(0, 4)));
  expect(crc32cOfU32(crcStart, 0x31323334, 'big')).toBe(crc32c(crcStart, check.subarray(0, 4)));
  expect(crc32cWithout(crcStart, check, { at: 2, length: 3 })).toBe(crc32c(crcStart, Buffer.from('12\0\0\x006789')));
  expect(check.toString()).toBe('123456789');
});
