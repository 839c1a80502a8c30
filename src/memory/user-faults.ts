/**
 * Memory whose pages are supplied when they are first touched: userfaultfd(2), Linux Documentation/admin-guide/mm/
 * userfaultfd.rst, linux/userfaultfd.h; contract §4.11. Any thread.
 *
 * Whoever touches a page that is missing waits in the kernel, whichever thread it is, until somebody else has supplied it.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { struct } from '../host/layout.js';
import { closeFd, Sys, syscall } from '../host/system.js';

const UffdioApi = struct('uffdio_api', { api: 'u64', features: 'u64', ioctls: 'u64' });
const UffdioRange = struct('uffdio_range', { start: 'u64', len: 'u64' });
const UffdioRegister = struct('uffdio_register', { range: UffdioRange, mode: 'u64', ioctls: 'u64' });
const UffdioCopy = struct('uffdio_copy', { dst: 'u64', src: 'u64', len: 'u64', mode: 'u64', copy: 'u64' });

const UFFD_API = 0xaa;
const UFFDIO_API = 0xc018_aa3f;
const UFFDIO_REGISTER = 0xc020_aa00;
const UFFDIO_WAKE = 0x8010_aa02;
const UFFDIO_COPY = 0xc028_aa03;
const UFFDIO_REGISTER_MODE_MISSING = 1;
const UFFDIO_REGISTER_MODE_WP = 2;
const UFFD_USER_MODE_ONLY = 1;
const UFFD_FEATURE_WP_ASYNC = 1 << 15;
const USERFAULTFD_IOC_NEW = 0xaa00;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** `struct uffd_msg` is packed: event, then for a page fault flags, address and more. */
const messageSize = 32;
const addressAt = 16;
const UFFD_EVENT_PAGEFAULT = 0x12;
const messagesAtOnce = 16;

const pageSize = 4096;

/**
 * A descriptor by which faults are read and answered, the kernel's own among them. The calling environment holds it. Throws
 * `ERR_TSVMM_CONFIG` when this process may have none.
 */
export function openUserFaults(): number {
  const flags = O_CLOEXEC | O_NONBLOCK;
  let fd = native().openFd(Sys.userfaultfd, flags);
  if (fd === -Errno.EPERM) fd = openByDevice(flags);
  if (fd >= 0) fd = agree(fd, 0);
  if (fd < 0) throw refused(fd);
  return fd;
}

/** Linux 6.1; who may open it is for the host's administrator to say. */
function openByDevice(flags: number): number {
  const device = native().openFd(Sys.open, Buffer.from('/dev/userfaultfd\0'), O_RDWR | O_CLOEXEC);
  if (device < 0) return -Errno.EPERM;
  const fd = native().openFd(Sys.ioctl, device, USERFAULTFD_IOC_NEW, flags);
  closeFd(device);
  return fd;
}

/** A descriptor by which pages are protected from being written until somebody writes them (Linux 6.7); or -errno. */
export function openWriteProtection(): number {
  // Nobody is asked about a fault, the kernel's own or not, so that any user may have it.
  const fd = native().openFd(Sys.userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  return fd < 0 ? fd : agree(fd, UFFD_FEATURE_WP_ASYNC);
}

/** `fd`, or -errno, and it is closed. */
function agree(fd: number, features: number): number {
  const api = new DataView(new ArrayBuffer(UffdioApi.size));
  api.setBigUint64(UffdioApi.offset.api, BigInt(UFFD_API), true);
  api.setBigUint64(UffdioApi.offset.features, BigInt(features), true);
  const result = syscall(Sys.ioctl, fd, UFFDIO_API, api);
  if (result >= 0) return fd;
  closeFd(fd);
  return result;
}

/** Pages of this range, anonymous memory in which nothing was touched, wait for `supply`. */
export function registerMissing(fd: number, address: number, length: number): void {
  const result = register(fd, address, length, UFFDIO_REGISTER_MODE_MISSING);
  if (result < 0) throw refused(result);
}

/** Pages of this range, of any kind, can be protected. 0, or -errno. */
export const registerProtected = (fd: number, address: number, length: number): number =>
  register(fd, address, length, UFFDIO_REGISTER_MODE_WP);

function register(fd: number, address: number, length: number, mode: number): number {
  const request = new DataView(new ArrayBuffer(UffdioRegister.size));
  request.setBigUint64(UffdioRange.offset.start, BigInt(address), true);
  request.setBigUint64(UffdioRange.offset.len, BigInt(length), true);
  request.setBigUint64(UffdioRegister.offset.mode, BigInt(mode), true);
  return syscall(Sys.ioctl, fd, UFFDIO_REGISTER, request);
}

export class FaultReader {
  readonly #fd: number;
  readonly #messages = new DataView(new ArrayBuffer(messageSize * messagesAtOnce));

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Calls `onFault` with the addresses of some pages that somebody waits for. False when there was none. */
  read(onFault: (address: number) => void): boolean {
    const count = syscall(Sys.read, this.#fd, this.#messages, this.#messages.byteLength);
    for (let at = 0; at < count; at += messageSize) {
      if (this.#messages.getUint8(at) !== UFFD_EVENT_PAGEFAULT) continue;
      onFault(Number(this.#messages.getBigUint64(at + addressAt, true)));
    }
    return count > 0;
  }
}

/** Supplies whole pages and wakes whoever waits for them; what is there already stays as it is. 0, or -errno. */
export function supply(fd: number, address: number, source: Uint8Array): number {
  const request = new DataView(new ArrayBuffer(UffdioCopy.size));
  const at = UffdioCopy.offset;
  const from = BigInt(native().addressOf(source));
  for (let done = 0; done < source.length; ) {
    request.setBigUint64(at.dst, BigInt(address + done), true);
    request.setBigUint64(at.src, from + BigInt(done), true);
    request.setBigUint64(at.len, BigInt(source.length - done), true);
    request.setBigInt64(at.copy, 0n, true);
    const result = syscall(Sys.ioctl, fd, UFFDIO_COPY, request);
    if (result === 0) return 0;
    if (result === -Errno.EEXIST) {
      wake(fd, address + done, pageSize);
      done += pageSize;
    } else if (result === -Errno.EAGAIN) done += Math.max(0, Number(request.getBigInt64(at.copy, true)));
    else return result;
  }
  return 0;
}

/** Whoever waits for a page of this range tries again. */
export function wake(fd: number, address: number, length: number): void {
  const range = new DataView(new ArrayBuffer(UffdioRange.size));
  range.setBigUint64(UffdioRange.offset.start, BigInt(address), true);
  range.setBigUint64(UffdioRange.offset.len, BigInt(length), true);
  syscall(Sys.ioctl, fd, UFFDIO_WAKE, range);
}

const MFD_CLOEXEC = 1;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_NORESERVE = 0x4012;

/** A file without a byte, for `cutOff`; or -errno. */
export const emptyFile = (): number => native().openFd(Sys.memfdCreate, Buffer.from('tsvmm-empty\0'), MFD_CLOEXEC);

/**
 * Takes memory away from under whoever uses it or waits for it: every access is a SIGBUS from now on, or EFAULT where the kernel
 * makes it for somebody. Zeroes in the place of what never came would end up on the guest's disks. The range is still the
 * caller's.
 */
export function cutOff(fd: number, empty: number, address: number, length: number): void {
  syscall(Sys.mmap, address, length, PROT_READ_WRITE, MAP_PRIVATE_FIXED_NORESERVE, empty, 0);
  wake(fd, address, length);
}

const refused = (result: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `pages: this program may not supply memory on demand: ${errnoName(result)}`, {
    hint:
      result === -Errno.EPERM
        ? 'as root: sysctl vm.unprivileged_userfaultfd=1, or give this user /dev/userfaultfd; or read all of it before the guest goes on: pages: { read, eager: true }'
        : 'read all of it before the guest goes on: pages: { read, eager: true }',
  });
