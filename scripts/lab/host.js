/**
 * The lab host: the Debian that runs in emulation, has /dev/kvm, and in which tsvmm and its peers run.
 *
 * An artefact `host-KEY` holds `host.img` (an ext4 root file system without partitions), its kernel and its initrd, which
 * QEMU loads directly. Node is not in it: it is the one of the outside, brought when a state is prepared (state.js).
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from './cache.js';
import { makeRootImage, makeRootTar, suite } from './debian.js';
import { runTool } from './process.js';

const here = import.meta.dirname;
const initScript = join(here, 'host/init.sh');

/** Size of the root file system as the lab sees it; the file is sparse. */
const ROOT_SIZE = 16 * 2 ** 30;
export const ROOT_LABEL = 'lab-root';

/** What the initrd needs to reach the root: the disk driver; ext4 is in the kernel. */
const initrdModules = ['virtio_pci', 'virtio_blk'];

/** @type {import('./debian.js').Recipe} */
const recipe = {
  variant: 'essential',
  packages: [
    'linux-image-cloud-amd64',
    'initramfs-tools',
    'zstd',
    'mount',
    'udev',
    'kmod',
    'iproute2',
    'procps',
    'socat',
    'gdb-minimal',
    // small guests are made of these
    'busybox-static',
    'cpio',
    // what Node and addons built for it need
    'libstdc++6',
    'libatomic1',
    'ca-certificates',
    // the peer of the benches
    'qemu-system-x86',
    'qemu-utils',
    // to make and check disks; grub itself comes with the test disks
    'e2fsprogs',
    'dosfstools',
    'fdisk',
    'gdisk',
    'mtools',
  ],
  earlyHooks: [
    'mkdir -p "$1"/etc/initramfs-tools/conf.d "$1"/usr/share/initramfs-tools/modules.d',
    'printf "MODULES=list\\nCOMPRESS=zstd\\n" > "$1"/etc/initramfs-tools/conf.d/lab',
    `printf "%s\\n" ${initrdModules.join(' ')} > "$1"/usr/share/initramfs-tools/modules.d/lab`,
  ],
  lateHooks: [
    `install -D -m 0755 ${JSON.stringify(initScript)} "$1"/lab/init`,
    'mkdir -p "$1"/project "$1"/images "$1"/lab/in "$1"/lab/out && echo lab > "$1"/etc/hostname',
    'echo "127.0.0.1 localhost lab" > "$1"/etc/hosts',
  ],
};

/** What the host is made from, as a key. */
export const hostKey = () =>
  keyOf(
    [recipe.variant, recipe.packages, suite, ROOT_SIZE, process.arch],
    [initScript, join(here, 'host.js'), join(here, 'debian.js')],
  );

/**
 * The directory with `host.img`, `vmlinuz` and `initrd.img`, built if need be.
 *
 * @returns {Promise<string>}
 */
export function ensureHost() {
  return ensureArtefact('host', hostKey(), async (directory) => {
    console.error('building the lab host (a few minutes, once)');
    const tar = join(directory, 'host.tar');
    await makeRootTar(recipe, tar);
    await extractKernel(tar, directory);
    await makeRootImage(tar, join(directory, 'host.img'), { size: ROOT_SIZE, label: ROOT_LABEL });
    rmSync(tar);
  });
}

/**
 * Takes the kernel and the initrd of a root tar out as `vmlinuz` and `initrd.img`.
 *
 * @param {string} tarFile
 * @param {string} directory
 */
export async function extractKernel(tarFile, directory) {
  for (const name of ['vmlinuz', 'initrd.img'])
    await runTool('tar', [
      '-xf',
      tarFile,
      '-C',
      directory,
      '--wildcards',
      '--transform',
      `s,.*/${name}-.*,${name},`,
      `./boot/${name}-*`,
    ]);
}
