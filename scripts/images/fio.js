/**
 * The fio disk: a Debian with fio and without kernel and boot loader, an ext4 from the first sector on. It boots with the
 * kernel and initrd of the test disks, and obeys the words of files/tsvmm-marker as its init. An artefact `fio-KEY`.
 */
import { chmodSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from '../lab/cache.js';
import { makeRootImage, makeRootTar } from '../lab/debian.js';

const files = join(import.meta.dirname, 'files');
const size = 2 ** 30;
const packages = ['fio', 'mount', 'hostname'];
const lateHooks = [
  `install -m 0755 ${JSON.stringify(join(files, 'tsvmm-marker'))} "$1"/usr/local/sbin/tsvmm-marker`,
  'echo fio > "$1"/etc/hostname',
];

/**
 * Its path; built if need be, in a minute. It is shared and read-only.
 *
 * @returns {Promise<string>}
 */
export async function ensureFioDisk() {
  const key = keyOf([packages, size], [files, join(import.meta.dirname, 'fio.js')]);
  const folder = await ensureArtefact('fio', key, async (directory) => {
    console.error('building a disk with fio (a minute, once)');
    const tar = join(directory, 'root.tar');
    await makeRootTar({ variant: 'essential', packages, lateHooks }, tar);
    await makeRootImage(tar, join(directory, 'fio.img'), { size, label: 'fio' });
    rmSync(tar);
    chmodSync(join(directory, 'fio.img'), 0o444);
  });
  return join(folder, 'fio.img');
}
