/** `tsvmm run` on a fake machine, with streams and signals of the test's own. */
import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { expect } from 'vitest';
import type { StartMachine } from '../../../src/cli/machine.js';
import { type RunIo, run } from '../../../src/cli/run.js';
import { parseRun } from '../../../src/cli/run-flags.js';
import { type FakeMachine, fakeStart } from './fake-machine.js';

export class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
  events: Record<string, unknown>[];
  machine: FakeMachine | undefined;
  left: number[];
}

/** Runs `tsvmm run ARGV` on a fake machine; `act` plays the guest and the user once it has started. */
export async function play(
  argv: string[],
  act: (machine: FakeMachine, world: { signal(name: string): void; stdin: PassThrough; stdout: Sink }) => unknown,
  replace: Partial<RunIo> & { start?: StartMachine } = {},
): Promise<Outcome> {
  const signals = new EventEmitter();
  const stdin = new PassThrough();
  const stdout = new Sink();
  const stderr = new Sink();
  const left: number[] = [];
  let broken: unknown;
  const { start, machines } = fakeStart(async (machine) => {
    try {
      await act(machine, { signal: (name) => signals.emit(name), stdin, stdout });
    } catch (error) {
      broken = error;
      machine.end({ reason: 'killed' });
    }
  });
  const given = parseRun(argv);
  if (!given) throw new Error('not plain');
  const code = await run(given, replace.start ?? start, {
    stdin,
    stdout,
    stderr,
    signals,
    exitNow: (now) => left.push(now),
    ...replace,
  });
  if (broken !== undefined) throw broken;
  expect(signals.eventNames()).toEqual([]);
  const events = argv.includes('--json')
    ? stdout.text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
    : [];
  return { code, stdout: stdout.text, stderr: stderr.text, events, machine: machines[0], left };
}
