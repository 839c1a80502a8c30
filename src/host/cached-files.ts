/**
 * Opens and reads files at once where the kernel need not wait for a device: it refuses otherwise (openat2(2) with
 * RESOLVE_CACHED, Linux 5.12; preadv2(2) with RWF_NOWAIT). Main thread.
 *
 * The way to libuv's threads and back takes a third of a millisecond, ten times as long as the call itself.
 */
import { native } from './addon.js';
import { struct } from './layout.js';
import { Sys, syscall } from './system.js';

/** linux/openat2.h. */
const OpenHow = struct('open_how', { flags: 'u64', mode: 'u64', resolve: 'u64' });
const RESOLVE_CACHED = 0x20;
const O_CLOEXEC = 0o2000000;
const RWF_NOWAIT = 8;

/** The directory that relative paths of this process begin in. */
export const currentDirectory = -100;

/**
 * Opens `path`, which begins in the directory `from`. The calling environment holds the descriptor. Undefined when it has to be
 * opened in the usual way, which also finds out why it cannot be.
 */
export function openCached(from: number, path: string, flags: number): number | undefined {
  if ('permission' in process || path.includes('\0')) return undefined; // what may be read is for Node to say
  const how = new DataView(new ArrayBuffer(OpenHow.size));
  how.setBigUint64(OpenHow.offset.flags, BigInt(flags | O_CLOEXEC), true);
  how.setBigUint64(OpenHow.offset.resolve, BigInt(RESOLVE_CACHED), true);
  const fd = native().openFd(Sys.openat2, from, Buffer.from(`${path}\0`), how, OpenHow.size);
  return fd < 0 ? undefined : fd;
}

/** Fills `into` from `position` on. False when it has to be read in the usual way: nothing can be said of it. */
export function readCached(fd: number, into: Uint8Array, position: number): boolean {
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
