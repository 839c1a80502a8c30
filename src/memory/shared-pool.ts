/**
 * Shared memory of machines that have ended, for machines to come. Main thread, one pool per importing environment.
 *
 * A SharedArrayBuffer cannot be given back: it stays until every thread that has seen it has collected it, and V8 does not
 * count it where it decides when to collect. An I/O worker that serves one machine after the other would keep hundreds.
 * So each is used again, for what needs the same size. What nobody uses takes no room: its pages are given back.
 *
 * Whoever gives memory back promises that no thread reads or writes it any more.
 */
import { native } from '../host/addon.js';
import { Sys, syscall } from '../host/system.js';

const pageSize = 4096;
const MADV_DONTNEED = 4;
/** Less is cleared at once. */
const fewPages = 4 * pageSize;
/** Kept at most: as many machines as may end together, and address space. */
const most = 64;
const mostBytes = 256 * 2 ** 20;

/** The newest is last. */
const idle: SharedArrayBuffer[] = [];
let idleBytes = 0;

/** Zeroes. */
export function takeShared(bytes: number): SharedArrayBuffer {
  for (let at = idle.length - 1; at >= 0; at--) if (idle[at]!.byteLength === bytes) return remove(at);
  return new SharedArrayBuffer(bytes);
}

export function giveShared(buffer: SharedArrayBuffer): void {
  if (buffer.byteLength > mostBytes || !clear(new Uint8Array(buffer))) return; // V8 will collect it
  idle.push(buffer);
  idleBytes += buffer.byteLength;
  while (idle.length > most || idleBytes > mostBytes) remove(0);
}

function remove(at: number): SharedArrayBuffer {
  const [buffer] = idle.splice(at, 1);
  idleBytes -= buffer!.byteLength;
  return buffer!;
}

/** False if the host does not take the pages back (they are locked), where clearing would make all of them real. */
function clear(bytes: Uint8Array): boolean {
  if (bytes.length <= fewPages) {
    bytes.fill(0);
    return true;
  }
  const address = native().addressOf(bytes);
  const first = Math.ceil(address / pageSize) * pageSize - address;
  const end = Math.floor((address + bytes.length) / pageSize) * pageSize - address;
  if (syscall(Sys.madvise, address + first, end - first, MADV_DONTNEED) < 0) return false;
  bytes.fill(0, 0, first).fill(0, end);
  return true;
}
