/** What goes wrong with snapshots, in words for whoever runs tsvmm. Any thread. */
import { quote, shellWord } from '../disk/range.js';
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { OtherVersion } from './manifest-text.js';
import { manifestName } from './names.js';
import { Mismatch } from './schema.js';

/** What is there is not a snapshot that this tsvmm can use. */
export const unusable = (directory: string, says: string, hint: string, cause?: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_SNAPSHOT', `the snapshot ${quote(directory)} cannot be used: ${says}`, {
    hint,
    details: { directory },
    cause,
  });

const takeAnother = 'it was damaged or changed after it was written: take a copy that is whole, or another snapshot';

/** It is not as it was written. */
export const damaged = (directory: string, says: string, cause?: unknown): TsvmmError =>
  unusable(directory, says, takeAnother, cause);

/** The content of one of its files is not what was written, from `offset` on. */
export const mismatch = (directory: string, file: string, offset: number): TsvmmError =>
  new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `the snapshot ${quote(directory)} is damaged: ${file} differs from what was written, in the 2 MiB at offset ${offset}`,
    { hint: takeAnother, details: { directory, file, offset } },
  );

const hintsOfWriting: Readonly<Record<string, string>> = {
  ENOSPC: 'make room on that file system, or give another place',
  EDQUOT: 'the quota of your user is used up: make room, or give another place',
  EFBIG: 'the file system, or ulimit -f, does not allow files as large as the memory of the guest',
  EROFS: 'that file system is read-only: give another place',
  EACCES: 'give a place where your user may make directories',
  EPERM: 'give a place where your user may make directories',
  ENOENT: 'make the directory that it is to lie in first',
  ENOTDIR: 'a part of that path is a file: give another place',
  ENAMETOOLONG: 'give a shorter name',
  EMFILE: raiseOpenFiles,
};

/** The host refused to take it; nothing of it is left. */
export function unwritten(directory: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause)) return cause; // not the host's
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new TsvmmError('ERR_TSVMM_SNAPSHOT', `${quote(directory)} cannot be written: ${message}`, {
    hint: hintsOfWriting[code] ?? 'check the file system there',
    details: { path: directory, errno: code },
    cause,
  });
}

export const alreadyThere = (path: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_SNAPSHOT', `${quote(path)} exists already, and nothing is ever written over`, {
    hint: `give another name, or remove it first: rm -r ${shellWord(path)}`,
    details: { path },
  });

export const isLeftover = (directory: string): TsvmmError =>
  unusable(
    directory,
    'its writer has not finished it: it was killed, or is still at work',
    `if nothing is writing it, remove it: rm -r ${shellWord(directory)}`,
  );

/** Of something that failed for `why`, what was written so far is still there. */
export function notRemoved(path: string, why: unknown, cause: unknown): TsvmmError {
  const says = why instanceof Error ? why.message : String(why);
  return new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `${says}; and what was written so far could not be removed: ${quote(path)}`,
    { hint: 'remove it by hand', details: { path }, cause: new AggregateError([why, cause], says) },
  );
}

/** What `read` answers; a mismatch is the manifest's. */
export function checked<T>(directory: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof OtherVersion)
      throw unusable(directory, `${manifestName}: ${error.message}`, 'use the version of tsvmm that wrote it', error);
    if (error instanceof Mismatch) throw damaged(directory, `${manifestName}: ${error.message}`, error);
    throw error;
  }
}
