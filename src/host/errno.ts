/** Names of the Linux error numbers that tsvmm meets, for messages. Any thread. */
import { constants } from 'node:os';

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EMFILE: 24,
  ENOTTY: 25,
  ENOSPC: 28,
  ENOSYS: 38,
  EOPNOTSUPP: 95,
  ENOMEDIUM: 123,
  ECANCELED: 125,
} as const;

/** "ENOMEM" for -12 or 12. */
export const errnoName = (result: number): string => names.get(Math.abs(result)) ?? `errno ${Math.abs(result)}`;

/** What a call failed with, -errno, as an error with a code as Node's have: whoever reports it knows the remedy by that. */
export const systemError = (call: string, result: number): Error =>
  Object.assign(new Error(`${call} failed: ${errnoName(result)}`), { code: errnoName(result) });
