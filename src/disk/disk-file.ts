/**
 * Opens a raw disk for a guest: access, lock, size, and the private file of an ephemeral one. Main thread.
 *
 * A writable disk excludes every other user, a read-only one excludes writers. The content is not looked at here: formats are
 * refused where images are probed (raw-image.ts).
 */
import { realpath } from 'node:fs/promises';
import { TsvmmError } from '../errors.js';
import { openDirect } from './direct-io.js';
import type { OpenFileDisk } from './disk-map.js';
import { closeFd, fileStatus } from './file-calls.js';
import type { FrozenContent } from './frozen-content.js';
import { Held } from './held.js';
import { ImageFile } from './image-file.js';
import { lockImage, openImage, sizeOf } from './open-image.js';
import { OverlayFile } from './overlay-file.js';
import { quote } from './range.js';
import { fileSystemOf } from './temporary-file.js';

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

/** How a disk is frozen, and the copies of it let go. */
export interface Freezing {
  /** Does beforehand what may take long of `freeze`, which follows soon. */
  prepareFreeze(): Promise<void>;
  /**
   * What it is now, for as long as the content is held, even beyond this. Nobody writes it meanwhile; whoever does so
   * afterwards has the `open` that it has then.
   */
  freeze(): Promise<FrozenContent>;
  /** `open` is one that keeps nothing any more for frozen contents that have gone; `forgotten` when everybody has that one. */
  forget(): void;
  forgotten(): Promise<void>;
  /** `call` when there is something to forget. */
  onIdle(call: () => void): void;
}

export interface DiskFile extends Freezing, AsyncDisposable {
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
  /** Closes the descriptors and with them the lock, but for what frozen contents still need. No operation may be outstanding. */
  close(): Promise<void>;
}

/**
 * Rejects with `ERR_TSVMM_DISK_IO` when the host refuses the path, `ERR_TSVMM_DISK_FORMAT` when what is there is no disk,
 * and `ERR_TSVMM_DISK_LOCKED` when somebody else uses it.
 */
export async function openDiskFile(options: DiskFileOptions): Promise<DiskFile> {
  const { path, ephemeral = false, temporaryDirectory } = options;
  const readOnly = options.readOnly ?? false;
  if (readOnly && ephemeral !== false) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `${quote(path)} is to be read-only and ephemeral at once`, {
      hint: 'choose one: a read-only disk is never written, an ephemeral one forgets what was written',
    });
  }
  const writes = !readOnly && ephemeral === false;
  const fd = await openImage(path, writes);
  try {
    const stats = await fileStatus(fd);
    const size = sizeOf(path, fd, stats);
    const ioSize = stats.blksize;
    await lockImage(path, fd, writes ? 'write' : 'read');
    const direct = options.cache === 'direct' ? await openDirect(path, fd, size) : undefined;
    if (ephemeral !== false) {
      const limit = ephemeral === true ? undefined : ephemeral.limit;
      const layers = [{ open: { fd, direct: direct !== undefined }, held: new Held(() => closeFd(fd)) }];
      return await OverlayFile.open({ path, size, ioSize, layers, direct, limit, temporaryDirectory });
    }
    const unsafe = options.cache === 'unsafe';
    const writesBriefly = !readOnly && direct === undefined && (await fileSystemOf(fd)).brief;
    const open = { kind: 'file', fd, size, readOnly, direct, unsafe, writesBriefly } as const;
    const facts = { path, realPath: await realpath(path), isFile: stats.isFile(), ioSize };
    return new ImageFile({ ...facts, open, temporaryDirectory });
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
}
