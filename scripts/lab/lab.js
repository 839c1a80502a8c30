/**
 * The lab for programs: a machine resumed from the saved state, with this checkout's product, the test disks and copied
 * files in it. Tests use it through test/lab/support/lab.ts, the command line through run.js.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ensureDisks, imagesFile } from '../images/disks.js';
import { driveSizes, makeFileSystem, makeSparse } from './drives.js';
import { runTool } from './process.js';
import { stageCopies, stageProduct } from './product.js';
import { makeRunFolder } from './run-folder.js';
import { Command, execute } from './session.js';
import { ensureState, resumeMachine } from './state.js';
import { LabError } from './tools.js';

/**
 * One processor: with two, each emulated by a thread of its own, QEMU now and then loses an interrupt between them, and a
 * guest with two vCPUs stalls; and guests boot no faster.
 */
export const defaults = /** @type {const} */ ({ smp: 1, memory: 3072 });

/**
 * @typedef {object} LabOptions
 * @property {number} [smp] processors; 1 by default
 * @property {number} [memory] MiB; 3072 by default
 * @property {{ from: string, to: string }[]} [copy] files and folders from here into the lab, as `cp -a` does it
 * @property {boolean} [disks] whether the test disks are in /images; true by default
 * @property {string[]} [packages] of this checkout's node_modules, with what they depend on, beside those of the product
 * @property {string} [scratch] a file here that is the drive /run/drives/scratch and outlives the lab, as a disk outlives a
 *   power cut: written past the page cache; made if it does not exist
 */

/** Everything that a lab of this size needs, built now instead of at its first use. @param {LabOptions} [options] */
export async function ensureLab(options = {}) {
  const { smp = defaults.smp, memory = defaults.memory, disks = true } = options;
  await Promise.all([ensureState({ smp, memory }), disks && ensureDisks()]);
}

/**
 * @param {LabOptions} [options]
 * @returns {Promise<Lab>}
 */
export async function openLab(options = {}) {
  const { smp = defaults.smp, memory = defaults.memory, disks = true } = options;
  await ensureLab({ smp, memory, disks });
  const run = makeRunFolder();
  const incoming = join(run, 'in');
  mkdirSync(incoming);
  await stageProduct(incoming, options.packages ?? []);
  await stageCopies(incoming, options.copy ?? []);
  const files = { in: join(run, 'in.img'), out: join(run, 'out.raw'), blank: join(run, 'blank') };
  await makeFileSystem(incoming, files.in, driveSizes.in);
  makeSparse(files.out, driveSizes.out);
  makeSparse(files.blank, driveSizes.scratch);
  const scratch = options.scratch === undefined ? undefined : resolve(options.scratch);
  if (scratch !== undefined && !existsSync(scratch)) makeSparse(scratch, driveSizes.scratch);
  const machine = await resumeMachine({ smp, memory }, run, [
    { name: 'images', file: disks ? await imagesFile() : files.blank, format: 'raw', writes: 'discard' },
    { name: 'in', file: files.in, format: 'raw', writes: 'discard' },
    { name: 'out', file: files.out, format: 'raw', writes: 'keep' },
    {
      name: 'scratch',
      file: scratch ?? files.blank,
      format: 'raw',
      writes: scratch === undefined ? 'discard' : 'durable',
    },
  ]);
  try {
    await machine.begin({ images: disks });
  } catch (error) {
    await machine.kill();
    throw error;
  }
  return new Lab(machine, run, files.out);
}

export class Lab {
  /** @type {import('./machine.js').Machine} */
  machine;
  #run;
  #out;

  /** @param {import('./machine.js').Machine} machine @param {string} run @param {string} out */
  constructor(machine, run, out) {
    this.machine = machine;
    this.#run = run;
    this.#out = out;
  }

  /** Starts a command; its streams go to the callbacks. @param {string[]} command @param {import('./session.js').StartOptions} [options] */
  start(command, options = {}) {
    return new Command(this.machine, command, options);
  }

  /**
   * Runs a command to its end. After `timeout` seconds the lab is killed and the promise rejects.
   *
   * @param {string[]} command
   * @param {import('./session.js').StartOptions & { stdin?: string | Uint8Array, timeout?: number }} [options]
   */
  exec(command, options = {}) {
    return execute(this.machine, command, options);
  }

  /**
   * Brings files and folders of the lab here, as `cp -a` does it.
   *
   * @param {{ from: string, to: string }[]} items
   */
  async get(items) {
    if (items.length === 0) return;
    const { exitCode, stderr } = await this.exec(['sh', '/lab/agent/pack.sh', ...items.map((item) => item.from)]);
    if (exitCode !== 0) throw new LabError(stderr.trim());
    const folder = join(this.#run, 'get');
    mkdirSync(folder, { recursive: true });
    await runTool('tar', ['-xf', this.#out, '-C', folder, '--no-same-owner']);
    for (const [index, { to }] of items.entries()) {
      const [name = ''] = readdirSync(join(folder, String(index)));
      mkdirSync(to.endsWith('/') ? to : dirname(resolve(to)), { recursive: true });
      await runTool('cp', ['-a', '--sparse=always', join(folder, String(index), name), to]);
    }
    await runTool('rm', ['-rf', folder]);
  }

  /** Ends the lab at once; everything but the scratch drive is gone, and of that drive what was not flushed. */
  async kill() {
    await this.machine.kill();
    await runTool('rm', ['-rf', this.#run]);
  }

  [Symbol.asyncDispose]() {
    return this.kill();
  }
}
