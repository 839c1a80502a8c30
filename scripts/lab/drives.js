/** Makes the drives of a run: sparse files of fixed sizes, since a resumed machine already knows how large each is. */
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { runTool } from './process.js';
import { requireTools } from './tools.js';

const GIB = 2 ** 30;

/** Sizes by name; part of what a saved state depends on. */
export const driveSizes = /** @type {const} */ ({ images: 16 * GIB, in: 16 * GIB, out: 16 * GIB, scratch: 16 * GIB });

/** @param {string} file @param {number} size */
export function makeSparse(file, size) {
  const fd = openSync(file, 'w');
  ftruncateSync(fd, size);
  closeSync(fd);
}

/**
 * An ext4 file system that holds a copy of a folder; holes in files stay holes.
 *
 * @param {string} folder
 * @param {string} file
 * @param {number} size
 */
export async function makeFileSystem(folder, file, size) {
  requireTools(['mke2fs'], 'make file system images');
  makeSparse(file, size);
  // Few inodes and no journal: written in milliseconds, and thrown away after the run.
  await runTool('mke2fs', [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-O',
    '^has_journal',
    '-i',
    '131072',
    '-E',
    'lazy_itable_init=1,root_owner=0:0',
    '-d',
    folder,
    file,
  ]);
}
