/** Every command on a running machine: another one is a file here and its place in this list. Main thread. */
import { TsvmmError } from '../../../errors.js';
import { show } from '../../../machine/units.js';
import { didYouMean } from '../../../suggest.js';
import type { ControlCommand, Verb } from '../command.js';
import { type FieldsOf, readRequest, type Shape } from '../fields.js';
import { parseLine } from '../protocol.js';
import { consoleCommand } from './console.js';
import { fork } from './fork.js';
import { pause } from './pause.js';
import { resume } from './resume.js';
import { snapshot } from './snapshot.js';
import { status } from './status.js';
import { stop } from './stop.js';

const commands = [status, pause, resume, stop, consoleCommand, snapshot, fork] as const;

type Commands = (typeof commands)[number];
type RequestOf<C extends Commands> = C extends Commands
  ? { readonly command: C['name']; readonly fields: Partial<FieldsOf<C['request']>> }
  : never;
export type ControlRequest = RequestOf<Commands>;

const byName: ReadonlyMap<string, ControlCommand<string, Shape, Shape>> = new Map(
  commands.map((command) => [command.name, command as ControlCommand<string, Shape, Shape>]),
);

/** The request that a line is; throws `ERR_TSVMM_CONFIG` when it is none. */
export function parseRequest(line: Buffer): ControlRequest {
  const { command: name, ...fields } = parseLine(line);
  const command = typeof name === 'string' ? byName.get(name) : undefined;
  if (command !== undefined)
    return { command: command.name, fields: readRequest(command.request, fields) } as ControlRequest;
  const names = [...byName.keys()];
  throw new TsvmmError('ERR_TSVMM_CONFIG', `there is no command ${show(name)}`, {
    hint: didYouMean(typeof name === 'string' ? name : '', names, `commands: ${names.join(', ')}`),
  });
}

export const commandOf = ({ command }: ControlRequest): ControlCommand<string, Shape, Shape> => byName.get(command)!;

/** What the command line has of them. */
export const verbs: readonly (readonly [name: string, verb: Verb])[] = [...byName].flatMap(([name, { verb }]) =>
  verb === undefined ? [] : [[name, verb] as const],
);
