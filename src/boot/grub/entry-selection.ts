/**
 * Which entries `blscfg` and `uki` put into the menu: the options that both have in GNU GRUB 2.14 (`commands/blsuki.c`), and
 * the one argument of the Red Hat family's `blscfg`. Main thread.
 */
import { parseNumber } from './numbers.js';
import { parseOptions } from './options.js';

export interface EntrySelection {
  /** The directory or file to look at; undefined for the usual place. */
  readonly path: string | undefined;
  /** The usual place is looked at when `path` has nothing. */
  readonly fallback: boolean;
  takes(fileName: string, isDefault: boolean): boolean;
}

const options = {
  path: { short: 'p', value: 'required' },
  'enable-fallback': { short: 'f' },
  'show-default': { short: 'd' },
  'show-non-default': { short: 'n' },
  entry: { short: 'e', value: 'required' },
} as const;

/** `suffix` of the files. Undefined for options that GRUB refuses. */
export function selectEntries(args: readonly string[], suffix: string): EntrySelection | undefined {
  const parsed = parseOptions(args, options);
  if (parsed === undefined) return undefined;
  const word = parsed.rest.length === 1 ? (parsed.rest[0] ?? '') : '';
  const place = word.startsWith('(') ? word : undefined;
  const isId = word !== '' && place === undefined && word !== 'default' && word !== 'non-default';
  const file = isId ? `${word}${suffix}` : parsed.options.get('entry')?.at(-1);
  const usual = word === 'default' || parsed.options.has('show-default');
  const others = word === 'non-default' || parsed.options.has('show-non-default');
  const all = file === undefined && !usual && !others;
  return {
    path: parsed.options.get('path')?.at(-1) ?? place,
    fallback: parsed.options.has('enable-fallback'),
    takes: (name, isDefault) => all || name === file || (isDefault ? usual : others),
  };
}

/** Whether `chosen`, the value of `default`, means the `index`th of all entries. */
export function isChosen(chosen: string | undefined, names: readonly (string | undefined)[], index: number): boolean {
  if (chosen === undefined || chosen === '') return false;
  if (names.includes(chosen)) return true;
  const number = parseNumber(chosen);
  return number.valid && number.value === index;
}
