/**
 * What V8 compiled of the command and its workers, kept for the user's next start (docs/decisions/0007-compiled-ahead.md).
 * Main thread and workers, before anything else of tsvmm.
 *
 * Whoever can write these files runs code as this user. So both the files and their folder have to be the user's, and writable
 * by nobody else; and they are made only in a folder of the user's: root, with the home of somebody else, leaves that alone.
 * A cache that cannot be had costs time and is no error.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { threadId } from 'node:worker_threads';

/** Files of older versions and of other Nodes stay until there are more than this: three programs each. */
const mostFiles = 24;
const writableByOthers = 0o022;

const isOwn = ({ uid }: Stats): boolean => uid === process.geteuid?.();
const isOurs = (stats: Stats): boolean => isOwn(stats) && (stats.mode & writableByOthers) === 0;

/** Whether the folder is the user's alone, or may be made: where there is none yet, what it would be in has to be the user's. */
function isUsable(folder: string): boolean {
  const found = nearest(folder);
  const stats = lstatSync(found);
  return stats.isDirectory() && (found === folder ? isOurs(stats) : isOwn(stats));
}

/**
 * The beginning of the names of this Node's files, in `$XDG_CACHE_HOME/tsvmm` or `~/.cache/tsvmm`; undefined where nothing is to
 * be kept. A Node is told by its file, since V8 does not tell apart two builds of one version.
 *
 * @param caches what XDG_CACHE_HOME says
 * @param home this user's unless given
 */
export function codeCache(caches = '', home?: string): string | undefined {
  try {
    if (process.getuid?.() !== process.geteuid?.()) return undefined;
    // The specification has relative paths ignored.
    const folder = join(isAbsolute(caches) ? caches : join(home ?? homedir(), '.cache'), 'tsvmm');
    if (!isAbsolute(folder) || !isUsable(folder)) return undefined;
    const { dev, ino, size, mtimeMs } = statSync(process.execPath);
    const build = [dev, ino, size, Math.floor(mtimeMs)].map((number) => number.toString(36)).join('-');
    return join(folder, `${process.version}-${process.arch}-${build}`);
  } catch {
    return undefined; // it may not be read, or is no folder: the command works without
  }
}

/** The path, or what there is of it. */
function nearest(path: string): string {
  try {
    lstatSync(path);
    return path;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    return nearest(dirname(path));
  }
}

/** With the folders that it is in. Node's own way to do that never ends where the system has it that nothing can be made (/proc). */
function make(folder: string): void {
  if (nearest(folder) === folder) return;
  make(dirname(folder));
  mkdirSync(folder, { mode: 0o700 });
}

/** @param name of the program and its text */
export function readCode(cache: string, name: string): Buffer | undefined {
  try {
    const fd = openSync(`${cache}-${name}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stats = fstatSync(fd);
      return stats.isFile() && isOurs(stats) ? readFileSync(fd) : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** Appears whole or not at all. */
export function writeCode(cache: string, name: string, code: Uint8Array): void {
  const folder = dirname(cache);
  const fresh = `${cache}-${name}.${process.pid}-${threadId}.tmp`;
  try {
    if (!isUsable(folder)) return;
    make(folder);
    try {
      writeFileSync(fresh, code, { flag: 'wx', mode: 0o600 });
      renameSync(fresh, `${cache}-${name}`);
    } finally {
      rmSync(fresh, { force: true }); // if it got no further
    }
    removeOldest(folder);
  } catch {
    // no room, read-only: as in codeCache
  }
}

function removeOldest(folder: string): void {
  const paths = readdirSync(folder).map((name) => join(folder, name));
  if (paths.length <= mostFiles) return;
  const age = new Map(paths.map((path) => [path, lstatSync(path).mtimeMs]));
  for (const path of paths.sort((a, b) => age.get(b)! - age.get(a)!).slice(mostFiles)) rmSync(path, { force: true });
}
