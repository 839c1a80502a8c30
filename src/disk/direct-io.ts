/**
 * Direct I/O: an image past the host's page cache, O_DIRECT of open(2). Main thread.
 *
 * The kernel moves data between the device and the guest's pages, if both are where the device can reach them: what an
 * image asks for is found when it is opened, and a guest is told of blocks that fit (machine/disk-layout.ts).
 */
import { read } from 'node:fs';
import { promisify } from 'node:util';
import { TsvmmError } from '../errors.js';
import { Errno, errnoName } from '../host/errno.js';
import { HostBlock } from '../host/host-block.js';
import { Sys, syscall } from '../host/system.js';
import { quote, shellWord } from './range.js';

/** What a transfer past the page cache must keep to, each a power of two. */
export interface DirectIo {
  /** Addresses of memory are multiples of it. */
  readonly memory: number;
  /** Offsets and lengths are: 512 or 4096, as guests know blocks, if a guest is to use it. */
  readonly offset: number;
}

const readFd = promisify(read);

const F_SETFL = 4;
const O_DIRECT = 0o40_000;
const sectorSize = 512;
/** The largest logical block that a guest is told of. */
const maxUnit = 4096;

/** struct statx of linux/stat.h. */
const Statx = { mask: 0x00, memoryAlign: 0x98, offsetAlign: 0x9c, size: 0x100 } as const;
const STATX_DIOALIGN = 0x2000;
const AT_EMPTY_PATH = 0x1000;
const emptyPath = Uint8Array.of(0);

/** Turns direct I/O on for an image that was opened without flags of its own; `size` is the disk's. */
export async function openDirect(path: string, fd: number, size: number): Promise<DirectIo> {
  const result = syscall(Sys.fcntl, fd, F_SETFL, O_DIRECT);
  if (result < 0) throw refused(path, `its file system has no direct I/O (${errnoName(result)})`);
  const direct = fromKernel(fd) ?? (await byTrial(fd));
  if (direct === undefined) throw refused(path, 'direct I/O is not possible with this file');
  if (direct.offset > maxUnit)
    throw refused(path, `direct I/O goes by blocks of ${direct.offset} bytes here, and guests know at most ${maxUnit}`);
  if (size % direct.offset === 0) return direct;
  throw new TsvmmError(
    'ERR_TSVMM_DISK_FORMAT',
    `${quote(path)} has ${size} bytes, and direct I/O goes by blocks of ${direct.offset} bytes here`,
    {
      hint: `pad it: truncate -s %${direct.offset} ${shellWord(path)}; or use cache: 'writeback'`,
      details: { path, size, blockSize: direct.offset },
    },
  );
}

const refused = (path: string, why: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be used with cache 'direct': ${why}`, {
    hint: "use cache: 'writeback', or keep the image on a file system with direct I/O, such as ext4 or XFS",
    details: { path },
  });

/** As the kernel says it since 6.1, for the file systems that know; `offset` 0: not with this file. */
function fromKernel(fd: number): DirectIo | undefined {
  const statx = new DataView(new ArrayBuffer(Statx.size));
  if (syscall(Sys.statx, fd, emptyPath, AT_EMPTY_PATH, STATX_DIOALIGN, statx) < 0) return undefined;
  if ((statx.getUint32(Statx.mask, true) & STATX_DIOALIGN) === 0) return undefined;
  const offset = statx.getUint32(Statx.offsetAlign, true);
  if (offset === 0) return undefined;
  return {
    memory: Math.max(1, statx.getUint32(Statx.memoryAlign, true)),
    offset: offset <= sectorSize ? sectorSize : Math.max(maxUnit, offset),
  };
}

/** The smallest unit in which the image can be read; memory is then asked to be as aligned. */
async function byTrial(fd: number): Promise<DirectIo | undefined> {
  const block = new HostBlock(maxUnit);
  try {
    for (const unit of [sectorSize, maxUnit]) {
      const bytes = await readFd(fd, new Uint8Array(block.buffer, 0, unit), 0, unit, 0).then(
        ({ bytesRead }) => bytesRead,
        ({ errno }: NodeJS.ErrnoException) => errno ?? -Errno.EIO,
      );
      if (bytes >= sectorSize) return { memory: unit, offset: unit };
      if (bytes !== -Errno.EINVAL) return undefined;
    }
    return undefined;
  } finally {
    block.close();
  }
}
