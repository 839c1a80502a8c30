/**
 * The checksums of ext4 and jbd2 besides CRC-32C. They take and return the raw running value: no final inversion, as the
 * on-disk formats want it. Main thread.
 *
 * CRC-16 (reflected 0x8005): uninit_bg group descriptors. CRC-32 most significant bit first (0x04C11DB7): journal v1
 * commit blocks; it starts from `crcStart` too.
 */
import { reflected, reflectedTable } from '../crc32c.js';

const crc16Table = reflectedTable(0xa001);
const crc32beTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = (byte << 24) >>> 0;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1) >>> 0;
  return crc;
});

export const crc16Start = 0xffff;

export const crc16 = (crc: number, bytes: Uint8Array): number => reflected(crc16Table, crc, bytes);

export function crc32be(crc: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc << 8) ^ crc32beTable[((crc >>> 24) ^ bytes[i]!) & 0xff]!;
  return crc >>> 0;
}
