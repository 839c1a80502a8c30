/**
 * Where the sockets of named machines are: `$XDG_RUNTIME_DIR/tsvmm`, or `/tmp/tsvmm-UID` where that variable says nothing (XDG
 * Base Directory Specification). Main thread.
 *
 * Whoever could put something into that folder could pose as a machine, or as somebody who stops one. So it has to be a folder
 * of this user's, with mode 0700, in one where nobody else can replace it; it is looked at before each use, and anything else is
 * refused. `/tmp` and not what TMPDIR says: two shells have to come to the same place.
 */
import { lstatSync, mkdirSync, readdirSync, type Stats, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { TsvmmError } from '../../errors.js';
import { isMachineName } from './machine-name.js';

/** `sun_path` of unix(7) is 108 bytes, the last one of which is 0. */
const longestSocketPath = 107;
const sharedFolder = '/tmp';

export interface Place {
  readonly socket: string;
  /** Held locked by the process that has the name (name-claim.ts). */
  readonly lock: string;
}

/** The path of the folder, whether or not there is one. */
export function runtimeDirectory(given = process.env['XDG_RUNTIME_DIR'] ?? '', shared = sharedFolder): string {
  // The specification has relative paths ignored.
  return isAbsolute(given) ? join(given, 'tsvmm') : join(shared, `tsvmm-${process.geteuid!()}`);
}

/** Makes the folder if it is not there, and checks it. */
export function makeRuntimeDirectory(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw unusable(folder, `cannot be made (${code})`, otherFolder, error);
  }
  checkRuntimeDirectory(folder);
}

/** Throws `ERR_TSVMM_CONFIG` unless the folder is this user's alone; false when there is none. */
export function checkRuntimeDirectory(folder: string): boolean {
  let stats: Stats;
  let parent: Stats;
  try {
    stats = lstatSync(folder);
    parent = statSync(dirname(folder));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    throw unusable(folder, `cannot be looked at (${code})`, otherFolder, error);
  }
  const uid = process.geteuid!();
  const mode = stats.mode & 0o777;
  if (stats.isSymbolicLink()) throw unusable(folder, 'is a symbolic link', `remove it, or ${otherFolder}`);
  if (!stats.isDirectory()) throw unusable(folder, 'is no folder', `remove it, or ${otherFolder}`);
  if (stats.uid !== uid) throw unusable(folder, `belongs to user ${stats.uid}, and this is user ${uid}`, otherFolder);
  if (mode !== 0o700)
    throw unusable(folder, `has mode ${mode.toString(8).padStart(4, '0')}, and not 0700`, `chmod 700 ${folder}`);
  if (!isKept(parent, uid)) throw unusable(folder, 'is in a folder where others may replace it', otherFolder);
  return true;
}

/** In the folder nobody but root and this user can put something else in the place of what this user has there. */
const isKept = ({ uid, mode }: Stats, user: number): boolean =>
  (uid === 0 || uid === user) && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);

const otherFolder = 'set XDG_RUNTIME_DIR to a folder of your own with mode 0700';

const unusable = (folder: string, what: string, hint: string, cause?: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `the folder for the sockets of machines, ${folder}, ${what}`, { hint, cause });

/** The files of a machine; throws `ERR_TSVMM_CONFIG` for one that no socket can have. */
export function placeOf(folder: string, name: string): Place {
  const socket = join(folder, `${name}.sock`);
  const length = Buffer.byteLength(socket);
  if (length <= longestSocketPath) return { socket, lock: join(folder, `${name}.lock`) };
  throw new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `the path of a socket ends at ${longestSocketPath} bytes, and ${socket} has ${length}`,
    { hint: 'choose a shorter name, or set XDG_RUNTIME_DIR to a folder with a shorter path' },
  );
}

/** The names that have files in the folder, sorted: of machines that run, and of some that were killed. */
export function namesIn(folder: string): string[] {
  const names = readdirSync(folder).map((file) => /^(.*)\.(?:sock|lock)$/.exec(file)?.[1] ?? '');
  return [...new Set(names.filter(isMachineName))].sort();
}
