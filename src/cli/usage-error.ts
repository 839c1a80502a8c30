/** A mistake on the command line, found by commander, in the shape of all other errors and with suggestions of ours. Main thread. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import type { ErrorCode } from '../errors.js';
import { nearest } from '../suggest.js';

export interface UsageError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** Where people look for what has another name here. */
const otherNames: Readonly<Record<string, string>> = {
  inspect: 'image inspect',
  version: '--version',
  boot: 'run',
  start: 'run',
  list: 'ps',
  ls: 'ps',
  attach: 'console',
  clone: 'fork',
  save: 'snapshot',
  suspend: 'pause',
  kill: 'stop --kill',
  shutdown: 'stop',
  '--smp': '--cpus',
  '--ram': '--memory',
  '--drive': '--disk',
};

/** `text` is commander's: "error: ...", and below it perhaps "(Did you mean X?)". */
export function usageError(text: string, argv: readonly string[], program: Command): UsageError {
  const message = text.replace(/^error: /, '').split('\n')[0]!;
  const command = reached(argv, program);
  return { code: 'ERR_TSVMM_CONFIG', message, hint: hintFor(message, text, argv[0], command) };
}

function hintFor(message: string, text: string, first: string | undefined, command: Command): string {
  const [, what, word = ''] = /^(unknown command|unknown option|command-argument value) '([^']*)'/.exec(message) ?? [];
  const isCommand = what === 'unknown command';
  if (isCommand && word === first && existsSync(word)) return `to boot that image: tsvmm run ${word}`;
  const known =
    what === 'command-argument value'
      ? (command.registeredArguments[0]?.argChoices ?? [])
      : isCommand
        ? command.commands.map((child) => child.name())
        : [];
  const said = /\(Did you mean (.*?)\?\)/.exec(text)?.[1];
  const meant =
    (command.parent === null || !isCommand ? otherNames[word.toLowerCase()] : undefined) ??
    said ??
    nearest(word, known);
  if (meant !== undefined) return `did you mean ${meant}?`;
  return `tsvmm ${[...pathOf(command), '--help'].join(' ')} shows what there is`;
}

/** The deepest command that the words name. */
function reached(argv: readonly string[], program: Command): Command {
  let command = program;
  for (const word of argv) {
    const child = command.commands.find((candidate) => candidate.name() === word);
    if (child === undefined) break;
    command = child;
  }
  return command;
}

const pathOf = (command: Command): string[] => (command.parent ? [...pathOf(command.parent), command.name()] : []);
