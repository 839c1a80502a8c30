/**
 * A disk of the program's, opened for a machine as one of files is: the channel to the I/O worker, and a reader for the
 * boot. Main thread.
 */
import { setMaxListeners } from 'node:events';
import type { BlockReader } from '../disk/block-reader.js';
import { checkRange } from '../disk/range.js';
import { allocateChannel, type OpenUserDisk, partBytes } from '../disk/user-channel.js';
import type { UserDiskSource } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { outOfDescriptors } from '../host/doorbell.js';
import { closeFd, eventFd } from '../host/system.js';
import type { DiskWarning } from '../threads/user-disk-requests.js';
import type { Disk } from './disk.js';

/** What a boot reads at a time, in parts: the guest's own requests may be many, the boot's are few and large. */
const partsAtOnce = 4;
const sectorSize = 512;

export class UserDiskFile {
  /** Nothing is known of what it likes to transfer at a time. */
  readonly ioSize = 4096;
  readonly open: OpenUserDisk;
  readonly #disk: Disk;
  readonly #what: string;
  readonly #source: UserDiskSource;
  #closing: Promise<void> | undefined;

  /** `signal` ends the wait for a module. */
  static async open(disk: Disk, what: string, warn: DiskWarning, signal: AbortSignal): Promise<UserDiskFile> {
    const source = await disk.open(what, warn, signal);
    const fds: number[] = [];
    try {
      for (let i = 0; i < 2; i++) {
        const fd = eventFd();
        if (fd < 0) throw outOfDescriptors(fd);
        fds.push(fd);
      }
      return new UserDiskFile(disk, what, source, fds[0]!, fds[1]!);
    } catch (error) {
      await disk.release(source);
      for (const fd of fds) closeFd(fd);
      throw error;
    }
  }

  private constructor(disk: Disk, what: string, source: UserDiskSource, ioDoorbell: number, serverDoorbell: number) {
    this.#disk = disk;
    this.#what = what;
    this.#source = source;
    const { size, readOnly, blockSize = sectorSize, flushes, discards, zeroes } = source.facts;
    const channel = allocateChannel();
    const functions = { flushes, discards, zeroes };
    this.open = { kind: 'user', size, readOnly, blockSize, ...functions, channel, ioDoorbell, serverDoorbell };
    source.serve(this.open);
  }

  get size(): number {
    return this.open.size;
  }

  get readOnly(): boolean {
    return this.open.readOnly;
  }

  /** If the program has said it. */
  get blockSize(): 512 | 4096 | undefined {
    return this.#source.facts.blockSize;
  }

  /** Until it is closed or `signal` aborts. */
  reader(signal: AbortSignal): BlockReader & AsyncDisposable {
    return new UserDiskReader(this.#what, this.#source, this.open, signal);
  }

  /** No I/O worker may use it any more. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#disk.release(this.#source);
    closeFd(this.open.ioDoorbell);
    closeFd(this.open.serverDoorbell);
  }
}

class UserDiskReader implements BlockReader, AsyncDisposable {
  readonly size: number;
  readonly #what: string;
  readonly #source: UserDiskSource;
  readonly #blockSize: number;
  readonly #signal: AbortSignal;
  readonly #closed = new AbortController();

  constructor(what: string, source: UserDiskSource, { size, blockSize }: OpenUserDisk, signal: AbortSignal) {
    this.#what = what;
    this.#source = source;
    this.size = size;
    this.#blockSize = blockSize;
    this.#signal = AbortSignal.any([signal, this.#closed.signal]);
    setMaxListeners(0, this.#signal); // as many reads as there are
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, this.#what);
    const into = Buffer.alloc(length);
    await this.readInto(offset, into);
    return into;
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    checkRange(offset, into.length, this.size, this.#what);
    let next = offset;
    const end = offset + into.length;
    const readParts = async (): Promise<void> => {
      while (next < end) {
        const at = next;
        const first = Math.floor(at / this.#blockSize) * this.#blockSize;
        const partEnd = Math.min(first + partBytes, end);
        next = partEnd;
        const last = Math.ceil(partEnd / this.#blockSize) * this.#blockSize;
        const bytes = await this.#read(first, last - first);
        this.#signal.throwIfAborted(); // `into` may be somebody else's by now
        into.set(bytes.subarray(at - first, partEnd - first), at - offset);
      }
    };
    // All have ended before the memory is anybody else's again.
    const parts = await Promise.allSettled(Array.from({ length: partsAtOnce }, readParts));
    const failed = parts.find((part) => part.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #read(offset: number, length: number): Promise<Uint8Array> {
    return this.#source.read(offset, length, this.#signal).catch((cause) => {
      this.#signal.throwIfAborted();
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `${this.#what}: read of ${length} bytes at byte ${offset} failed: ${why}`;
      throw new TsvmmError('ERR_TSVMM_DISK_IO', message, { cause });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new TsvmmError('ERR_TSVMM_DISK_IO', `${this.#what} is closed`));
  }
}
