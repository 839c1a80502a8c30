/**
 * A command on a running machine: all that there is to it, for the process of the machine and for `tsvmm NAME`, stands in one file
 * of commands/, which commands/table.ts lists. Main thread.
 */
import type { Socket } from 'node:net';
import type { WorkOptions } from '../../snapshot/progress.js';
import type { Example } from '../help.js';
import type { RunIo } from '../run.js';
import type { MachineClient } from './client.js';
import type { FieldsOf, Shape } from './fields.js';
import type { Served } from './served.js';

/** Of one request: whether its client is still there, and telling it how far it is. */
export type Work = Required<{ [K in keyof WorkOptions]: NonNullable<WorkOptions[K]> }>;

export interface ControlCommand<Name extends string, Request extends Shape, Result extends Shape> {
  /** In a request, and on the command line. */
  readonly name: Name;
  /** What a request may carry besides its command. */
  readonly request: Request;
  /** What an answer carries. */
  readonly result: Result;
  /** It ends with the client: whoever asks keeps its side of the connection open until the answer. */
  readonly endsWithClient?: true;
  /** In the process of the machine. What it throws is answered. `signal` is for one that ends with the client, which hears of progress only if it asked to. */
  serve(fields: Partial<FieldsOf<Request>>, served: Served, work: Work): Promise<FieldsOf<Result>>;
  /** Takes over the connection after the answer; `rest` came behind the request. */
  stream?(socket: Socket, rest: Buffer, served: Served): void;
  /** What there is of it on the command line; absent for one that others use. */
  readonly verb?: Verb;
}

export interface VerbOption {
  readonly name: string;
  readonly short?: string;
  /** Present: the option takes a value, shown as this. */
  readonly value?: string;
  readonly text: string;
  readonly default?: string;
}

/** By name, as commander has them: of words with a dash there are none. */
export type VerbOptions = Readonly<Record<string, string | boolean | undefined>>;

export interface Verb {
  readonly text: string;
  /** What follows the machine's name. */
  readonly argument?: { readonly name: string; readonly text: string };
  /** Commands that may stand where a machine's name does. */
  readonly commands?: readonly string[];
  readonly examples: readonly Example[];
  readonly options: readonly VerbOption[];
  /** In the process of `tsvmm NAME`: looks at the options, connects, asks. Answers the exit code. */
  run(options: VerbOptions, connect: () => Promise<MachineClient>, io: RunIo, argument?: string): Promise<number>;
}

/** Gives each part of a command its types. */
export const controlCommand = <const Name extends string, Request extends Shape, Result extends Shape>(
  command: ControlCommand<Name, Request, Result>,
): ControlCommand<Name, Request, Result> => command;
