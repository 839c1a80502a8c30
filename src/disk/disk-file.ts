/**
 * Opens a raw disk for a guest: access, lock, size, and the private file of an ephemeral one. Main thread.
 *
 * Read-only is a property of the descriptor, so nothing above can write (trap T17, T32). A writable disk excludes every
 * other user, a read-only one excludes writers. The content is not looked at here: formats are refused where images are
 * probed (raw-image.ts).
 */
import { close as closeCallback, constants, fstat, ftruncate, open as openCallback, type Stats, unlink } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { randomBytes } from '../host/random.js';
import { Sys, syscall } from '../host/system.js';
import { giveShared } from '../memory/shared-pool.js';
import { openDirect } from './direct-io.js';
import type { OpenFileDisk, OpenOverlay } from './disk-map.js';
import { type LockKind, lockFile, lockHolder } from './file-lock.js';
import { allocateWritten, extendWritten } from './overlay-written.js';
import { quote } from './range.js';

/** docs/disks.md says what each promises. */
export type CacheMode = 'writeback' | 'direct' | 'unsafe';

export interface DiskFileOptions {
  readonly path: string;
  readonly readOnly?: boolean | undefined;
  /** Writes go to a private file that ends with the disk; `limit` bounds it in bytes. The image is not written. */
  readonly ephemeral?: boolean | { readonly limit: number } | undefined;
  /** 'writeback' unless given. */
  readonly cache?: CacheMode | undefined;
  /** Where the private file is made; /var/tmp, which is seldom memory, unless given. */
  readonly temporaryDirectory?: string | undefined;
}

export interface DiskFile extends AsyncDisposable {
  readonly path: string;
  /** Bytes; a multiple of 512. */
  readonly size: number;
  /** As the guest sees it. */
  readonly readOnly: boolean;
  /** Bytes that the host likes to transfer at a time: st_blksize of the image. */
  readonly ioSize: number;
  /** For the I/O worker. Its descriptors are this object's. */
  readonly open: OpenFileDisk;
  /**
   * Makes it larger: a file is extended, unless it is as large already, a device must have the room. `open` is another one
   * afterwards; nobody uses the one before meanwhile. Rejects with everything as it was.
   */
  grow(size: number): Promise<void>;
  /** Closes the descriptors and with them the lock. No operation may be outstanding. */
  close(): Promise<void>;
}

const openFd = promisify(openCallback);
const closeFd = promisify(closeCallback);
const fileStatus = promisify(fstat);
const removeFile = promisify(unlink);
const setSize = promisify(ftruncate);

const sectorSize = 512;
/** _IOR(0x12, 114, size_t) of linux/fs.h. */
const BLKGETSIZE64 = 0x8008_1272;
const F_SETFL = 4;
const O_TMPFILE = 0o20_200_000;
const temporaryDirectories = ['/var/tmp', '/tmp'] as const;

/**
 * Rejects with `ERR_TSVMM_DISK_IO` when the host refuses the path, `ERR_TSVMM_DISK_FORMAT` when what is there is no disk,
 * and `ERR_TSVMM_DISK_LOCKED` when somebody else uses it.
 */
export async function openDiskFile(options: DiskFileOptions): Promise<DiskFile> {
  const { path, ephemeral = false } = options;
  const readOnly = options.readOnly ?? false;
  if (readOnly && ephemeral !== false) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `${quote(path)} is to be read-only and ephemeral at once`, {
      hint: 'choose one: a read-only disk is never written, an ephemeral one forgets what was written',
    });
  }
  const fds: number[] = [];
  try {
    const writes = !readOnly && ephemeral === false;
    const base = await openImage(path, writes);
    fds.push(base);
    const stats = await fileStatus(base);
    const size = sizeOf(path, base, stats);
    const ioSize = stats.blksize;
    await lock(path, base, writes ? 'write' : 'read');
    const direct = options.cache === 'direct' ? await openDirect(path, base, size) : undefined;
    if (ephemeral === false) {
      const unsafe = options.cache === 'unsafe';
      const brief = !readOnly && direct === undefined && (await fileSystemOf(base)).brief;
      const open: OpenFileDisk = { kind: 'file', fd: base, size, readOnly, direct, unsafe, writesBriefly: brief };
      return new OpenFile(path, open, ioSize, fds);
    }
    const overlay = await openTemporary(path, size, options.temporaryDirectory);
    fds.push(overlay);
    const limit = ephemeral === true ? undefined : ephemeral.limit;
    const written = writtenBits(path, size, limit);
    const { brief, freeing } = await fileSystemOf(overlay);
    const files = {
      layers: [{ fd: base, direct: direct !== undefined }],
      overlay,
      written,
      direct,
      limit,
      givesBack: freeing,
    };
    return new OpenFile(path, { kind: 'overlay', ...files, size, readOnly: false, writesBriefly: brief }, ioSize, fds);
  } catch (error) {
    await Promise.all(fds.map((fd) => closeFd(fd)));
    throw error;
  }
}

/** Magic numbers of file systems (statfs(2)) whose buffered writes are quick and cannot be asked not to block: ext4, tmpfs. */
const briefFileSystems: readonly number[] = [0xef53, 0x0102_1994];

/** Those that free each block by itself: ext4, XFS, tmpfs. */
const freeingFileSystems: readonly number[] = [0xef53, 0x5846_5342, 0x0102_1994];

/** What is known of the file system of an open file. */
async function fileSystemOf(fd: number): Promise<{ readonly brief: boolean; readonly freeing: boolean }> {
  const { type, bsize } = await statfs(`/proc/self/fd/${fd}`);
  return { brief: briefFileSystems.includes(type), freeing: freeingFileSystems.includes(type) && bsize === 4096 };
}

function writtenBits(path: string, size: number, limit: number | undefined): SharedArrayBuffer {
  try {
    return allocateWritten(size, limit);
  } catch (cause) {
    throw new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} with ${size} bytes is too large to be ephemeral`, {
      hint: 'copy the image and let the guest write to the copy',
      cause,
    });
  }
}

/** What the file has beyond the size of the disk is a hole that nobody reads. */
function extended(path: string, open: OpenOverlay, size: number): SharedArrayBuffer {
  try {
    return extendWritten(open.written, { from: open.size, to: size, limit: open.limit });
  } catch (cause) {
    throw cannotGrow(path, size, cause as Error);
  }
}

class OpenFile implements DiskFile {
  readonly path: string;
  open: OpenFileDisk;
  readonly ioSize: number;
  readonly #fds: readonly number[];
  #closing: Promise<void> | undefined;

  constructor(path: string, open: OpenFileDisk, ioSize: number, fds: readonly number[]) {
    this.path = path;
    this.open = open;
    this.ioSize = ioSize;
    this.#fds = fds;
  }

  get size(): number {
    return this.open.size;
  }

  get readOnly(): boolean {
    return this.open.readOnly;
  }

  async grow(size: number): Promise<void> {
    const { path, open } = this;
    const unit = open.direct?.offset ?? sectorSize;
    if (size % unit !== 0)
      throw new TsvmmError('ERR_TSVMM_CONFIG', `${quote(path)} cannot have ${size} bytes`, {
        hint: `use a multiple of ${unit}`,
      });
    if (open.kind === 'overlay') {
      await setSize(open.overlay, size).catch((cause) => Promise.reject(cannotGrow(path, size, cause)));
      const written = extended(path, open, size);
      this.open = { ...open, written, size };
      return;
    }
    if (open.readOnly) throw cannotGrow(path, size, new Error('it is read-only'));
    await extend(path, open.fd, size);
    this.open = { ...open, size };
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#fds.map((fd) => closeFd(fd))).then(() => {
      if (this.open.kind === 'overlay') giveShared(this.open.written);
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A descriptor of a regular file or block device. */
async function openImage(path: string, writes: boolean): Promise<number> {
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

function sizeOf(path: string, fd: number, stats: Stats): number {
  const size = stats.isBlockDevice() ? deviceSize(path, fd) : stats.size;
  if (size === 0)
    throw notADisk(path, 'is empty', 'Give a disk image with content, or make one: truncate -s 10G FILE.');
  if (size % sectorSize === 0) return size;
  const what = `has ${size} bytes, which is no multiple of ${sectorSize}: it is truncated or no disk image`;
  throw notADisk(path, what, `Copy or download it again; if it is complete, pad it: truncate -s %${sectorSize} FILE.`);
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
async function extend(path: string, fd: number, size: number): Promise<void> {
  const stats = await fileStatus(fd);
  if (stats.isBlockDevice()) {
    const room = deviceSize(path, fd);
    if (size > room) throw cannotGrow(path, size, new Error(`the device has ${room} bytes`));
  } else if (stats.size < size) {
    await setSize(fd, size).catch((cause) => Promise.reject(cannotGrow(path, size, cause)));
  }
}

const cannotGrow = (path: string, size: number, cause: Error): TsvmmError =>
  new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be extended to ${size} bytes: ${cause.message}`, {
    hint: 'make room on its file system, or extend the device first',
    details: { path, size },
    cause,
  });

async function lock(path: string, fd: number, kind: LockKind): Promise<void> {
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

/** A file that nobody can find and that is gone when it is closed: a hole of the image's size. */
async function openTemporary(image: string, size: number, directory: string | undefined): Promise<number> {
  const tried: string[] = [];
  let cause: unknown;
  for (const candidate of directory === undefined ? temporaryDirectories : [directory]) {
    try {
      const fd = await openFd(candidate, O_TMPFILE | constants.O_RDWR, 0o600).catch((cause) =>
        openUnlinked(candidate, cause),
      );
      // What the guest discards or zeroes is read there as well, with nothing written behind it.
      await setSize(fd, size).catch(async (cause) => {
        await closeFd(fd);
        throw cause;
      });
      return fd;
    } catch (error) {
      cause = error;
      tried.push(`${candidate}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new TsvmmError(
    'ERR_TSVMM_DISK_IO',
    `no place for the changes of the ephemeral disk ${quote(image)}:\n  ${tried.join('\n  ')}`,
    {
      hint: 'make one of these places one that you may write to',
      cause,
      details: { path: image },
    },
  );
}

/** For file systems without O_TMPFILE. */
async function openUnlinked(directory: string, cause: NodeJS.ErrnoException): Promise<number> {
  if (cause.code !== 'EOPNOTSUPP' && cause.code !== 'EISDIR') throw cause;
  const path = join(directory, `tsvmm-${randomBytes(12).toString('hex')}`);
  const fd = await openFd(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  await removeFile(path);
  return fd;
}

function refuseOtherKinds(path: string, stats: Stats): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  const kind = stats.isDirectory()
    ? 'a directory'
    : stats.isCharacterDevice()
      ? 'a character device'
      : stats.isFIFO()
        ? 'a pipe'
        : 'a socket';
  throw notADisk(path, `is ${kind}, not a disk image`, 'Give an image file or a block device.');
}

function notADisk(path: string, says: string, hint: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_DISK_FORMAT', `${quote(path)} ${says}`, { hint, details: { path } });
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
