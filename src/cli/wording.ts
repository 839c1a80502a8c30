/**
 * The library speaks of its options (`boot.kernel`), a user of the command has others (`--kernel`): the one place that
 * translates what an error says. Main thread; pure.
 */
import type { TsvmmError } from '../errors.js';

/** What an error of an option begins with. */
const options: readonly (readonly [name: RegExp, option: string])[] = [
  [/^memory\.(hugepages|prefault): /, '--$1: '],
  [/^(memory|name|cpus|cpu|transport): /, '--$1: '],
  [/^topology: /, '--cpus: '],
  [/^cpu\.\w+: /, '--cpu: '],
  [/^boot\.(kernel|initrd|cmdline|entry|append): /, '--$1: '],
  [/^console\.device: /, '--console: '],
];

/** What it may say of others. */
const phrases: readonly (readonly [theirs: RegExp | string, ours: string])[] = [
  ['boot: { kernel, initrd, cmdline }', '--kernel, --initrd and --cmdline'],
  ['with boot.entry.', 'with --entry.'],
  ['as boot.entry.', 'with --entry.'],
  [/\bwrite bytes as a number, or a number with (K, M, G or T), such as "(\w+)"/, 'write a number with $1, such as $2'],
  [
    /\bwrite milliseconds as a number, or a number with (ms, s or m), such as "(\w+)"/,
    'write a number with $1, such as $2',
  ],
  [/\bhugepages: '(\w+)'/, '--hugepages $1'],
  [/\bleave out prefault\b/, 'leave out --prefault'],
  [/\bleave out diffFrom\b/, 'leave out --diff'],
  [/\btransport: '(\w+)'/, '--transport $1'],
  [/\bmemory: '(\d+M)'/, '-m $1'],
  [/\badd "(\w+)" as well, or leave out "(\w+)"/, 'add +$1 as well, or leave out +$2'],
  [/\bleave out "(\w+)"; tsvmm run/, 'leave out +$1; tsvmm run'],
  [/\badd "(\w+)" instead/, 'write +$1'],
];

/** `text` with the phrases of the command. */
export const inCliWords = (text: string): string =>
  phrases.reduce((said, [theirs, ours]) => said.replace(theirs, ours), text);

/** An error's message and hint as the command says them. */
export function cliMessage({ code, message, hint }: TsvmmError): { message: string; hint: string | undefined } {
  const named =
    code === 'ERR_TSVMM_CONFIG'
      ? options.reduce((said, [name, option]) => said.replace(name, option), message)
      : message;
  return { message: inCliWords(named), hint: hint === undefined ? undefined : inCliWords(hint) };
}
