/**
 * Copies of a file that its file system makes by sharing the blocks: FICLONE of ioctl_ficlone(2). Main thread.
 *
 * Such a copy costs some microseconds for each extent of the file, and as long as what is not written back takes. For use while
 * a machine stands still a file must have few extents, and be written back before.
 */
import { constants, copyFile } from 'node:fs';
import { promisify } from 'node:util';
import { native } from '../host/addon.js';
import { closeFd, openFd, pathOf } from './file-calls.js';
import { openTemporary } from './temporary-file.js';

const copy = promisify(copyFile);

/** _IOWR('f', 11, struct fiemap) of linux/fs.h; struct fiemap is 32 bytes, each extent behind it 56. */
const FS_IOC_FIEMAP = 0xc020_660b;
const Fiemap = { length: 8, mapped: 20, count: 24, size: 32 } as const;
const extentSize = 56;

/** Makes the file `target`, which is empty, a copy of another on the same file system; false if that cannot be. */
export function cloneFile(source: number, target: number): Promise<boolean> {
  // Not by an ioctl of ours: this one is made on another thread.
  return copy(pathOf(source), pathOf(target), constants.COPYFILE_FICLONE_FORCE).then(
    () => true,
    () => false,
  );
}

/** Whether files that are made in this directory can be copies of others there. */
export async function canClone(directory: string): Promise<boolean> {
  const fds: number[] = [];
  try {
    for (let i = 0; i < 2; i++) fds.push((await openTemporary('a trial', 0, directory)).fd);
    return await cloneFile(fds[0]!, fds[1]!);
  } catch {
    return false; // no file can be made there
  } finally {
    await Promise.all(fds.map((fd) => closeFd(fd)));
  }
}

/** Whether a file has at most so many extents, as far as its file system says. */
export function hasFewExtents(fd: number, most: number): boolean {
  const map = new DataView(new ArrayBuffer(Fiemap.size + (most + 1) * extentSize));
  map.setBigUint64(Fiemap.length, 2n ** 64n - 1n, true);
  map.setUint32(Fiemap.count, most + 1, true);
  return native().ioctl(fd, FS_IOC_FIEMAP, map) >= 0 && map.getUint32(Fiemap.mapped, true) <= most;
}

/** The same file by another descriptor, that can only read. */
export const openForReading = (fd: number, flags: number): Promise<number> =>
  openFd(pathOf(fd), constants.O_RDONLY | flags);
