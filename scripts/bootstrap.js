/**
 * Makes a fresh clone ready, for `npm test`, `npm run demo` and `npm run bench`: packages from npm, Debian packages, the
 * addon, dist/. Says what it does, and is quiet and quick (well under a second) when there is nothing to do.
 *
 * Only Node's own modules are imported before npm has run.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { hashOf, isBuiltFrom, markBuiltFrom, projectRoot } from './inputs.js';
import { findProgram, installPackages, isRoot } from './lab/tools.js';

/** Debian packages by what they are for, each with a program, or a file, that shows that it (or its like) is there. */
export const debianPackages = /** @type {const} */ ({
  build: { 'g++': 'g++', make: 'make', python3: 'python3' },
  guests: { gcc: 'gcc' },
  /** The addon for the other architecture (scripts/prebuild.js). */
  cross: { 'g++-aarch64-linux-gnu': 'aarch64-linux-gnu-g++' },
  demo: {
    'qemu-system-x86': 'qemu-system-x86_64',
    'qemu-utils': 'qemu-img',
    mmdebstrap: 'mmdebstrap',
    e2fsprogs: 'mke2fs',
  },
  /** External oracles: what they make or read is compared with what tsvmm does. */
  oracles: {
    'acpica-tools': 'iasl',
    binutils: 'objdump',
    'btrfs-progs': 'mkfs.btrfs',
    cpio: 'cpio',
    'cryptsetup-bin': 'cryptsetup',
    dosfstools: 'mkfs.fat',
    'erofs-utils': 'mkfs.erofs',
    exfatprogs: 'mkfs.exfat',
    'f2fs-tools': 'mkfs.f2fs',
    fdisk: 'sfdisk',
    fish: 'fish',
    'g++-aarch64-linux-gnu': 'aarch64-linux-gnu-g++',
    gdb: 'gdb',
    gdisk: 'sgdisk',
    genisoimage: 'genisoimage',
    'grub-common': 'grub-script-check',
    'grub-emu': 'grub-emu',
    'grub-pc-bin': '/usr/lib/grub/i386-pc/moddep.lst',
    isolinux: '/usr/lib/ISOLINUX/isohdpfx.bin',
    jfsutils: 'jfs_mkfs',
    'linux-image-cloud-amd64': '/boot/vmlinuz-*-cloud-amd64',
    mtools: 'mcopy',
    'musl-tools': 'musl-gcc',
    'ntfs-3g': 'mkntfs',
    'qemu-user-static': 'qemu-aarch64-static',
    reiserfsprogs: 'mkfs.reiserfs',
    'squashfs-tools': 'mksquashfs',
    strace: 'strace',
    'syslinux-common': '/usr/lib/syslinux/modules/bios/ldlinux.c32',
    'systemd-boot-efi': '/usr/lib/systemd/boot/efi/linuxx64.efi.stub',
    udftools: 'mkudffs',
    xfsprogs: 'mkfs.xfs',
    xorriso: 'xorriso',
    zsh: 'zsh',
  },
});

const oldestNode = [20, 19];

/** What the user has to do before this can go on. */
export class BootstrapError extends Error {}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = oldestNode;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new BootstrapError(`this is Node.js ${process.versions.node}; tsvmm needs ${oldestNode.join('.')} or newer`);
}

/** @param {string} sign a program's name, or a path whose last part may hold one `*` */
function isThere(sign) {
  if (!sign.startsWith('/')) return findProgram(sign) !== undefined;
  const [before = '', after = ''] = basename(sign).split('*');
  const names = existsSync(dirname(sign)) ? readdirSync(dirname(sign)) : [];
  return names.some((name) => name.startsWith(before) && name.endsWith(after));
}

const lockStamp = 'node_modules/.tsvmm-lock';

/** True when node_modules holds what package-lock.json says, even if somebody ran `npm install` by hand. */
function packagesAreInstalled() {
  const installed = join(projectRoot, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  const read = (/** @type {string} */ path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const present = read(installed);
  return Object.entries(read(join(projectRoot, 'package-lock.json'))).every(
    ([path, { version, optional }]) =>
      path === '' || present[path]?.version === version || (optional && present[path] === undefined),
  );
}

function installNpmPackages() {
  const hash = hashOf(['package-lock.json']);
  if (isBuiltFrom(lockStamp, hash)) return;
  if (!packagesAreInstalled()) {
    say('installing packages from npm');
    const { status, error } = spawnSync(
      'npm',
      ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      {
        cwd: projectRoot,
        stdio: ['ignore', 2, 2],
      },
    );
    if (status !== 0)
      throw new BootstrapError(`npm ci failed${error ? `: ${error.message}` : ''}; its own message is above`);
  }
  markBuiltFrom(lockStamp, hash);
}

const say = (/** @type {string} */ text) => console.error(`bootstrap: ${text}`);

/** @param {Partial<Record<string, string>>} group @returns {string[]} */
const missingOf = (group) => Object.keys(group).filter((name) => !isThere(group[name] ?? name));

/**
 * Oracles that cannot be installed are left out, as a release may not have one of them: their tests are skipped then, and
 * say so.
 */
function installOracles() {
  const missing = missingOf(debianPackages.oracles);
  if (missing.length === 0) return;
  const why = 'compare tsvmm with other tools in the tests';
  try {
    installPackages(missing, why);
  } catch (error) {
    say(`${error.message}\n  ${error.hint}`);
    if (!isRoot()) return;
    for (const name of missing) {
      try {
        installPackages([name], why);
      } catch {
        say(`going on without ${name}`);
      }
    }
  }
}

/**
 * @param {{ packages?: ('guests' | 'demo' | 'cross')[], oracles?: boolean, why?: string }} [options] which groups of Debian packages
 *   are needed besides those that build the addon, and what for: "needed to ..."; whether oracles are wanted too
 */
export async function bootstrap({ packages = [], oracles = false, why = 'build tsvmm' } = {}) {
  checkNode();
  const missing = ['build', ...packages].flatMap((group) => missingOf(debianPackages[group]));
  if (missing.length > 0) installPackages(missing, why);
  if (oracles) installOracles();
  installNpmPackages();
  const { buildNative, nativeIsBuilt } = await import('./build-native.js');
  if (!nativeIsBuilt()) {
    say('building the native addon');
    buildNative();
  }
  const { buildDist, distIsBuilt } = await import('./build.js');
  if (!distIsBuilt()) {
    say('building dist');
    await buildDist();
  }
  const { compileAhead, isCompiledAhead } = await import('./compile-ahead.js');
  if (!isCompiledAhead()) {
    say(`compiling for Node.js ${process.version}`);
    await compileAhead();
  }
}

/**
 * Runs `main` and turns what it answers or throws into an exit code; errors that are explained are shown without a stack.
 *
 * @param {() => Promise<number>} main
 */
export async function runScript(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(`${process.argv[1]?.replace(/.*\//, '')}: ${error.message}`);
    if (error.hint !== undefined) console.error(`hint: ${error.hint}`);
    if (error.constructor !== Error && !(error instanceof BootstrapError) && error.name !== 'LabError')
      console.error(error.stack);
    process.exitCode = 1;
  }
}
