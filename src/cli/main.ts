/** The program behind bin/tsvmm.js (by start.ts): the command line on this process and the real library. Main thread. */
import type { Writable } from 'node:stream';
import type { Worker } from 'node:worker_threads';
import { adoptVcpu } from '../machine/prewarm.js';
import { keepWorkerCode } from '../threads/worker-start.js';
import { commandLine } from './command-line.js';
import { causeOfLoss, codeForEnd, ExitCode } from './exit-codes.js';

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
/** What went wrong first with each. */
const lost = new Map<Writable, NodeJS.ErrnoException>();

/** A reader that goes away is no error of the program; what it means for a machine is for `run` to say. */
function forgiving<S extends Writable>(stream: S): S {
  if (used.has(stream)) return stream;
  used.add(stream);
  return stream.on('error', (error) => lost.has(stream) || lost.set(stream, error));
}

/** The exit code when not all that was to go to stdout went there: it is what the program is run for. */
function codeOfOutput(code: number): number {
  const error = used.has(process.stdout) ? lost.get(process.stdout) : undefined;
  if (error === undefined) return code;
  const cause = causeOfLoss(error);
  if (cause === 'output') io.stderr.write(`tsvmm: stdout cannot be written: ${error.code ?? error.message}\n`);
  return code === ExitCode.ok ? codeForEnd(cause, true) : code;
}

/** Until all that was written has gone out, or cannot. */
const flush = (): Promise<unknown> =>
  Promise.all(
    [...used].map(
      (stream) =>
        new Promise<void>((resolve) => {
          stream.write('', (error) => {
            if (error && !lost.has(stream)) lost.set(stream, error);
            resolve();
          });
        }),
    ),
  );

async function main(): Promise<never> {
  const answered = await commandLine(
    process.argv.slice(2),
    {
      start: async (options) => (await import('../machine/virtual-machine.js')).VirtualMachine.start(options),
      restore: async (directory, options) =>
        (await import('../machine/virtual-machine.js')).VirtualMachine.restore(directory, options),
      cpus: async () => (await import('../machine/cpu-list.js')).cpuList(),
      doctor: async () => (await import('../machine/doctor.js')).doctor(),
      inspect: async (file) => (await import('./inspect.js')).inspectImage(file),
      snapshot: async (request, control) => (await import('./snapshot.js')).snapshotAction(request, control),
    },
    io,
  );
  await flush();
  const code = codeOfOutput(answered);
  await flush();
  if (code === 0 && ['run', 'restore'].includes(process.argv[2]!)) keepCode(); // the others use little of the program
  process.exit(code);
}

void main();
