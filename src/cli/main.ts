/** The program behind bin/tsvmm.js (by start.ts): the command line on this process and the real library. Main thread. */
import type { Writable } from 'node:stream';
import type { Worker } from 'node:worker_threads';
import { adoptVcpu } from '../machine/prewarm.js';
import { commandLine } from './command-line.js';

/** From start.ts: a thread for the machine's first vCPU. */
declare const handed: Worker | undefined;
if (handed !== undefined) adoptVcpu(handed);

/** Node makes its streams at first use, which takes some milliseconds each: the machine starts meanwhile. */
const io = {
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return forgiving(process.stdout);
  },
  get stderr() {
    return forgiving(process.stderr);
  },
  signals: process,
  exitNow: (code: number): void => process.exit(code),
};
const used = new Set<Writable>();

/** A reader that goes away is not an error of ours; what it means for a machine is for `run` to say. */
function forgiving<S extends Writable>(stream: S): S {
  if (!used.has(stream)) used.add(stream.on('error', () => {}));
  return stream;
}

async function main(): Promise<never> {
  const code = await commandLine(
    process.argv.slice(2),
    {
      start: async (options) => (await import('../machine/virtual-machine.js')).VirtualMachine.start(options),
      cpus: async () => (await import('../machine/cpu-list.js')).cpuList(),
      doctor: async () => (await import('../machine/doctor.js')).doctor(),
      inspect: async (file) => (await import('./inspect.js')).inspectImage(file),
    },
    io,
  );
  await Promise.all([...used].map((stream) => new Promise<void>((resolve) => void stream.write('', () => resolve()))));
  process.exit(code);
}

void main();
