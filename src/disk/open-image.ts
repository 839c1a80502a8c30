/**
 * Access to an image file or block device: its descriptor, size and lock. Main thread.
 *
 * Read-only is a property of the descriptor, so nothing above can write (trap T17, T32).
 */
import { constants, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { Sys, syscall } from '../host/system.js';
import { closeFd, fileStatus, openFd, setSize } from './file-calls.js';
import { type LockKind, lockFile, lockHolder } from './file-lock.js';
import { notADisk, refuseOtherKinds, refusePartOfSector } from './not-a-disk.js';
import { quote } from './range.js';

/** _IOR(0x12, 114, size_t) of linux/fs.h. */
const BLKGETSIZE64 = 0x8008_1272;
const F_SETFL = 4;

/** A descriptor of a regular file or block device. */
export async function openImage(path: string, writes: boolean): Promise<number> {
  // Before open(2): opening a pipe would wait for its writer, opening a character device can have side effects.
  const kind = await stat(path).catch((cause) => Promise.reject(hostRefused(path, cause, writes)));
  refuseOtherKinds(path, kind);
  // On a block device O_EXCL means: not while it is mounted (open(2)).
  const exclusive = writes && kind.isBlockDevice() ? constants.O_EXCL : 0;
  const flags = (writes ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK | exclusive;
  const fd = await openFd(path, flags).catch((cause) => Promise.reject(hostRefused(path, cause, writes)));
  // What was opened may not be what was looked at; and with O_NONBLOCK cold reads would answer EAGAIN.
  const refused = await fileStatus(fd)
    .then((stats) => refuseOtherKinds(path, stats))
    .catch((error: unknown) => error);
  if (refused === undefined) {
    const cleared = syscall(Sys.fcntl, fd, F_SETFL, 0);
    if (cleared >= 0) return fd;
  }
  await closeFd(fd);
  throw refused ?? new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be opened for waiting reads`);
}

export function sizeOf(path: string, fd: number, stats: Stats): number {
  const size = stats.isBlockDevice() ? deviceSize(path, fd) : stats.size;
  if (size === 0)
    throw notADisk(path, 'is empty', 'Give a disk image with content, or make one: truncate -s 10G FILE.');
  refusePartOfSector(path, size);
  return size;
}

function deviceSize(path: string, fd: number): number {
  const size = new BigUint64Array(1);
  const result = native().ioctl(fd, BLKGETSIZE64, size);
  if (result >= 0) return Number(size[0]);
  throw new TsvmmError(
    'ERR_TSVMM_DISK_IO',
    `the size of the block device ${quote(path)} is not known: ${errnoName(result)}`,
  );
}

/** A file that is larger already stays as it is. */
export async function extend(path: string, fd: number, size: number): Promise<void> {
  const stats = await fileStatus(fd);
  if (stats.isBlockDevice()) {
    const room = deviceSize(path, fd);
    if (size > room) throw cannotGrow(path, size, new Error(`the device has ${room} bytes`));
  } else if (stats.size < size) {
    await setSize(fd, size).catch((cause) => Promise.reject(cannotGrow(path, size, cause)));
  }
}

export const cannotGrow = (path: string, size: number, cause: Error): TsvmmError =>
  new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be extended to ${size} bytes: ${cause.message}`, {
    hint: 'make room on its file system, or extend the device first',
    details: { path, size },
    cause,
  });

export async function lockImage(path: string, fd: number, kind: LockKind): Promise<void> {
  const result = lockFile(fd, kind);
  if (result >= 0) return;
  if (result !== -Errno.EAGAIN) {
    throw new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be locked: ${errnoName(result)}`, {
      hint: 'Keep disk images on a file system with locks: a local one, or NFS with its lock service running.',
      details: { path, errno: errnoName(result) },
    });
  }
  const holder = await lockHolder(path);
  throw new TsvmmError('ERR_TSVMM_DISK_LOCKED', `${quote(path)} is in use by ${holder ?? 'another process'}`, {
    hint:
      kind === 'write'
        ? 'Stop whoever uses it, or give each machine a copy of its own. Machines may share an image that all of them open read-only or ephemeral.'
        : 'Somebody may be writing it. Stop whoever uses it, or make a copy.',
    details: { path, holder },
  });
}

/** What the host's answer to a path means to the user. */
function hostRefused(path: string, cause: NodeJS.ErrnoException, writes: boolean): TsvmmError {
  const orReadOnly = ', or open the disk read-only or ephemeral';
  const known: Readonly<Record<string, [says: string, hint: string]>> = {
    ENOENT: ['does not exist', 'Check the path of the disk image.'],
    ENOTDIR: ['does not exist (a part of its path is no directory)', 'Check the path of the disk image.'],
    ELOOP: ['is a loop of symbolic links', 'Give the path of the disk image itself.'],
    EACCES: writes
      ? ['may not be read and written', `Give your user permission to write the image${orReadOnly}.`]
      : ['may not be read', 'Give your user permission to read the image and the folders above it.'],
    EPERM: ['may not be written', `Check its attributes with lsattr${orReadOnly}.`],
    EROFS: ['is on a read-only file system', `Copy it${orReadOnly}.`],
    ETXTBSY: ['is being executed', 'Copy it.'],
    EBUSY: ['is in use: it is mounted, or part of another device', `Unmount it${orReadOnly}.`],
    ENXIO: ['has no medium', 'Check the device.'],
    EMFILE: ['cannot be opened: too many open files', raiseOpenFiles],
  };
  const [says, hint] = known[cause.code ?? ''] ?? [`cannot be opened: ${cause.message}`, undefined];
  const code = cause.code === 'EBUSY' ? 'ERR_TSVMM_DISK_LOCKED' : 'ERR_TSVMM_DISK_IO';
  return new TsvmmError(code, `${quote(path)} ${says}`, { hint, details: { path, errno: cause.code }, cause });
}
