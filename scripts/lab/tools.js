/**
 * Finds the programs that the test beds run, and installs what is missing.
 *
 * Everything comes from Debian packages. As root on a Debian system the missing ones are installed with apt-get without
 * asking; elsewhere the caller gets one error that carries the exact command to run.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Directories that hold administration programs and that an ordinary user's PATH may lack. */
const systemDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** Which Debian package brings which program. */
const packageOf = /** @type {const} */ ({
  mmdebstrap: 'mmdebstrap',
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  mke2fs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  sfdisk: 'fdisk',
  tar: 'tar',
  flock: 'util-linux',
  setpriv: 'util-linux',
  unshare: 'util-linux',
  newuidmap: 'uidmap',
  objcopy: 'binutils',
  // to build a kernel
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  nice: 'coreutils',
  xz: 'xz-utils',
  make: 'make',
  gcc: 'gcc',
  'g++': 'g++',
  perl: 'perl',
  flex: 'flex',
  bison: 'bison',
  bc: 'bc',
  strip: 'binutils',
  crash: 'crash',
});

/** @typedef {keyof typeof packageOf} Tool */

export class LabError extends Error {
  /**
   * @param {string} message what went wrong, and where
   * @param {{ hint?: string, cause?: unknown, exitCode?: number }} [options] `exitCode` is the one the command line ends with
   */
  constructor(message, options = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LabError';
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 125;
  }
}

/** The environment for every child: the same PATH for root, sudo and plain users, and messages in English. */
export function toolEnvironment() {
  const path = [...(process.env.PATH ?? '').split(delimiter), ...systemDirectories];
  return { ...process.env, PATH: [...new Set(path.filter(Boolean))].join(delimiter), LC_ALL: 'C.UTF-8' };
}

/**
 * @param {string} program
 * @returns {string | undefined} its path
 */
export function findProgram(program) {
  for (const directory of toolEnvironment().PATH.split(delimiter)) {
    const path = join(directory, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {} // not here: the next directory may have it
  }
  return undefined;
}

export const isRoot = () => process.getuid?.() === 0;

/**
 * Installs Debian packages, or says how to.
 *
 * @param {string[]} packages
 * @param {string} why completes "... needed to"
 */
export function installPackages(packages, why) {
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  const missing = `missing Debian packages, needed to ${why}: ${packages.join(', ')}`;
  if (!existsSync('/etc/debian_version') || findProgram('apt-get') === undefined)
    throw new LabError(missing, {
      hint: `this machine is not Debian; install them by its own means (on Debian: ${command})`,
    });
  if (!isRoot()) throw new LabError(missing, { hint: `run: sudo ${command}` });
  console.error(`installing ${packages.join(', ')} (needed to ${why})`);
  const apt = (/** @type {string[]} */ args) =>
    spawnSync('apt-get', args, {
      env: { ...toolEnvironment(), DEBIAN_FRONTEND: 'noninteractive' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 << 20,
    });
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
  let result = apt(install);
  if (result.status !== 0) {
    apt(['update', '-qq']); // its failure shows in the second try
    result = apt(install);
  }
  if (result.status !== 0)
    throw new LabError(`apt-get could not install ${packages.join(', ')}:\n${result.stderr.trim()}`, {
      hint: `run: apt-get update && ${command}`,
    });
}

/**
 * @param {readonly Tool[]} tools
 * @param {string} why completes "... needed to"
 */
export function requireTools(tools, why) {
  const missing = tools.filter((tool) => findProgram(tool) === undefined);
  if (missing.length > 0) installPackages([...new Set(missing.map((tool) => packageOf[tool]))], why);
}
