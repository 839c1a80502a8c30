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

  /** One after the other: the first has the commit, and more would only keep libuv's threads from the program. */
  async sync(): Promise<void> {
    for (const fd of this.#fds) await syncFd(fd);
  }

  async close(): Promise<void> {
    await Promise.all(this.#fds.splice(0).map((fd) => closeFd(fd)));
  }
}

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
