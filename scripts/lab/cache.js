/**
 * The cache of the test beds: where built images live, how they are named and how they appear.
 *
 * Each artefact is a directory `KIND-KEY`, KEY being a hash of everything it is made from. It is built beside, under a
 * name that nobody looks for, and renamed when complete, so an interrupted build never looks like a finished one. A lock
 * per kind lets one process build while the others wait; flock(1) holds it, so it ends with its owner however that ends.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError, requireTools, toolEnvironment } from './tools.js';

/** The checkout. */
export const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** The cache folder: `TSVMM_CACHE`, or `.cache` in the checkout; the test beds use `lab` in it. */
export function cacheFolder() {
  const folder = join(resolve(process.env.TSVMM_CACHE ?? join(projectRoot, '.cache')), 'lab');
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * A short hash of values and of the content of files and folders.
 *
 * @param {unknown} values anything that JSON can hold
 * @param {string[]} [paths]
 */
export function keyOf(values, paths = []) {
  const hash = createHash('sha256').update(JSON.stringify(values));
  /** @param {string} path @param {string} name */
  const add = (path, name) => {
    if (statSync(path).isDirectory()) {
      for (const entry of readdirSync(path).sort()) add(join(path, entry), `${name}/${entry}`);
    } else {
      hash.update(`\0${name}\0`).update(readFileSync(path));
    }
  };
  for (const path of paths) add(path, path.slice(dirname(path).length));
  return hash.digest('hex').slice(0, 16);
}

/**
 * Runs `work` while holding the lock `name`; waits for as long as another process holds it.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(name, work) {
  requireTools(['flock'], 'lock the cache');
  const file = join(cacheFolder(), `${name}.lock`);
  // The holder lives until our end of the pipe closes: at release, or when this process is gone.
  const holder = spawn('flock', [file, 'sh', '-c', 'echo held; exec cat'], {
    env: toolEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = setTimeout(() => console.error(`waiting for another process that builds (${name})`), 2000);
  try {
    await new Promise((acquired, failed) => {
      holder.stdout.once('data', acquired);
      holder.once('error', failed);
      holder.once('close', (code) => failed(new LabError(`cannot lock ${file}: flock ended with ${code}`)));
    });
  } finally {
    clearTimeout(waiting);
  }
  try {
    return await work();
  } finally {
    const released = new Promise((done) => holder.once('close', done));
    holder.stdin.end();
    await released;
  }
}

/** @param {string} kind @param {string} key */
export const artefactPath = (kind, key) => join(cacheFolder(), `${kind}-${key}`);

/**
 * The directory of an artefact, built if it is not there.
 *
 * @param {string} kind
 * @param {string} key
 * @param {(directory: string) => Promise<void>} build fills the directory
 * @param {(key: string) => boolean} [keep] which other artefacts of this kind survive a new one; none by default
 * @returns {Promise<string>}
 */
export function ensureArtefact(kind, key, build, keep = () => false) {
  const path = artefactPath(kind, key);
  if (existsSync(path)) return Promise.resolve(path);
  const running = builds.get(path) ?? buildArtefact(kind, key, build, keep).finally(() => builds.delete(path));
  builds.set(path, running);
  return running;
}

/** Builds under way in this process, by path. @type {Map<string, Promise<string>>} */
const builds = new Map();

/** @type {(...args: Required<Parameters<typeof ensureArtefact>>) => Promise<string>} */
function buildArtefact(kind, key, build, keep) {
  const path = artefactPath(kind, key);
  return withLock(kind, async () => {
    if (existsSync(path)) return path; // built while this process waited
    const building = join(cacheFolder(), `building-${kind}`); // the lock makes the name ours: what is there was interrupted
    rmSync(building, { recursive: true, force: true });
    mkdirSync(building);
    await build(building);
    renameSync(building, path);
    for (const name of readdirSync(cacheFolder())) {
      if (!name.startsWith(`${kind}-`) || name === `${kind}-${key}` || keep(name.slice(kind.length + 1))) continue;
      rmSync(join(cacheFolder(), name), { recursive: true, force: true });
    }
    return path;
  });
}
