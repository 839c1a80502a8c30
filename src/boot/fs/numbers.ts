/**
 * Reading wide numbers from on-disk structures. Main thread.
 */
const two32 = 2 ** 32;
/** High words from here on make numbers that a double cannot hold exactly; nothing on a disk is that large. */
const maxHighWord = 2 ** 21;

/** A little-endian 64-bit number; undefined when it is not exact as a plain number (and so lies outside every disk). */
export function readU64(bytes: Buffer, at: number): number | undefined {
  return joinU64(bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4));
}

/** The same, big-endian. */
export function readU64BE(bytes: Buffer, at: number): number | undefined {
  return joinU64(bytes.readUInt32BE(at + 4), bytes.readUInt32BE(at));
}

export function joinU64(low: number, high: number): number | undefined {
  return high < maxHighWord ? high * two32 + low : undefined;
}
