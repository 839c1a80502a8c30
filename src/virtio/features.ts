/**
 * Sets of feature bits (virtio 1.2 §2.2, §6). Any thread; pure.
 *
 * A set is two 32-bit words, never a BigInt and never one number: bit operations are 32 bits wide.
 */

/** Not a legacy device (§6.1). Bits of the ring format are in queue/ring-format.ts, those of devices with the devices. */
export const VIRTIO_F_VERSION_1 = 32;

/** Bits 0-31 and bits 32-63, each unsigned. */
export type FeatureWords = readonly [low: number, high: number];

export function featureWords(bits: readonly number[]): FeatureWords {
  let low = 0;
  let high = 0;
  for (const bit of bits) {
    if (!(Number.isInteger(bit) && bit >= 0 && bit < 64)) throw new RangeError(`feature bit ${bit}`);
    if (bit < 32) low = (low | (1 << bit)) >>> 0;
    else high = (high | (1 << (bit - 32))) >>> 0;
  }
  return [low, high];
}

export const hasFeature = ([low, high]: FeatureWords, bit: number): boolean =>
  (((bit < 32 ? low : high) >>> (bit & 31)) & 1) === 1;

/** Every bit of `a` is in `b`. */
export const isSubset = (a: FeatureWords, b: FeatureWords): boolean => (a[0] & ~b[0]) === 0 && (a[1] & ~b[1]) === 0;

/** What the driver accepted. Behaviour is gated on this, not on what was offered (trap T15). */
export const negotiatedFeatures = (device: {
  readonly driverFeatures0: number;
  readonly driverFeatures1: number;
}): FeatureWords => [device.driverFeatures0, device.driverFeatures1];
