/**
 * One invocation of `tsvmm`, from its arguments to its exit code. Main thread.
 *
 * `tsvmm run` and `tsvmm restore` with plain options are parsed here by node:util, so that commander (and pino) cost its start nothing;
 * everything else, mistakes included, goes through commander.
 */
import type { CpuList } from '../machine/cpu-list.js';
import type { DoctorReport } from '../machine/doctor.js';
import { doctorExitCode, renderDoctor } from './doctor.js';
import { codeForRefusal, codeForThrown } from './exit-codes.js';
import { errorFields, jsonLine } from './json-events.js';
import { Interrupted, longWork, type WorkControl } from './long-work.js';
import type { RestoreMachine, StartMachine } from './machine.js';
import { painter, renderError } from './print.js';
import { type RunIo, run } from './run.js';
import { parseRun } from './run-flags.js';
import type { SnapshotRequest } from './snapshot-commands.js';

/** What the commands call. */
export interface Library {
  readonly start: StartMachine;
  readonly restore: RestoreMachine;
  cpus(): Promise<CpuList>;
  doctor(): Promise<DoctorReport>;
  /** Findings about a disk image, for people and for programs. */
  inspect(file: string): Promise<{ readonly text: string; readonly data: object }>;
  /** Does something with a snapshot's directory. */
  snapshot(request: SnapshotRequest, control: WorkControl): Promise<{ readonly text: string; readonly data: object }>;
}

export async function commandLine(argv: readonly string[], library: Library, io: RunIo): Promise<number> {
  const plain = argv[0] === 'run' ? parseRun(argv.slice(1)) : undefined;
  if (plain && plain.values['cpu'] !== 'help') return run(plain, library.start, io);
  if (argv[0] === 'restore') {
    const { parseRestore, restore } = await import('./restore.js');
    const given = parseRestore(argv.slice(1));
    if (given) return restore(given, library.restore, io);
  }
  if (argv[0] === '__complete') {
    const [, kind = '', prefix = '', ...words] = argv;
    const lines = await (await import('./complete.js')).complete(kind, prefix, words);
    io.stdout.write(lines.map((line) => `${line}\n`).join(''));
    return 0;
  }
  let codeFor = codeForThrown;
  try {
    if (plain) {
      const { renderCpus } = await import('./cpus.js');
      const list = await library.cpus();
      io.stdout.write(plain.switches.has('json') ? jsonLine(list) : renderCpus(list));
      return 0;
    }
    const { runProgram } = await import('./program.js');
    return await runProgram(
      argv,
      {
        run: (given) => run(given, library.start, io),
        restore: async (given) => (await import('./restore.js')).restore(given, library.restore, io),
        async doctor({ json, quiet }) {
          const report = await library.doctor();
          if (json) io.stdout.write(jsonLine(report));
          else if (!quiet) io.stdout.write(renderDoctor(report, painter(io.stdout)));
          return doctorExitCode(report);
        },
        async inspect(file, { json }) {
          const { text, data } = await library.inspect(file);
          io.stdout.write(json ? jsonLine(data) : text);
          return 0;
        },
        async snapshot(request, { json }) {
          const { text, data } = await longWork(io, (control) => library.snapshot(request, control));
          io.stdout.write(json ? jsonLine(data) : text);
          return 0;
        },
        async ps(options) {
          return (await import('./control/ps.js')).ps(options, io);
        },
        async control(verb, words, options) {
          codeFor = codeForRefusal;
          return (await import('./control/ask.js')).ask(verb, words, options, io);
        },
      },
      { out: (text) => io.stdout.write(text), err: (text) => io.stderr.write(text) },
    );
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    if (argv.includes('--json')) io.stdout.write(jsonLine({ error: errorFields(error) }));
    const verbose = argv.includes('-v') || argv.includes('--verbose');
    const code = codeFor(error);
    io.stderr.write(renderError(error, verbose, painter(io.stderr), undefined, code));
    return code;
  }
}
