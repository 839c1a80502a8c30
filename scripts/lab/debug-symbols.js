/**
 * Debian's kernels with all that debuggers want to know of them, as Debian has built them. An artefact `debug-symbols-KEY` holds
 * `vmlinux`, 600 MB of it out of a package of 280: therefore only by the tests that need it.
 */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from './cache.js';
import { downloadPackages } from './packages.js';
import { runTool } from './process.js';
import { requireTools } from './tools.js';

/** @param {string} release as `uname -r` says it @returns {Promise<string>} path */
export async function ensureDebugSymbols(release) {
  requireTools(['crash'], 'look into crash dumps');
  const folder = await ensureArtefact('debug-symbols', keyOf([release]), (directory) =>
    fetchSymbols(directory, release),
  );
  return join(folder, 'vmlinux');
}

/** @param {string} directory @param {string} release */
async function fetchSymbols(directory, release) {
  requireTools(['dpkg-deb', 'tar'], 'get the symbols of a kernel');
  const work = join(directory, 'package');
  const [archive = ''] = await downloadPackages([`linux-image-${release}-dbg`], work);
  // The modules' symbols are three times as much, and nobody asks for them.
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x "./usr/lib/debug/boot/vmlinux-$2"';
  await runTool('sh', ['-ec', unpack, 'sh', archive, release], { cwd: work });
  renameSync(join(work, `usr/lib/debug/boot/vmlinux-${release}`), join(directory, 'vmlinux'));
  rmSync(work, { recursive: true });
}
