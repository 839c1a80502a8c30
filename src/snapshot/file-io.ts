/**
 * Files by their descriptors, on libuv's thread pool: whole reads and writes, and an order in which descriptors are closed.
 * Main thread.
 */
import { fsync, read, readSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { closeFd, openFd } from '../disk/file-calls.js';

export const syncFd = promisify(fsync);
const readSome = promisify(read);
const writeSome = promisify(write);

/** A file ended before what was to be read from it. */
export class EndsEarly extends Error {
  constructor() {
    super('the file ends before it should');
  }
}

/** Fills `into` from `position` on. */
export async function readFully(fd: number, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await readSome(fd, into, done, into.length - done, position + done);
    if (bytesRead === 0) throw new EndsEarly();
    done += bytesRead;
  }
}

/** The same at once, for who asked for an answer at once. */
export function readFullySync(fd: number, into: Uint8Array, position: number): void {
  for (let done = 0; done < into.length; ) {
    const count = readSync(fd, into, done, into.length - done, position + done);
    if (count === 0) throw new EndsEarly();
    done += count;
  }
}

export async function writeFully(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await writeSome(fd, bytes, done, bytes.length - done, position + done)).bytesWritten;
}

/** Makes a file, which is durable when this resolves. */
export async function newFile(path: string, fill: (fd: number) => Promise<void>): Promise<void> {
  const fd = await openFd(path, 'wx', 0o600);
  try {
    await fill(fd);
    await syncFd(fd);
  } finally {
    await closeFd(fd);
  }
}

/** Files that become durable together: a journal then has one commit for all of them. */
export class NewFiles {
  readonly #fds: number[] = [];

  /** Makes a file, which is durable when `sync` has resolved. */
  async write(path: string, fill: (fd: number) => Promise<void>): Promise<void> {
    const fd = await openFd(path, 'wx', 0o600);
    this.#fds.push(fd);
    await fill(fd);
  }

  async sync(): Promise<void> {
    const failed = (await Promise.allSettled(this.#fds.map((fd) => syncFd(fd)))).find(isFailure);
    if (failed !== undefined) throw failed.reason;
  }

  async close(): Promise<void> {
    await Promise.all(this.#fds.splice(0).map((fd) => closeFd(fd)));
  }
}

const isFailure = (result: PromiseSettledResult<unknown>): result is PromiseRejectedResult =>
  result.status === 'rejected';

/** Has the host write a file back while more is written to it, so that its end need not wait for all of it. */
export class Writeback {
  readonly #fd: number;
  #bytes = 0;
  #syncing: Promise<void> | undefined;
  #failure: { readonly cause: unknown } | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  wrote(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes < writebackStep || this.#syncing !== undefined) return;
    this.#bytes = 0;
    this.#syncing = syncFd(this.#fd)
      .catch((cause: unknown) => {
        this.#failure ??= { cause };
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  /** Resolves when nothing is under way any more: the file may be closed. */
  async settled(): Promise<void> {
    await this.#syncing;
  }

  /** The host tells of what it could not write once: later calls of fsync succeed. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.cause;
  }
}

const writebackStep = 8 * 2 ** 20;

/** Makes an entry of a directory durable: the name, where fsync of a file makes its content so. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = await openFd(path, 'r');
  try {
    await syncFd(fd);
  } finally {
    await closeFd(fd);
  }
}

/** Descriptors that are closed together. */
export class Descriptors {
  readonly #fds = new Set<number>();

  add(fd: number): number {
    this.#fds.add(fd);
    return fd;
  }

  /** Once; a second call has nothing to close. */
  async close(): Promise<void> {
    const fds = [...this.#fds];
    this.#fds.clear();
    await Promise.all(fds.map((fd) => closeFd(fd)));
  }
}
