/**
 * A kernel built for microVMs: virtio-mmio and its drivers built in, no PCI, no modules (kernel/microvm.config).
 *
 * An artefact `kernel-KEY` holds `bzImage` and `vmlinux` (with PVH's entry note). It is built from Debian's source package,
 * which takes a quarter of an hour on an idle machine, and therefore only when it is asked for: `node scripts/lab.js kernel`,
 * or by the test that boots it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from './cache.js';
import { runTool } from './process.js';
import { installPackages, LabError, requireTools } from './tools.js';

const config = join(import.meta.dirname, 'kernel/microvm.config');
/** Debian's package, whose file holds the sources as one archive. */
const sourcePackage = 'linux-source-6.1';
const tools = /** @type {const} */ ([
  ...['apt-get', 'dpkg-deb', 'tar', 'xz', 'nice'],
  ...['make', 'gcc', 'g++', 'perl', 'flex', 'bison', 'bc', 'strip'],
]);
/** The kernel's own objtool reads objects with it. */
const elfHeader = '/usr/include/libelf.h';

/**
 * The kernel, built if need be.
 *
 * @returns {Promise<{ bzImage: string, vmlinux: string }>} paths
 */
export async function ensureMicrovmKernel() {
  const folder = await ensureArtefact('kernel', keyOf([sourcePackage], [config]), build);
  return { bzImage: join(folder, 'bzImage'), vmlinux: join(folder, 'vmlinux') };
}

/** @param {string} directory */
async function build(directory) {
  const why = 'build a kernel';
  requireTools(tools, why);
  if (!existsSync(elfHeader)) installPackages(['libelf-dev'], why);
  console.error('building the microVM kernel (a quarter of an hour or more, once)');
  const work = join(directory, 'work');
  mkdirSync(work);
  await runTool('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', 'download', sourcePackage], { cwd: work });
  const archive = readdirSync(work).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new LabError(`apt-get has not downloaded ${sourcePackage}`);
  await runTool('dpkg-deb', ['-x', archive, '.'], { cwd: work });
  await runTool('tar', ['-xf', `usr/src/${sourcePackage}.tar.xz`], { cwd: work });
  const tree = join(work, sourcePackage);
  /** @param {string[]} targets */
  const make = (...targets) =>
    runTool('nice', ['-n', '19', 'make', '-s', 'ARCH=x86_64', `-j${availableParallelism()}`, ...targets], {
      cwd: tree,
    });
  await make('tinyconfig');
  await runTool('scripts/kconfig/merge_config.sh', ['-m', '.config', config], { cwd: tree, env: { ARCH: 'x86_64' } });
  await make('olddefconfig');
  await make('bzImage');
  renameSync(join(tree, 'arch/x86/boot/bzImage'), join(directory, 'bzImage'));
  await runTool('strip', ['-o', join(directory, 'vmlinux'), join(tree, 'vmlinux')]);
  rmSync(work, { recursive: true });
}
