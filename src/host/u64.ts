/** Numbers of 64 bits in structures of KVM and of a guest's. Any thread. */

/** `view.setBigUint64` without a BigInt, for an exact integer below 2^53. */
export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}
