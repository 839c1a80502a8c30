/**
 * CRC-32C (reflected 0x1EDC6F41), which ext4, jbd2 and XFS protect their structures with. Main thread.
 *
 * All functions take and return the raw running value, without a final inversion: ext4 stores it so, XFS inverted.
 */
const table = reflectedTable(0x82f63b78);

/** What every checksum here starts from. */
export const crcStart = 0xffffffff;

export const crc32c = (crc: number, bytes: Uint8Array): number => reflected(table, crc, bytes);

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

/** One step for each byte of a checksum that takes the least significant bit first. */
export function reflected(table: Uint32Array, crc: number, bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return crc >>> 0;
}

export function reflectedTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    return crc >>> 0;
  });
}
