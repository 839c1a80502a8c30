/**
 * A raw image file or block device, opened for reading what a boot needs from it. Main thread.
 *
 * This is not the guest's data path and takes no lock: it opens read-only, reads, and is closed before the guest runs.
 */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import type { BlockReader } from './block-reader.js';
import { detectFormat, formatRefused } from './format.js';
import { notADisk, refuseOtherKinds, refusePartOfSector } from './not-a-disk.js';
import { checkRange, quote } from './range.js';
import { sectorSize } from './sector-bits.js';

export interface RawImageOptions {
  /** Stated by the user: then the content is not probed. Left out: an image of another format is refused by its name. */
  readonly format?: 'raw' | undefined;
}

export interface RawImage extends BlockReader, AsyncDisposable {
  readonly path: string;
  close(): Promise<void>;
}

/** From here on a read is divided between two of Node's threads: copying out of the page cache is work for a processor. */
const dividedRead = 2 * 1024 * 1024;

/** What the host's answer to a path means to the user. */
const openFailures: Readonly<Record<string, { says: string; hint: string }>> = {
  ENOENT: { says: 'does not exist', hint: 'Check the path of the disk image.' },
  ENOTDIR: { says: 'does not exist (a part of its path is no directory)', hint: 'Check the path of the disk image.' },
  ELOOP: { says: 'is a loop of symbolic links', hint: 'Give the path of the disk image itself.' },
  EACCES: { says: 'may not be read', hint: 'Give your user read permission to the image and to the folders above it.' },
  EPERM: { says: 'may not be read', hint: 'Give your user read permission to the image.' },
  ENXIO: { says: 'has no medium', hint: 'Check the device.' },
  ENOMEDIUM: { says: 'has no medium', hint: 'Check the device.' },
  EMFILE: { says: 'cannot be opened: too many open files', hint: raiseOpenFiles },
};

/**
 * Opens `path` for reading.
 *
 * Rejects with `ERR_TSVMM_DISK_IO` when the host refuses the path, and with `ERR_TSVMM_DISK_FORMAT` when what is there
 * is no raw disk: a directory, empty, truncated, or an image of another format.
 */
export async function openRawImage(path: string, options: RawImageOptions = {}): Promise<RawImage> {
  // Before open(2): opening a pipe would wait for its writer, opening a character device can have side effects.
  refuseOtherKinds(path, await stat(path).catch((cause) => Promise.reject(hostRefused(path, cause))));
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause) =>
    Promise.reject(hostRefused(path, cause)),
  );
  try {
    const stats = await handle.stat();
    refuseOtherKinds(path, stats);
    const image = new OpenImage(path, handle, stats.isBlockDevice() ? await blockDeviceSize(path, stats) : stats.size);
    if (image.size === 0) throw notADisk(path, 'is empty', 'Give a disk image with content.');
    if (options.format !== 'raw') {
      const format = await detectFormat(image);
      if (format) throw formatRefused(path, format);
    }
    refusePartOfSector(path, image.size);
    return image;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class OpenImage implements RawImage {
  readonly path: string;
  readonly size: number;
  readonly #handle: FileHandle;
  #closing: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle, size: number) {
    this.path = path;
    this.#handle = handle;
    this.size = size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, quote(this.path));
    const into = Buffer.allocUnsafe(length);
    await this.readInto(offset, into);
    return into;
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    checkRange(offset, into.length, this.size, quote(this.path));
    if (this.#closing) throw new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(this.path)} is closed`);
    const half = into.length < dividedRead ? into.length : Math.ceil(into.length / 2);
    const parts = [this.#readPart(offset, into.subarray(0, half))];
    if (half < into.length) parts.push(this.#readPart(offset + half, into.subarray(half)));
    // Both have ended before the memory is anybody else's again.
    const failed = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #readPart(offset: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await this.#handle
        .read(into, done, into.length - done, offset + done)
        .catch((cause) => Promise.reject(hostRefused(this.path, cause)));
      // The file was measured when it was opened: its end can only come early if somebody cut it.
      if (bytesRead === 0)
        throw new TsvmmError(
          'ERR_TSVMM_DISK_IO',
          `${quote(this.path)} ended at ${offset + done} bytes: it was truncated while in use`,
          {
            hint: 'Leave the image alone while it is used; what was cut off is lost, so copy it again.',
            details: { path: this.path },
          },
        );
      done += bytesRead;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#handle.close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The kernel keeps a block device's size, in sectors, in sysfs; fstat(2) says 0 for it. */
async function blockDeviceSize(path: string, stats: Stats): Promise<number> {
  const { major, minor } = deviceNumbers(stats.rdev);
  const file = `/sys/dev/block/${major}:${minor}/size`;
  const text = await readFile(file, 'latin1').catch((cause) => {
    throw new TsvmmError(
      'ERR_TSVMM_DISK_IO',
      `${quote(path)}: the size of this block device is not known (${file} cannot be read)`,
      {
        hint: 'Mount sysfs at /sys, or copy the device to an image file.',
        details: { path },
        cause,
      },
    );
  });
  return Number(text) * sectorSize;
}

/** gnu_dev_major and gnu_dev_minor of glibc: the 32 bits that Linux uses, split as minor[7:0], major[11:0], minor[19:8]. */
export function deviceNumbers(rdev: number): { major: number; minor: number } {
  const low = (rdev % 2 ** 32) >>> 0;
  return { major: (low >>> 8) & 0xfff, minor: (low & 0xff) | ((low >>> 12) & 0xfff00) };
}

function hostRefused(path: string, cause: NodeJS.ErrnoException): TsvmmError {
  const known = openFailures[cause.code ?? ''];
  return new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} ${known?.says ?? `cannot be read: ${cause.message}`}`, {
    hint: known?.hint,
    details: { path, errno: cause.code },
    cause,
  });
}
