/**
 * The QEMU that emulates the lab's processor, which has to be a recent one.
 *
 * Guests of the lab's KVM stand on QEMU's emulation of SVM. That of Debian 12 (QEMU 7.2) loses about one guest in six to
 * a triple fault or a vCPU that stops for ever, more with two vCPUs, whatever monitor runs it. Where the machine's own QEMU
 * is too old, the one of the suite's backports is unpacked into the cache, beside the libraries of the installed one.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureArtefact, keyOf } from './cache.js';
import { machineSources, suite } from './debian.js';
import { downloadPackages } from './packages.js';
import { runTool } from './process.js';
import { requireTools } from './tools.js';

const installed = 'qemu-system-x86_64';
/** The first that is known to carry a Debian guest with two vCPUs through its boot. */
const oldestMajor = 10;
const packages = ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data', 'seabios'];

/** @param {string} program */
const versionOf = (program) => runTool(program, ['--version']);

/** @param {string} version what `--version` prints */
export const isRecent = (version) => Number(/version (\d+)\./.exec(version)?.[1] ?? 0) >= oldestMajor;

/** @type {Promise<{ program: string, version: string }> | undefined} */
let found;

/** The program to run, and what it says of its version. */
export function ensureEmulator() {
  found ??= find();
  return found;
}

async function find() {
  requireTools([installed], 'run the lab');
  const own = { program: installed, version: await versionOf(installed) };
  if (isRecent(own.version)) return own;
  try {
    const folder = await ensureArtefact('emulator', keyOf([suite, packages, process.arch]), unpack);
    const program = join(folder, 'usr/bin', installed);
    return { program, version: await versionOf(program) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.error(`lab: no newer QEMU could be had, so guests in the lab may be lost now and then: ${why}`);
    return own;
  }
}

/** @param {string} directory */
async function unpack(directory) {
  const sources = machineSources()
    ?.split('\n')
    .find((line) => line.split(' ')[2] === suite);
  if (sources === undefined) throw new Error(`this machine's apt has no sources of ${suite}`);
  console.error(`fetching the QEMU of ${suite}-backports for the lab (once)`);
  const archives = join(directory, 'packages');
  const backports = sources.replace(` ${suite} `, ` ${suite}-backports `);
  for (const archive of await downloadPackages(packages, archives, backports))
    await runTool('dpkg-deb', ['-x', archive, directory]);
  rmSync(archives, { recursive: true });
  await versionOf(join(directory, 'usr/bin', installed)); // all its libraries are there, or it is of no use
}
