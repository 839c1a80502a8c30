/**
 * System calls with the retry that the shim leaves out, and the few that the machine needs by name. Any thread.
 */
import { native } from './addon.js';
import { Errno } from './errno.js';
import type { Argument } from './native.js';

/** x86-64 system call numbers (linux/arch/x86/entry/syscalls/syscall_64.tbl). */
export const Sys = {
  read: 0,
  write: 1,
  open: 2,
  lseek: 8,
  mmap: 9,
  ioctl: 16,
  pread64: 17,
  pwrite64: 18,
  madvise: 28,
  fcntl: 72,
  fsync: 74,
  fdatasync: 75,
  ftruncate: 77,
  getpriority: 140,
  setpriority: 141,
  futex: 202,
  clockGettime: 228,
  epollWait: 232,
  epollCtl: 233,
  timerfdCreate: 283,
  fallocate: 285,
  timerfdSettime: 286,
  eventfd2: 290,
  epollCreate1: 291,
  preadv2: 327,
  pwritev2: 328,
  statx: 332,
  getrandom: 318,
  memfdCreate: 319,
  userfaultfd: 323,
  copyFileRange: 326,
  ioUringSetup: 425,
  ioUringEnter: 426,
  ioUringRegister: 427,
} as const;

/** A system call, retried while a signal interrupts it (contract §1.7). Result or -errno. */
export function syscall(
  number: number,
  a?: Argument,
  b?: Argument,
  c?: Argument,
  d?: Argument,
  e?: Argument,
  f?: Argument,
): number {
  const shim = native();
  for (;;) {
    const result = shim.syscall(number, a, b, c, d, e, f);
    if (result !== -Errno.EINTR) return result;
  }
}

/** Room for a system call of `syscallBy`: its number, its arguments. */
export const callWords = (...words: readonly number[]): Float64Array => {
  const room = new Float64Array(7);
  room.set(words);
  return room;
};

/** As `syscall`, without allocating anything whatever the arguments are. */
export function syscallBy(words: Float64Array): number {
  const shim = native();
  for (;;) {
    const result = shim.syscallBy(words);
    if (result !== -Errno.EINTR) return result;
  }
}

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** A new non-blocking eventfd, or -errno. The calling environment holds it. */
export const eventFd = (): number => native().openFd(Sys.eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);

export const closeFd = (fd: number): number => native().closeFd(fd);

const PRIO_PROCESS = 0;

/** The kernel answers 20 less the nice value, so that no answer is negative (getpriority(2)). */
const niceOffset = 20;

/** Makes the calling thread at least this nice: one that already is nicer, as its program wanted, stays so, root's too. */
export function raiseNice(nice: number): void {
  const tid = native().threadId();
  const current = niceOffset - syscall(Sys.getpriority, PRIO_PROCESS, tid);
  if (current < nice) syscall(Sys.setpriority, PRIO_PROCESS, tid, nice);
}
