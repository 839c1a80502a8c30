/**
 * The saved lab: booted once, with /dev/kvm there, Node in the page cache and the agent waiting; every run resumes it.
 *
 * It is what QEMU's `savevm` saves, kept as three files instead of inside a disk image, so that any number of runs can
 * share it without copying: `ram` is the machine's memory, mapped copy-on-write by each run; `devices` is the state of
 * everything else, in the format of savevm and migration; `root.qcow2` is what the boot changed on the host's image.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { artefactPath, ensureArtefact, keyOf } from './cache.js';
import { driveSizes, makeFileSystem, makeSparse } from './drives.js';
import { ensureEmulator } from './emulator.js';
import { ensureHost, hostKey } from './host.js';
import { Machine } from './machine.js';
import { runTool } from './process.js';
import { nodeIdentity, stageAgent } from './product.js';
import { makeRunFolder } from './run-folder.js';
import { requireTools } from './tools.js';

export const tools = /** @type {const} */ (['qemu-system-x86_64', 'qemu-img', 'mke2fs', 'setpriv', 'tar']);

/** @typedef {{ smp: number, memory: number }} Size */

/**
 * A state fits one host image, one agent, one Node, one QEMU, one size; and one kind of processor, as the lab has
 * measured how fast its time stamp counter runs.
 *
 * @param {Size} size
 */
async function stateKey(size) {
  const { version } = await ensureEmulator();
  const processor = /^model name.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[0];
  const here = import.meta.dirname;
  return keyOf(
    [hostKey(), size, driveSizes, nodeIdentity(), version, processor],
    [join(here, 'agent'), join(here, 'machine.js')],
  );
}

/** What a state is for: of each there is one, the newest. @param {Size} size */
const purpose = ({ smp, memory }) => `${hostKey()}-${process.version}-${smp}x${memory}-`;

/**
 * @param {Size} size
 * @returns {Promise<string>} the directory with `ram`, `devices` and `root.qcow2`
 */
export async function ensureState(size) {
  requireTools(tools, 'run the lab');
  const key = purpose(size) + (await stateKey(size));
  const path = artefactPath('state', key);
  if (existsSync(path)) return path;
  const host = await ensureHost();
  return ensureArtefact(
    'state',
    key,
    (directory) => prepare(directory, host, size),
    (other) => other.startsWith(hostKey()) && !other.startsWith(purpose(size)),
  );
}

/**
 * The drives that make a fresh machine find Node and its agent.
 *
 * @param {string} runFolder
 * @returns {Promise<import('./machine.js').Drive>}
 */
export async function agentDrive(runFolder) {
  const folder = join(runFolder, 'agent');
  await stageAgent(folder);
  const file = join(runFolder, 'agent.img');
  await makeFileSystem(folder, file, driveSizes.in);
  return { name: 'in', file, format: 'raw', writes: 'discard' };
}

/**
 * @param {string} directory
 * @param {string} host
 * @param {Size} size
 */
async function prepare(directory, host, size) {
  console.error(`booting the lab once (${size.smp} CPUs, ${size.memory} MiB) to keep it`);
  const run = makeRunFolder();
  const root = join(directory, 'root.qcow2');
  const backing = relative(directory, join(host, 'host.img')); // relative, as the folder will be renamed
  await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `backing_fmt=raw,backing_file=${backing}`, root]);
  const blank = join(run, 'blank');
  makeSparse(blank, driveSizes.out);
  /** @param {string} name @returns {import('./machine.js').Drive} */
  const empty = (name) => ({ name, file: blank, format: 'raw', writes: 'discard' });
  const machine = new Machine({
    ...size,
    emulator: (await ensureEmulator()).program,
    kernelFolder: host,
    runFolder: run,
    memoryFile: join(directory, 'ram'),
    shareMemory: true,
    drives: [
      { name: 'root', file: root, format: 'qcow2', writes: 'keep' },
      empty('images'),
      await agentDrive(run),
      empty('out'),
      empty('scratch'),
    ],
  });
  try {
    await machine.booted();
    await machine.save(join(directory, 'devices'));
  } finally {
    await machine.kill();
  }
}

/**
 * Starts a machine from a saved state.
 *
 * @param {Size} size
 * @param {string} runFolder
 * @param {import('./machine.js').Drive[]} drives all but the root, in the order of `prepare`
 */
export async function resumeMachine(size, runFolder, drives) {
  const state = await ensureState(size);
  const host = await ensureHost();
  const machine = new Machine({
    ...size,
    emulator: (await ensureEmulator()).program,
    kernelFolder: host,
    runFolder,
    memoryFile: join(state, 'ram'),
    shareMemory: false,
    drives: [{ name: 'root', file: join(state, 'root.qcow2'), format: 'qcow2', writes: 'discard' }, ...drives],
    incoming: true,
  });
  try {
    await Promise.race([machine.load(join(state, 'devices')), machine.dead.then((error) => Promise.reject(error))]);
    return machine;
  } catch (error) {
    await machine.kill();
    throw error;
  }
}
