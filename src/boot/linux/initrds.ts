/**
 * Several initrds as one (Linux Documentation/driver-api/early-userspace/buffer-format.rst). Main thread.
 */

/** The kernel unpacks concatenated archives that are padded to 4 bytes with zeros. */
const alignment = 4;

export const paddedSize = (length: number): number => Math.ceil(length / alignment) * alignment;

/** One is not copied; none is undefined. */
export function joinInitrds(initrds: readonly Buffer[]): Buffer | undefined {
  if (initrds.length < 2) return initrds[0];
  const joined = Buffer.alloc(initrds.reduce((total, { length }) => total + paddedSize(length), 0));
  let at = 0;
  for (const initrd of initrds) {
    initrd.copy(joined, at);
    at += paddedSize(initrd.length);
  }
  return joined;
}
