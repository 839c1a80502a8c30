/** `tsvmm WORDS`, where there are machines to be reached and nothing else. */
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect } from 'vitest';
import { commandLine, type Library } from '../../../../src/cli/command-line.js';
import { fakeStart } from '../fake-machine.js';
import { Sink } from '../play.js';

const nothing = (): Promise<never> => Promise.reject(new Error('not here'));
const library: Library = {
  start: fakeStart().start,
  restore: nothing,
  cpus: nothing,
  doctor: nothing,
  inspect: nothing,
  snapshot: nothing,
};

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `tsvmm WORDS`; `act` plays its user. */
export async function tsvmm(
  words: string,
  act: (io: { stdin: PassThrough; stdout: Sink; stderr: Sink; signals: EventEmitter }) => unknown = () => {},
): Promise<Said> {
  const io = {
    stdin: new PassThrough(),
    stdout: new Sink(),
    stderr: new Sink(),
    signals: new EventEmitter(),
    exitNow() {},
  };
  const done = commandLine(words.split(' '), library, io);
  await act(io);
  const code = await done;
  expect(io.signals.eventNames()).toEqual([]);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}
