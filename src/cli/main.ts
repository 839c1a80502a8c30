/** The program behind bin/tsvmm.js (by start.ts): the command line on this process and the real library. Main thread. */
import type { Writable } from 'node:stream';
import type { Worker } from 'node:worker_threads';
import { adoptVcpu } from '../machine/prewarm.js';
import { keepWorkerCode } from '../threads/worker-start.js';
import { commandLine } from './command-line.js';

export interface Handed {
  /** A thread for the machine's first vCPU. */
  readonly vcpu: Worker | undefined;
  /** Where compiled code is kept. */
  readonly cache: string | undefined;
}

/** From start.ts. */
declare const handed: Handed;
/** From start-bundle.ts. */
declare const keepCode: () => void;
if (handed.vcpu !== undefined) adoptVcpu(handed.vcpu);
keepWorkerCode(handed.cache);

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
  if (code === 0 && process.argv[2] === 'run') keepCode(); // the others use little of the program
  process.exit(code);
}

void main();
