/**
 * The GRUB commands by name (GNU GRUB 2.06 manual §16.3). Main thread.
 *
 * What has no meaning without a screen, keyboard or firmware succeeds or fails as it would on a headless BIOS machine.
 * A name that is neither here nor a function counts as success, as in GRUB (see `Interpreter`).
 */

import { grubLimits } from './budget.js';
import { type Command, status, statusOf } from './command.js';
import { evaluateTest } from './condition.js';
import { fileCommands } from './file-commands.js';
import { loaderCommands } from './loader-commands.js';
import { parseNumber } from './numbers.js';

const succeed: Command = () => status.ok;
const fail: Command = () => status.failed;

const set: Command = (shell, [assignment]) => {
  if (assignment === undefined) return status.ok; // lists the variables
  const equals = assignment.indexOf('=');
  if (equals < 0) return status.failed;
  shell.env.set(assignment.slice(0, equals), assignment.slice(equals + 1));
  return status.ok;
};

const unset: Command = (shell, [name]) => {
  if (name === undefined) return status.failed;
  shell.env.unset(name);
  return status.ok;
};

const exportVariables: Command = (shell, names) => {
  for (const name of names) shell.env.export(name);
  return statusOf(names.length > 0);
};

const test: Command = async (shell, args) => {
  const { budget, disk } = shell.surroundings;
  const result = await evaluateTest(
    args,
    async (path) => {
      let end = path.length;
      while (end > 1 && path[end - 1] === '/') end--;
      const trimmed = path.slice(0, end);
      const at = shell.locate(trimmed.endsWith(')') ? `${trimmed}/` : trimmed);
      return typeof at === 'string' ? undefined : disk.stat(at);
    },
    budget,
  );
  return statusOf(result);
};

/** Kept so that tests can compare a script's output with GRUB's; nobody else reads it. */
const echo: Command = (shell, args) => {
  const start = args.findIndex((word) => !/^-[ne]+$/.test(word));
  const options = start < 0 ? args : args.slice(0, start);
  const text = args.slice(options.length).join(' ') + (options.some((word) => word.includes('n')) ? '' : '\n');
  shell.output = (shell.output + text).slice(0, grubLimits.echoLength);
  return status.ok;
};

/** `break`, `continue` and `shift`: a count of 1 if none is given. Undefined if it is no number. */
function count(args: readonly string[]): number | undefined {
  if (args[0] === undefined) return 1;
  const number = parseNumber(args[0], 10);
  return args.length === 1 && number.valid && number.rest === '' ? number.value : undefined;
}

const leaveLoops =
  (continuing: boolean): Command =>
  (shell, args) => {
    const levels = count(args);
    if (levels === undefined || levels === 0) return status.failed;
    shell.leaveLoops(levels, continuing);
    return status.ok;
  };

const returnCommand: Command = (shell, args) => {
  const [word] = args;
  const value = parseNumber(word ?? shell.env.get('?') ?? '0', 10);
  if (args.length > 1 || (word !== undefined && !(value.valid && value.rest === ''))) return status.failed;
  return shell.returnFromFunction() ? value.value : status.failed;
};

const shift: Command = (shell, args) => {
  const places = count(args);
  return statusOf(places !== undefined && shell.shift(places));
};

const setparams: Command = (shell, args) => statusOf(shell.setParameters(args));

const evaluate: Command = (shell, args) => shell.runText(args.join(' '), 'eval');

const exit: Command = (shell) => {
  shell.failure = 'leaves GRUB without booting (exit, halt, reboot or fwsetup)';
  shell.stopped = 'exit';
  return status.ok;
};

/** Only asking is harmless: there is no firmware set-up to enter. */
const fwsetup: Command = (shell, args, node) =>
  args.includes('--is-supported') ? status.failed : exit(shell, args, node);

const boot: Command = (shell) => {
  if (shell.loader === undefined) return status.failed;
  shell.stopped = 'boot';
  return status.ok;
};

/** `read NAME`: nobody types. */
const read: Command = (shell, args) => {
  const name = args.find((word) => !word.startsWith('-'));
  if (name !== undefined) shell.env.set(name, '');
  return status.ok;
};

/** There is no screen, so nothing that draws succeeds; there is no key, so none is held down. */
const failing = [
  'loadfont',
  'background_image',
  'keystatus',
  'videotest',
  'videoinfo',
  'cmp',
  'cmostest',
  'cmosread',
  'smbios',
  'cryptomount',
  'loopback',
  'getenv',
  'verify_detached',
  'hashsum',
  'sha256sum',
];

const succeeding = [
  'insmod',
  'rmmod',
  'lsmod',
  'terminal',
  'terminal_input',
  'terminal_output',
  'terminfo',
  'serial',
  'play',
  'beep',
  'background_color',
  'clear',
  'cls',
  'sleep',
  'password',
  'password_pbkdf2',
  'authenticate',
  'keymap',
  'loadkeys',
  'save_env',
  'list_env',
  'ls',
  'cat',
  'help',
  'date',
  'parttool',
  'drivemap',
  'nativedisk',
  'badram',
  'cutmem',
  'acpi',
  'cpuid',
  'outb',
  'outw',
  'outl',
  'setpci',
  'cmosset',
  'cmosclean',
  'trust',
  'distrust',
  'gptsync',
  'hdparm',
  'time',
  'efifwsetup',
  'setkey',
  'increment',
];

export const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ...succeeding.map((name) => [name, succeed] as const),
  ...failing.map((name) => [name, fail] as const),
  ...fileCommands,
  ...loaderCommands,
  ['true', succeed],
  ['false', fail],
  ['set', set],
  ['unset', unset],
  ['export', exportVariables],
  ['test', test],
  ['[', test],
  ['echo', echo],
  ['break', leaveLoops(false)],
  ['continue', leaveLoops(true)],
  ['return', returnCommand],
  ['shift', shift],
  ['setparams', setparams],
  ['eval', evaluate],
  ['exit', exit],
  ['normal_exit', exit],
  ['halt', exit],
  ['reboot', exit],
  ['poweroff', exit],
  ['fwsetup', fwsetup],
  ['boot', boot],
  ['read', read],
]);
