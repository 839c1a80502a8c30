/**
 * The three checksums of ext4 and jbd2. All take and return the raw running value: no final inversion, as the on-disk
 * formats want it. Main thread.
 *
 * CRC-32C (reflected 0x1EDC6F41): metadata_csum, journal v2 and v3. CRC-16 (reflected 0x8005): uninit_bg group
 * descriptors. CRC-32 most significant bit first (0x04C11DB7): journal v1 commit blocks.
 */
const crc32cTable = reflectedTable(0x82f63b78);
const crc16Table = reflectedTable(0xa001);
const crc32beTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = (byte << 24) >>> 0;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1) >>> 0;
  return crc;
});

/** What every checksum here starts from. */
export const crcStart = 0xffffffff;
export const crc16Start = 0xffff;

export const crc32c = (crc: number, bytes: Uint8Array): number => reflected(crc32cTable, crc, bytes);
export const crc16 = (crc: number, bytes: Uint8Array): number => reflected(crc16Table, crc, bytes);

export function crc32be(crc: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc << 8) ^ crc32beTable[((crc >>> 24) ^ bytes[i]!) & 0xff]!;
  return crc >>> 0;
}

/** `crc32c` over a 32-bit number as it lies on the disk. */
export function crc32cOfU32(crc: number, value: number, order: 'little' | 'big' = 'little'): number {
  const bytes = Buffer.alloc(4);
  if (order === 'little') bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return crc32c(crc, bytes);
}

/** `crc32c` over `bytes` with the checksum fields in `holes` taken as zero. */
export function crc32cWithout(crc: number, bytes: Buffer, ...holes: { at: number; length: number }[]): number {
  const copy = Buffer.from(bytes);
  for (const { at, length } of holes) copy.fill(0, at, at + length);
  return crc32c(crc, copy);
}

function reflected(table: Uint32Array, crc: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return crc >>> 0;
}

function reflectedTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    return crc >>> 0;
  });
}
