/**
 * Whether something built is still up to date, told by the content of what it was built from: time stamps lie after a
 * clone, a checkout or a copy. The hash of the inputs is kept in a file beside the product.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

/** Every file under `paths` (files, or folders in depth), relative to the project, sorted. @param {readonly string[]} paths */
function filesUnder(paths) {
  const files = [];
  for (const path of paths) {
    const full = join(projectRoot, path);
    if (!existsSync(full)) continue; // its absence changes the hash as well
    if (!statSync(full).isDirectory()) files.push(path);
    else
      for (const entry of readdirSync(full, { recursive: true, withFileTypes: true }))
        if (entry.isFile()) files.push(relative(projectRoot, join(entry.parentPath ?? entry.path, entry.name)));
  }
  return files.sort();
}

/** A hash over the names and contents of files, and whatever else matters. @param {readonly string[]} paths @param {readonly string[]} [more] */
export function hashOf(paths, more = []) {
  const hash = createHash('sha256');
  for (const file of filesUnder(paths)) {
    const content = readFileSync(join(projectRoot, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.update(JSON.stringify(more)).digest('hex');
}

/** @param {string} stamp its path in the project @param {string} hash */
export function isBuiltFrom(stamp, hash) {
  const path = join(projectRoot, stamp);
  return existsSync(path) && readFileSync(path, 'utf8') === hash;
}

/** @param {string} stamp @param {string} hash */
export function markBuiltFrom(stamp, hash) {
  mkdirSync(dirname(join(projectRoot, stamp)), { recursive: true });
  writeFileSync(join(projectRoot, stamp), hash);
}

/** Whoever reads `path` meanwhile sees the old file or the new one, never half of one. @param {string} path @param {string | Uint8Array} content */
export function replaceFile(path, content) {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { flush: true }); // nor, after a power cut, an empty one
  renameSync(temporary, path);
}
