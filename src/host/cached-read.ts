/**
 * Reads of a file what the kernel has of it, at once: it refuses where it would have to wait for a device (preadv2(2) with
 * RWF_NOWAIT). Any thread.
 *
 * The way to libuv's threads and back takes a third of a millisecond, many times as long as such a read.
 */
import { native } from './addon.js';
import { Sys, syscall } from './system.js';

const RWF_NOWAIT = 8;

/** Fills `into` from `position` on. False when it has to be read in the usual way: nothing can be said of it. */
export function readCached(fd: number, into: Uint8Array, position: number): boolean {
  if (!hasShim()) return false;
  const vector = new BigUint64Array(2);
  for (let done = 0; done < into.length; ) {
    const rest = into.subarray(done);
    vector[0] = BigInt(native().addressOf(rest));
    vector[1] = BigInt(rest.length);
    const count = syscall(Sys.preadv2, fd, vector, 1, position + done, 0, RWF_NOWAIT);
    if (count <= 0) return false;
    done += count;
  }
  return true;
}

/** Who only reads files may be where there is none. */
function hasShim(): boolean {
  try {
    native();
    return true;
  } catch {
    return false;
  }
}
