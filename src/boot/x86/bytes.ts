/**
 * 64-bit little-endian fields as plain numbers, for tables that are built or parsed once per start. Any thread.
 */
const TWO_32 = 0x1_0000_0000;

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Exact below 2^53. A larger value comes back rounded but still larger than anything a file or guest memory holds, so a
 * range check made with it refuses as it should.
 */
export const getU64 = (view: DataView, offset: number): number =>
  view.getUint32(offset + 4, true) * TWO_32 + view.getUint32(offset, true);
