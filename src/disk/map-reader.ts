/**
 * Reads a disk of layers from the main thread, for a boot: the disk as it is, with what its guest has written. No machine
 * writes it meanwhile; what lies below may be written by its owner.
 */
import { read } from 'node:fs';
import { promisify } from 'node:util';
import { TsvmmError } from '../errors.js';
import { DIRECT } from '../host/engine-slots.js';
import { errnoName } from '../host/errno.js';
import type { BlockReader } from './block-reader.js';
import { openForReading } from './clone-file.js';
import { type OpenFrozen, type OpenOverlay, openDiskMap } from './disk-map.js';
import { closeFd } from './file-calls.js';
import { checkRange, quote } from './range.js';

const readFd = promisify(read);

/** `path` is of the image, for messages. */
export async function openMapReader(
  disk: OpenFrozen | OpenOverlay,
  path: string,
): Promise<BlockReader & AsyncDisposable> {
  const direct = disk.layers.filter((layer) => layer.direct === true);
  const buffered = new Map<number, number>();
  // A buffer of ours is not where direct I/O could reach it.
  for (const { fd } of direct) buffered.set(fd, await openForReading(fd, 0));
  return new MapReader(disk, path, buffered);
}

class MapReader implements BlockReader, AsyncDisposable {
  readonly size: number;
  readonly #disk: OpenFrozen | OpenOverlay;
  readonly #path: string;
  readonly #buffered: ReadonlyMap<number, number>;

  constructor(disk: OpenFrozen | OpenOverlay, path: string, buffered: ReadonlyMap<number, number>) {
    this.size = disk.size;
    this.#disk = disk;
    this.#path = path;
    this.#buffered = buffered;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, quote(this.#path));
    const into = Buffer.allocUnsafe(length);
    await this.readInto(offset, into);
    return into;
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    checkRange(offset, into.length, this.size, quote(this.#path));
    const at = Float64Array.of(offset);
    const map = openDiskMap(this.#disk, at);
    for (let done = 0; done < into.length; at[0] = offset + done) {
      const bytes = map.locateRead(0, into.length - done);
      if (bytes === 0) throw this.#failed(offset + done, `what was there is lost (${errnoName(map.loss)})`);
      const fd = (map.flags & DIRECT) === 0 ? map.fd : this.#buffered.get(map.fd)!;
      const { bytesRead } = await readFd(fd, into, done, bytes, offset + done).catch((cause: Error) =>
        Promise.reject(this.#failed(offset + done, cause.message)),
      );
      if (bytesRead === 0) throw this.#failed(offset + done, 'the file ends there');
      if (map.holds(0, bytesRead)) done += bytesRead;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#buffered.values(), (fd) => closeFd(fd)));
  }

  #failed(at: number, why: string): TsvmmError {
    return new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(this.#path)} cannot be read at byte ${at}: ${why}`, {
      details: { path: this.#path },
    });
  }
}
