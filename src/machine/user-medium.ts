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
import { giveShared } from '../memory/shared-pool.js';
import { bad } from './checks.js';
import { type DiskLayout, layoutOf } from './disk-layout.js';
import type { Medium } from './medium.js';

/** What a boot reads at a time, in parts: the guest's own requests may be many, the boot's are few and large. */
const partsAtOnce = 4;
const sectorSize = 512;

export class UserMedium implements Medium {
  readonly name: string;
  /** Nothing is known of what it likes to transfer at a time. */
  readonly ioSize = 4096;
  open: OpenUserDisk;
  layout!: DiskLayout;
  readonly #source: UserDiskSource;
  #closing: Promise<void> | undefined;

  /** Takes `source` over; `signal` ends the wait for what its functions say. */
  static async open(source: UserDiskSource, name: string, signal: AbortSignal): Promise<UserMedium> {
    const fds: number[] = [];
    let medium: UserMedium | undefined;
    try {
      for (let i = 0; i < 2; i++) {
        const fd = eventFd();
        if (fd < 0) throw outOfDescriptors(fd);
        fds.push(fd);
      }
      medium = new UserMedium(source, name, fds[0]!, fds[1]!);
      const { blockSize } = source.facts;
      if (blockSize !== undefined) medium.layout = { blockSize, fixed: true };
      else {
        await using reader = await medium.reader(signal);
        medium.layout = await layoutOf(reader);
      }
      return medium;
    } catch (error) {
      if (medium !== undefined) await medium.close();
      else {
        await source.close();
        for (const fd of fds) closeFd(fd);
      }
      throw error;
    }
  }

  private constructor(source: UserDiskSource, name: string, ioDoorbell: number, serverDoorbell: number) {
    this.#source = source;
    this.name = name;
    const { size, readOnly, blockSize = sectorSize, flushes, discards, zeroes } = source.facts;
    const channel = allocateChannel();
    const functions = { flushes, discards, zeroes };
    this.open = { kind: 'user', size, readOnly, blockSize, ...functions, channel, ioDoorbell, serverDoorbell };
    source.serve(this.open);
  }

  /** Until it is closed or `signal` aborts. */
  async reader(signal: AbortSignal): Promise<BlockReader & AsyncDisposable> {
    return new UserDiskReader(this.name, this.#source, this.open, signal);
  }

  /** Its functions are asked for what lies beyond the old end from then on. */
  async grow(size: number): Promise<void> {
    const { blockSize } = this.open;
    if (size % blockSize !== 0) throw bad(`${this.name} cannot have ${size} bytes`, `use a multiple of ${blockSize}`);
    this.open = { ...this.open, size };
  }

  fail(why: string): Promise<void> {
    return this.#source.fail(why);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#source.close();
    closeFd(this.open.ioDoorbell);
    closeFd(this.open.serverDoorbell);
    giveShared(this.open.channel);
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
