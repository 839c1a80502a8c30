/**
 * Kernels that Debian does not have. For microVMs: virtio-mmio and its drivers built in, no PCI, no modules
 * (kernel/microvm.config). And one with a driver for the generation identifier (kernel/generation.config).
 *
 * An artefact `kernel-KEY` or `generation-kernel-KEY` holds `bzImage` and `vmlinux` (with PVH's entry note). They are built from
 * Debian's source package, which takes a quarter of an hour on an idle machine, and therefore only when they are asked for:
 * `node scripts/lab.js kernel`, or by the test that boots them.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from './cache.js';
import { downloadPackages } from './packages.js';
import { runTool } from './process.js';
import { installPackages, requireTools } from './tools.js';

const microvmConfig = join(import.meta.dirname, 'kernel/microvm.config');
const generationConfig = join(import.meta.dirname, 'kernel/generation.config');
/** Debian's package, whose file holds the sources as one archive. */
const sourcePackage = 'linux-source-6.1';
const tools = /** @type {const} */ ([
  ...['dpkg-deb', 'tar', 'xz', 'nice'],
  ...['make', 'gcc', 'g++', 'perl', 'flex', 'bison', 'bc', 'strip'],
]);
/** The kernel's own objtool reads objects with it. */
const elfHeader = '/usr/include/libelf.h';

/** The kernel for microVMs, built if need be. */
export const ensureMicrovmKernel = () => ensureKernel('kernel', [microvmConfig]);

/** The one that hears of its generation. */
export const ensureGenerationKernel = () => ensureKernel('generation-kernel', [microvmConfig, generationConfig]);

/**
 * @param {string} kind
 * @param {string[]} configs later ones override
 * @returns {Promise<{ bzImage: string, vmlinux: string }>} paths
 */
async function ensureKernel(kind, configs) {
  const folder = await ensureArtefact(kind, keyOf([sourcePackage], configs), (directory) => build(directory, configs));
  return { bzImage: join(folder, 'bzImage'), vmlinux: join(folder, 'vmlinux') };
}

/** @param {string} directory @param {string[]} configs */
async function build(directory, configs) {
  const why = 'build a kernel';
  requireTools(tools, why);
  if (!existsSync(elfHeader)) installPackages(['libelf-dev'], why);
  console.error('building a kernel (a quarter of an hour or more, once)');
  const work = join(directory, 'work');
  const [archive = ''] = await downloadPackages([sourcePackage], work);
  await runTool('dpkg-deb', ['-x', archive, '.'], { cwd: work });
  await runTool('tar', ['-xf', `usr/src/${sourcePackage}.tar.xz`], { cwd: work });
  const tree = join(work, sourcePackage);
  /** @param {string[]} targets */
  const make = (...targets) =>
    runTool('nice', ['-n', '19', 'make', '-s', 'ARCH=x86_64', `-j${availableParallelism()}`, ...targets], {
      cwd: tree,
    });
  await make('tinyconfig');
  const merged = ['-m', '.config', ...configs];
  await runTool('scripts/kconfig/merge_config.sh', merged, { cwd: tree, env: { ARCH: 'x86_64' } });
  await make('olddefconfig');
  await make('bzImage');
  renameSync(join(tree, 'arch/x86/boot/bzImage'), join(directory, 'bzImage'));
  await runTool('strip', ['-o', join(directory, 'vmlinux'), join(tree, 'vmlinux')]);
  rmSync(work, { recursive: true });
}
