/** The user's own `tsvmm run` with something changed, as it can be pasted into a shell. Main thread; pure. */
import { type RunArguments, runFlags } from '../run-flags.js';

export interface Change {
  /** Options with another value than given. */
  readonly set?: Readonly<Record<string, string>>;
  /** Options left out. */
  readonly drop?: readonly string[];
  /** Switches added. */
  readonly on?: readonly string[];
}

/** `tsvmm run` with the arguments given and `change`. */
export function commandWith(given: RunArguments, { set = {}, drop = [], on = [] }: Change = {}): string {
  const words = ['tsvmm', 'run'];
  const disks = [...given.disks];
  if (given.disk !== undefined) words.push(given.disk);
  for (const { name, short, value } of runFlags) {
    if (drop.includes(name)) continue;
    const flag = short === undefined ? `--${name}` : `-${short}`;
    if (value === undefined) words.push(...(given.switches.has(name) || on.includes(name) ? [flag] : []));
    else if (name === 'disk') for (const disk of disks) words.push(flag, disk);
    else {
      const text = set[name] ?? given.values[name];
      // A value that begins with a dash would be taken for an option.
      if (text !== undefined) words.push(...(text.startsWith('-') ? [`--${name}=${text}`] : [flag, text]));
    }
  }
  return shellCommand(words);
}

/** Words for a POSIX shell. */
export const shellCommand = (words: readonly string[]): string => words.map(quoted).join(' ');

const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** The kernel's words that the user has given: the whole line with --kernel, what is appended else. */
export const wordsOption = (given: RunArguments): 'cmdline' | 'append' =>
  given.values['kernel'] === undefined ? 'append' : 'cmdline';

export const givenWords = (given: RunArguments): string => given.values[wordsOption(given)] ?? '';

/** `words` behind the user's own. */
export function addWords(given: RunArguments, words: string): Change {
  return { set: { [wordsOption(given)]: `${givenWords(given)} ${words}`.trim() } };
}

/** The user's words without those that `unwanted` matches. */
export function dropWords(given: RunArguments, unwanted: RegExp): Change {
  const option = wordsOption(given);
  const left = givenWords(given)
    .split(/\s+/)
    .filter((word) => !unwanted.test(word))
    .join(' ');
  return left === '' ? { drop: [option] } : { set: { [option]: left } };
}
