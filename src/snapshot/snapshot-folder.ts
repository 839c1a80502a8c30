/**
 * Opens the files of a snapshot, whoever made them. Main thread.
 *
 * Directories and files are opened without following a symbolic link and without waiting for the other end of a pipe, and
 * only then looked at: what the descriptor says counts, not the name (traps T31, T36). Files are reached through the
 * descriptor of their directory, so that all are of the same one whatever is renamed meanwhile.
 */
import { constants, fstatSync, readlinkSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { openFd, pathOf } from '../disk/file-calls.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { readCached } from '../host/cached-read.js';
import { Descriptors, EndsEarly, readFully } from './file-io.js';
import { isUnfinished, unfinishedBeside } from './names.js';
import { damaged, isLeftover, unusable } from './snapshot-error.js';

/** More would keep the program waiting, though the kernel has it. */
const readAtOnce = 2 ** 20;

export interface OpenedFile {
  readonly fd: number;
  readonly size: number;
}

/** All descriptors of an open snapshot; a file that is there under two names is refused. */
export class SnapshotFiles {
  readonly #descriptors = new Descriptors();
  /** By device and inode. */
  readonly #names = new Map<string, string>();
  readonly #opening: Promise<unknown>[] = [];

  /** `path` is one that was given by a user: links on the way to it are theirs. */
  async openGiven(path: string): Promise<SnapshotFolder> {
    const fd = await openFd(path, constants.O_RDONLY | constants.O_DIRECTORY).catch((cause) => missing(path, cause));
    this.#descriptors.add(fd);
    const directory = readlinkSync(pathOf(fd));
    if (isUnfinished(directory)) throw isLeftover(directory);
    return new SnapshotFolder(directory, fd, this);
  }

  /** One that is no link itself. */
  async openDirectory(directory: string): Promise<SnapshotFolder> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
    const fd = await openFd(directory, flags).catch((cause) => missing(directory, cause));
    return new SnapshotFolder(directory, this.#descriptors.add(fd), this);
  }

  /** @internal By `SnapshotFolder`. */
  begin(folder: SnapshotFolder, name: string): Promise<number> {
    // O_NONBLOCK: a pipe would wait for its writer. It means nothing for reading a regular file.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;
    const opening = openFd(`${pathOf(folder.fd)}/${name}`, flags).then(
      (fd) => this.#descriptors.add(fd),
      (cause) => Promise.reject(notOpened(folder.directory, name, cause)),
    );
    opening.catch(() => {}); // who asks for the file hears of it
    this.#opening.push(opening);
    return opening;
  }

  /** @internal What `begin` has opened, looked at. */
  look({ directory }: SnapshotFolder, name: string, fd: number, size: number | undefined): OpenedFile {
    const status = fstatSync(fd, { bigint: true });
    if (!status.isFile()) throw damaged(directory, `${name} is not a regular file`);
    const inode = `${status.dev}:${status.ino}`;
    const other = this.#names.get(inode);
    if (other !== undefined) throw damaged(directory, `${name} and ${other} are the same file`);
    this.#names.set(inode, quote(`${directory}/${name}`));
    if (size !== undefined && status.size !== BigInt(size))
      throw damaged(directory, `${name} has ${status.size} bytes, not the ${size} that were written`);
    return { fd, size: Number(status.size) };
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#opening);
    await this.#descriptors.close();
  }
}

/** One directory of a snapshot or of one that it is a difference to. */
export class SnapshotFolder {
  /** Its real path. */
  readonly directory: string;
  readonly fd: number;
  readonly #files: SnapshotFiles;
  readonly #begun = new Map<string, Promise<number>>();

  constructor(directory: string, fd: number, files: SnapshotFiles) {
    this.directory = directory;
    this.fd = fd;
    this.#files = files;
  }

  /** Begins to open files that will be asked for, all at once: each is a way to the thread pool and back. */
  expect(...names: readonly string[]): void {
    for (const name of names) this.#begun.set(name, this.#files.begin(this, name));
  }

  /** A file of it, which has exactly `size` bytes where that is known. */
  async open(name: string, size?: number): Promise<OpenedFile> {
    const fd = await (this.#begun.get(name) ?? this.#files.begin(this, name));
    return this.#files.look(this, name, fd, size);
  }

  /** All of a file that has exactly `size` bytes, or at most `most`. */
  async read(name: string, { size, most = size }: { size?: number; most?: number }): Promise<Buffer> {
    const file = await this.open(name, size);
    if (most !== undefined && file.size > most)
      throw damaged(this.directory, `${name} has ${file.size} bytes, more than ${most}`);
    const bytes = Buffer.alloc(file.size);
    if (bytes.length <= readAtOnce && readCached(file.fd, bytes, 0)) return bytes;
    await readFully(file.fd, bytes, 0).catch((cause) => Promise.reject(unreadable(this.directory, name, cause)));
    return bytes;
  }
}

/** The host cannot read what is there. */
export function unreadable(directory: string, name: string, cause: unknown): unknown {
  if (cause instanceof TsvmmError || !(cause instanceof Error)) return cause;
  if (cause instanceof EndsEarly) return damaged(directory, `${name} became shorter while it was read`, cause);
  if (!('syscall' in cause)) return cause;
  return unusable(directory, `${name} cannot be read: ${cause.message}`, 'check the disk that it lies on', cause);
}

function notOpened(directory: string, name: string, cause: NodeJS.ErrnoException): TsvmmError {
  switch (cause.code) {
    case 'ENOENT':
      return unusable(directory, `it has no ${name}`, 'give the directory of a snapshot that is whole', cause);
    case 'ELOOP':
      return damaged(directory, `${name} is a symbolic link, of which a snapshot has none`, cause);
    case 'ENXIO':
      return damaged(directory, `${name} is not a regular file`, cause); // a socket
    case 'EACCES':
      return unusable(directory, `${name} may not be read`, 'run as the user who made the snapshot', cause);
    default:
      return unusable(directory, `${name} cannot be opened: ${cause.message}`, 'check the file system there', cause);
  }
}

/** Rejects with why there is no directory. */
async function missing(path: string, cause: NodeJS.ErrnoException): Promise<never> {
  if (cause.code === 'ENOTDIR' || cause.code === 'ELOOP') {
    const status = await lstat(path).catch(() => undefined); // which of the two is only a matter of words
    throw unusable(
      path,
      status?.isSymbolicLink() ? 'it is a symbolic link' : 'it is not a directory',
      'give the directory of a snapshot',
    );
  }
  if (cause.code === 'EACCES')
    throw unusable(path, 'it may not be read', 'run as the user who made the snapshot', cause);
  if (cause.code !== 'ENOENT') throw unusable(path, cause.message, 'check the file system there', cause);
  const [left] = await unfinishedBeside(path);
  const hint =
    left === undefined
      ? 'check the path'
      : `its writer has not finished it: ${quote(left)} is what a killed one left, or one is still at work`;
  throw unusable(path, 'there is no such directory', hint, cause);
}
