/**
 * Writes what a disk was at an instant into a file: what nobody wrote stays a hole there. Waits for the kernel, so it runs on a
 * thread of its own (threads/disk-copy-worker.ts).
 *
 * A file system that can share blocks is asked to; what is still written by its owner is read, and counts when it was not
 * changed meanwhile (frozen-layers.ts).
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { HostBlock } from '../host/host-block.js';
import { Sys, syscall } from '../host/system.js';
import { type DiskMap, type OpenFrozen, openDiskMap } from './disk-map.js';
import { quote } from './range.js';

export interface SparseCopy {
  readonly disk: OpenFrozen;
  /** Of the image, for messages. */
  readonly path: string;
  /** A new file. */
  readonly target: number;
  /** So many bytes are done; false ends it. */
  goesOn(done: number): boolean;
}

/** _IOW(0x94, 9, int) of linux/fs.h. */
const FICLONE = 0x4004_9409;
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;

/** What is looked for at a time, and what is moved. */
const mostFound = 2 ** 30;
const mostMoved = 2 ** 20;
/** Holes are of whole ones, and direct I/O goes by no more. */
const blockSize = 4096;

export function copySparse(copy: SparseCopy): void {
  const { disk, target } = copy;
  if (clone(copy)) return void copy.goesOn(disk.size);
  check(syscall(Sys.ftruncate, target, disk.size), copy);
  const at = new Float64Array(1);
  const map = openDiskMap(disk, at);
  const block = new HostBlock(mostMoved);
  const isFixed = disk.layers.every(({ past }) => past === undefined);
  try {
    while (at[0]! < disk.size) {
      if (!copy.goesOn(at[0]!)) return;
      const offset = at[0]!;
      const run = map.locateRead(0, Math.min(disk.size - offset, mostFound));
      if (run === 0) throw failed(copy, offset, `what was there is lost (${errnoName(map.loss)})`);
      const end = offset + run;
      const data = nextData(map.fd, offset, end);
      const moved = data > offset ? data - offset : move(copy, map, block, offset, end, isFixed);
      if (map.holds(0, moved)) at[0] = offset + moved;
    }
    copy.goesOn(disk.size);
  } finally {
    block.close();
  }
}

/** All of it at once. */
function clone({ disk, target }: SparseCopy): boolean {
  const [layer, other] = disk.layers;
  if (layer === undefined || other !== undefined || layer.past !== undefined) return false;
  return native().ioctl(target, FICLONE, layer.fd) >= 0 && syscall(Sys.ftruncate, target, disk.size) >= 0;
}

/** Moves some of what lies in the chosen file between `offset` and `end`: how much. What does not hold is not written. */
function move(copy: SparseCopy, map: DiskMap, block: HostBlock, offset: number, end: number, isFixed: boolean): number {
  const length = Math.min(nextHole(map.fd, offset, end) - offset, mostMoved);
  if (isFixed && map.flags === 0) {
    const places = [BigInt64Array.of(BigInt(offset)), BigInt64Array.of(BigInt(offset))] as const;
    const moved = syscall(Sys.copyFileRange, map.fd, places[0], copy.target, places[1], length, 0);
    if (moved > 0) return moved;
  }
  const bytes = syscall(Sys.pread64, map.fd, block.address, length, offset);
  if (bytes <= 0) throw failed(copy, offset, bytes === 0 ? 'the file ends there' : errnoName(bytes));
  if (!map.holds(0, bytes)) return bytes;
  for (let done = 0; done < bytes; )
    done += check(syscall(Sys.pwrite64, copy.target, block.address + done, bytes - done, offset + done), copy);
  return bytes;
}

/** A file system that knows nothing of holes has none. What lies behind the end of a file is no hole: it was cut short. */
function nextData(fd: number, offset: number, end: number): number {
  const data = syscall(Sys.lseek, fd, offset, SEEK_DATA);
  if (data === -ENXIO) return syscall(Sys.lseek, fd, 0, SEEK_END) < end ? offset : end;
  return data < 0 ? offset : Math.max(offset, Math.min(Math.floor(data / blockSize) * blockSize, end));
}

function nextHole(fd: number, offset: number, end: number): number {
  const hole = syscall(Sys.lseek, fd, offset, SEEK_HOLE);
  return hole < 0 ? end : Math.min(Math.ceil(hole / blockSize) * blockSize, end);
}

/** Of the target; a write that does nothing would do so for ever. */
function check(result: number, { path }: SparseCopy): number {
  if (result >= 0) return result;
  throw new TsvmmError('ERR_TSVMM_DISK_IO', `the copy of ${quote(path)} cannot be written: ${errnoName(result)}`, {
    hint: result === -Errno.ENOSPC ? 'make room on its file system' : undefined,
  });
}

const failed = ({ path }: SparseCopy, at: number, why: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be read at byte ${at}: ${why}`, { details: { path } });
