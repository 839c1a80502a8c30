/**
 * The test disks: Debian systems on disks that Debian's own tools made.
 *
 * An artefact `disks-KEY` holds the disks of `diskNames`, the kernel and initrd that they all have, and `images.raw`, a
 * file system with all of these, which the lab mounts at /images. One mmdebstrap run gives the system, mke2fs puts it on
 * the disks, and the boot loaders' own tools run in the lab host, so nothing needs mounts or loop devices here.
 */
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from '../lab/cache.js';
import { asRoot, makeRootTar } from '../lab/debian.js';
import { driveSizes, makeFileSystem, makeSparse } from '../lab/drives.js';
import { ensureEmulator } from '../lab/emulator.js';
import { ensureHost, extractKernel } from '../lab/host.js';
import { Machine } from '../lab/machine.js';
import { makeRunFolder } from '../lab/run-folder.js';
import { execute } from '../lab/session.js';
import { agentDrive, tools } from '../lab/state.js';
import { LabError, requireTools } from '../lab/tools.js';

const here = import.meta.dirname;
const filler = join(here, 'fill-disks.sh');
const loaders = join(here, 'install-loaders.sh');

const MIB = 2 ** 20;
const DISK_SIZE = 1024 * MIB;

/** What each disk shows is in docs/test-beds.md. */
export const diskNames = /** @type {const} */ ([
  'debian-gpt',
  'debian-mbr',
  'debian-bare',
  'debian-sdboot',
  'debian-uki',
  'debian-extlinux',
  'debian-xfs',
]);
/** @typedef {typeof diskNames[number]} DiskName */

const file = (/** @type {string} */ name) => JSON.stringify(join(here, 'files', name));

/** @type {import('../lab/debian.js').Recipe} */
const recipe = {
  variant: 'apt',
  packages: [
    'linux-image-cloud-amd64',
    'initramfs-tools',
    'e2fsprogs',
    'zstd',
    'systemd-sysv',
    'udev',
    'kmod',
    'iproute2',
    'procps',
    // the power button: logind, and the bus on which it tells systemd
    'dbus',
    'libpam-systemd',
    'grub2-common',
    'grub-pc-bin',
    'grub-efi-amd64-bin',
    'systemd-boot',
    'extlinux',
    'u-boot-menu',
    'xfsprogs',
  ],
  earlyHooks: [
    // The initrd gets fsck for the root that is named here; each disk has its own table in the end.
    'echo "LABEL=root / ext4 errors=remount-ro 0 1" > "$1"/etc/fstab',
  ],
  lateHooks: [
    'chroot "$1" passwd --delete root',
    // Each disk has the configuration of its own boot loader only.
    'rm -rf "$1"/boot/extlinux',
    // Emulation makes honest work look like a lockup; and it is an option that update-grub has to carry over.
    'mkdir -p "$1"/etc/default && printf "%s\\n" "GRUB_DEFAULT=0" "GRUB_TIMEOUT=5" "GRUB_DISTRIBUTOR=Debian" "GRUB_CMDLINE_LINUX_DEFAULT=quiet" "GRUB_CMDLINE_LINUX=watchdog_thresh=60" > "$1"/etc/default/grub',
    `install -m 0755 ${file('tsvmm-marker')} "$1"/usr/local/sbin/tsvmm-marker`,
    `install -m 0644 ${file('tsvmm-marker.service')} "$1"/etc/systemd/system/tsvmm-marker.service`,
    'chroot "$1" systemctl enable tsvmm-marker.service',
  ],
};

/** The recipe names files by their paths; where the checkout is does not change what is made. */
const key = () =>
  keyOf(
    [JSON.stringify(recipe).replaceAll(here, ''), DISK_SIZE, driveSizes.images],
    [filler, loaders, join(here, 'files'), join(here, '../lab/debian.js')],
  );

/** @returns {Promise<string>} */
const ensure = () => ensureArtefact('disks', key(), build);

/**
 * The test disks, built if need be. They are shared and read-only: a caller that wants to boot one copies it.
 *
 * @returns {Promise<Record<DiskName, string>>} their paths
 */
export async function ensureDisks() {
  const folder = await ensure();
  return /** @type {Record<DiskName, string>} */ (
    Object.fromEntries(diskNames.map((name) => [name, join(folder, `${name}.img`)]))
  );
}

/** @param {DiskName} name @returns {Promise<string>} its path */
export async function ensureDisk(name) {
  if (!diskNames.includes(name))
    throw new LabError(`there is no test disk ${name}`, { hint: `there are ${diskNames.join(', ')}`, exitCode: 2 });
  return (await ensureDisks())[name];
}

/** The file system that the lab has at /images. */
export const imagesFile = async () => join(await ensure(), 'images.raw');

/** @param {string} directory */
async function build(directory) {
  requireTools(tools, 'run the lab');
  console.error('building the test disks (a few minutes, once)');
  const archive = join(directory, 'root.tar');
  const [host] = await Promise.all([ensureHost(), makeRootTar(recipe, archive)]);
  await extractKernel(archive, directory);
  for (const name of diskNames) makeSparse(join(directory, `${name}.img`), DISK_SIZE);
  requireTools(['sfdisk', 'mke2fs', 'e2fsck', 'tar', 'objcopy'], 'make the test disks');
  await asRoot(readFileSync(filler, 'utf8'), [archive, directory]);
  rmSync(archive);
  await installLoaders(directory, host);
  const files = [...diskNames.map((name) => `${name}.img`), 'vmlinuz', 'initrd.img'];
  const content = join(directory, 'content');
  mkdirSync(content);
  for (const name of files) linkSync(join(directory, name), join(content, name));
  await makeFileSystem(content, join(directory, 'images.raw'), driveSizes.images);
  rmSync(content, { recursive: true });
  for (const name of files) chmodSync(join(directory, name), 0o444);
}

/**
 * Runs install-loaders.sh in a freshly booted lab host.
 *
 * @param {string} directory
 * @param {string} host
 */
async function installLoaders(directory, host) {
  const run = makeRunFolder();
  const memory = 2048;
  /** @param {string} name @returns {import('../lab/machine.js').Drive} */
  const target = (name) => ({
    name: name.replace('debian-', ''),
    file: join(directory, `${name}.img`),
    format: 'raw',
    writes: 'keep',
  });
  const { program: emulator } = await ensureEmulator();
  const machine = new Machine({
    emulator,
    kernelFolder: host,
    runFolder: run,
    smp: 2,
    memory,
    memoryFile: join(run, 'ram'),
    shareMemory: false,
    drives: [
      ...diskNames.map(target),
      { name: 'root', file: join(host, 'host.img'), format: 'raw', writes: 'discard' },
      await agentDrive(run),
    ],
  });
  try {
    await machine.booted();
    const { exitCode, stdout, stderr } = await execute(
      machine,
      [
        'sh',
        '-c',
        readFileSync(loaders, 'utf8'),
        'install-loaders',
        ...diskNames.map((name) => name.replace('debian-', '')),
      ],
      { cwd: '/', timeout: 1800 },
    );
    if (exitCode !== 0)
      throw new LabError(
        machine.explain(`the test disks could not be made (exit code ${exitCode}):\n${stdout}${stderr}`),
      );
  } finally {
    await machine.kill();
  }
}
