/**
 * The whole command line in commander: help, checks and "did you mean" for every command. Loaded only when the fast path
 * of main.ts does not apply, and commander only with it. Main thread.
 */
import type { Command, OutputConfiguration } from 'commander';
import { didYouMean } from '../suggest.js';
import { type CompletedCommand, completionScript, type Shell, shells } from './completion.js';
import type { VerbOption, VerbOptions } from './control/command.js';
import { verbs } from './control/commands/table.js';
import { ExitCode } from './exit-codes.js';
import { environmentHelp, examplesOf, exitCodesHelp, exitCodesJson, topics } from './help.js';
import { jsonLine } from './json-events.js';
import { type RestoreArguments, restoreArguments, restoreFlags } from './restore.js';
import { type Flag, type ParsedFlags, type RunArguments, runArguments, runFlags } from './run-flags.js';
import { addSnapshotCommands, type SnapshotOptions, type SnapshotRequest } from './snapshot-commands.js';
import { usageError } from './usage-error.js';
import { version } from './version.js';

/** What the commands do; each answers the exit code. */
export interface Actions {
  run(given: RunArguments): Promise<number>;
  restore(given: RestoreArguments): Promise<number>;
  doctor(options: { json: boolean; quiet: boolean }): Promise<number>;
  inspect(file: string, options: { json: boolean }): Promise<number>;
  snapshot(request: SnapshotRequest, options: SnapshotOptions): Promise<number>;
  ps(options: { json: boolean }): Promise<number>;
  /** A command on the machine of that name, one of the verbs, with what follows the name. */
  control(verb: string, words: readonly [machine: string, argument?: string], options: VerbOptions): Promise<number>;
}

export interface Outputs {
  out(text: string): void;
  err(text: string): void;
}

const verbose = ['-v, --verbose', 'stack traces with errors'] as const;

/** Parses the arguments after the program's name and does what they say; answers the exit code. */
export async function runProgram(argv: readonly string[], actions: Actions, outputs: Outputs): Promise<number> {
  const { Argument, Command, CommanderError, Option } = await import('commander');
  let code: number = ExitCode.ok;
  const output: OutputConfiguration = {
    writeOut: (text) => outputs.out(text),
    writeErr: (text) => outputs.err(text),
    outputError(text, write) {
      const error = usageError(text, argv, program);
      if (argv.includes('--json')) outputs.out(jsonLine({ error }));
      const { code, message, hint } = error;
      write(`tsvmm: ${message}\nhint: ${hint}\ncode: ${code} (exit ${ExitCode.usage})\n`);
    },
  };
  const program = new Command('tsvmm')
    .description('Runs virtual machines on KVM, in Node.js.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .helpCommand(false)
    .exitOverride()
    .configureOutput(output);
  // Subcommands inherit exitOverride and the output configuration.
  const add = (parent: Command, name: string, text: string): Command =>
    parent
      .command(name)
      .summary(text)
      .description(`${text[0]!.toUpperCase()}${text.slice(1)}.`);

  const addFlags = (command: Command, flags: readonly Flag[]): void => {
    for (const { multiple, group, ...flag } of flags) {
      const option = new Option(flagsOf(flag), textOf(flag)).helpGroup(`${group}:`);
      if (multiple) option.argParser((word: string, before: string[] | undefined) => [...(before ?? []), word]);
      command.addOption(option);
    }
  };

  const runCommand = add(program, 'run', 'boot a disk image, or a kernel, with its console here')
    .argument(
      '[disk]',
      'disk image; options follow its name: readonly, ephemeral[=SIZE], cache=MODE, on-error=stop, bytes-per-second=SIZE, ops-per-second=N, format=raw',
    )
    .action(async (disk: string | undefined, parsed: Record<string, unknown>) => {
      code = await actions.run(runArguments(disk, byFlagName(runFlags, parsed)));
    });
  addFlags(runCommand, runFlags);
  const restoreCommand = add(program, 'restore', 'let a machine go on from its snapshot, with its console here')
    .argument('<directory>', 'the snapshot, of tsvmm snapshot or vm.snapshot()')
    .action(async (directory: string, parsed: Record<string, unknown>) => {
      code = await actions.restore(restoreArguments(directory, byFlagName(restoreFlags, parsed)));
    });
  addFlags(restoreCommand, restoreFlags);

  add(program, 'ps', 'list the machines that run, by their names')
    .option('--json', 'the list as one JSON object')
    .option(...verbose)
    .action(async (parsed: { json?: true }) => {
      code = await actions.ps({ json: parsed.json === true });
    });
  for (const [verb, { text, options, argument }] of verbs) {
    const command = add(program, verb, text).argument('<machine>', 'its name, from tsvmm run --name');
    if (argument !== undefined) command.argument(`<${argument.name}>`, argument.text);
    for (const option of options) command.option(flagsOf(option), textOf(option));
    command.option(...verbose).action(async (machine: string, ...more: [string, VerbOptions] | [VerbOptions]) => {
      const [parsed, given] = argument === undefined ? [more[0] as VerbOptions] : [more[1]!, more[0] as string];
      code = await actions.control(verb, given === undefined ? [machine] : [machine, given], parsed);
    });
  }

  add(program, 'doctor', 'tell whether virtual machines can run here, and what to do if not')
    .option('--json', 'the report as one JSON object')
    .option('-q, --quiet', 'only the exit code')
    .option(...verbose)
    .action(async (parsed: { json?: true; quiet?: true }) => {
      code = await actions.doctor({ json: parsed.json === true, quiet: parsed.quiet === true });
    });

  const image = add(program, 'image', 'look into disk images');
  add(image, 'inspect', 'show partitions, file systems and boot entries, and which entry would boot')
    .argument('<file>', 'disk image')
    .option('--json', 'the findings as one JSON object')
    .option(...verbose)
    .action(async (file: string, parsed: { json?: true }) => {
      code = await actions.inspect(file, { json: parsed.json === true });
    });

  const snapshots = program.commands.find((command) => command.name() === 'snapshot')!;
  addSnapshotCommands(snapshots, add, async (request, options) => {
    code = await actions.snapshot(request, options);
  });

  add(program, 'completion', 'print the script that completes tsvmm in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .action((shell: Shell) => outputs.out(completionScript(shell, commandsOf(program))));

  add(program, 'help', 'show help for a command, or a topic')
    .argument('[words...]', `a command, or a topic: ${topics.join(', ')}`)
    .option('--json', 'the table of exit-codes as one JSON object')
    .action((words: string[], parsed: { json?: true }) => {
      const topic = words.join(' ');
      if (topic === 'exit-codes') outputs.out(parsed.json ? exitCodesJson() : exitCodesHelp());
      else if (topic === 'environment') outputs.out(environmentHelp());
      else commandNamed(program, words).outputHelp();
    });

  for (const command of allCommands(program)) {
    command.addHelpText('before', () => examplesOf(pathOf(command)));
  }
  program.addHelpText(
    'after',
    `\n${environmentHelp()}\nExit codes: tsvmm help exit-codes\nMore: docs/cli.md in the package`,
  );
  for (const command of [runCommand, restoreCommand]) command.addHelpText('after', `\n${environmentHelp()}`);
  try {
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage; // help, or the version, was asked for
  }
}

/** An option as commander writes it, and what help says of it. */
const flagsOf = ({ name, short, value }: VerbOption): string =>
  `${short ? `-${short}, ` : ''}--${name}${value === undefined ? '' : ` <${value}>`}`;
const textOf = ({ text, default: initial }: VerbOption): string =>
  initial === undefined ? text : `${text} (default: ${initial})`;

/** 'image inspect' for that command, '' for the program. */
const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}`.trim() : '';

/** The command that `help image inspect` names; an unknown word is refused as the command line itself would. */
function commandNamed(program: Command, words: readonly string[]): Command {
  let command = program;
  for (const word of words) {
    command =
      command.commands.find((candidate) => candidate.name() === word) ??
      command.error(helpless(command, words), { exitCode: ExitCode.usage });
  }
  return command;
}

/** In commander's words, so that usageError() finds the suggestion. */
function helpless(command: Command, words: readonly string[]): string {
  const known = [...command.commands.map((candidate) => candidate.name()), ...(command.parent ? [] : topics)];
  const suggestion = /did you mean (\S+)\?/.exec(didYouMean(words.at(-1) ?? '', known, ''))?.[1];
  return `error: there is no help on '${words.join(' ')}'${suggestion === undefined ? '' : `\n(Did you mean ${suggestion}?)`}`;
}

const allCommands = (command: Command): Command[] => [command, ...command.commands.flatMap(allCommands)];

/** What a shell is to complete. */
function commandsOf(program: Command): CompletedCommand[] {
  const groups = program.commands.filter(({ commands }) => commands.length > 0);
  const helpOf = (group: Command): CompletedCommand => ({
    path: `help ${group.name()}`,
    text: group.summary(),
    options: [],
    words: wordsFor(group.commands),
    files: false,
    machines: false,
    filesBehind: false,
  });
  return [...allCommands(program).map((command) => completed(program, command)), ...groups.map(helpOf)];
}

const wordsFor = (commands: readonly Command[]): [string, string][] =>
  commands.map((child) => [child.name(), child.summary()]);

const areFiles = ['disk', 'file', 'directory'];

function completed(program: Command, command: Command): CompletedCommand {
  const [argument, second] = command.registeredArguments;
  const choices = argument?.argChoices ?? (command.name() === 'help' ? topics : []);
  const below = command.name() === 'help' ? program.commands : command.commands;
  return {
    path: pathOf(command),
    text: command.summary(),
    options: command
      .createHelp()
      .visibleOptions(command)
      .map(({ long, short, flags, description }) => ({
        long: long!.slice(2),
        short: short?.slice(1),
        value: /<(.*)>$/.exec(flags)?.[1],
        text: description.replace(/ \(default: .*\)$/, ''),
      })),
    words: [...wordsFor(below), ...choices.map((choice): [string, string] => [choice, ''])],
    files: argument !== undefined && areFiles.includes(argument.name()),
    machines: argument?.name() === 'machine',
    filesBehind: argument?.name() === 'machine' && second !== undefined && areFiles.includes(second.name()),
  };
}

/** commander keeps `--stop-timeout` as `stopTimeout` and `--no-reboot` as `reboot: false`; here all go by their own names. */
function byFlagName(flags: readonly Flag[], parsed: Readonly<Record<string, unknown>>): ParsedFlags {
  const value = (name: string): unknown => parsed[name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
  return Object.fromEntries(
    flags.map(({ name }) => [
      name,
      name.startsWith('no-')
        ? value(name.slice(3)) === false
        : (value(name) as string | boolean | string[] | undefined),
    ]),
  );
}
