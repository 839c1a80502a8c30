/**
 * GRUB's menus and what `default` means in them (GNU GRUB 2.06 manual §15.1.9 "default", §16.1.1 "menuentry"). Main thread.
 */
import type { FileReference } from '../entries/volume.js';
import { parseNumber } from './numbers.js';
import type { Node } from './syntax.js';

export interface MenuItem {
  /** `blscfg`: made of a Boot Loader Specification entry. */
  readonly kind: 'grub' | 'blscfg';
  readonly title: string;
  readonly id: string;
  /** `$1`, `$2`, ... of the body; the first is the title. */
  readonly args: readonly string[];
  readonly body: readonly Node[];
  readonly submenu: boolean;
  /** The file that defines it. */
  readonly source: FileReference;
}

export type Menu = MenuItem[];

/**
 * Whether `spec`, up to its first `>`, names `name`. A `>` that belongs to a name is written doubled.
 */
function names(name: string, spec: string): boolean {
  return name === unescapeStep(splitDefault(spec).first);
}

const unescapeStep = (step: string): string => step.replaceAll('>>', '>');

/** A title or id as one step of a `default` path. */
export const escapeStep = (name: string): string => name.replaceAll('>', '>>');

/** Splits `A>B>C` into `A` and `B>C`; the second is undefined if nothing follows. */
export function splitDefault(spec: string): { first: string; rest: string | undefined } {
  for (let at = spec.indexOf('>'); at >= 0; at = spec.indexOf('>', at + 1)) {
    if (spec[at + 1] === '>') {
      at++;
      continue;
    }
    const rest = spec.slice(at + 1);
    return { first: spec.slice(0, at), rest: rest === '' ? undefined : rest };
  }
  return { first: spec, rest: undefined };
}

/**
 * The position that `default` chooses in `menu`: a number, else the first item with that title or id, else the first.
 * A title that begins with a digit is taken as a number, as GRUB does; but the GRUB that has `blscfg` looks for ids and titles
 * first, since the ids are file names and begin with a machine's number.
 */
export function defaultIndex(menu: Menu, spec: string | undefined): number {
  if (spec === undefined) return 0;
  if (menu.some(({ kind }) => kind === 'blscfg')) {
    const byId = menu.findIndex((item) => names(item.id, spec));
    const named = byId >= 0 ? byId : menu.findIndex((item) => names(item.title, spec));
    if (named >= 0) return named;
    const whole = parseNumber(spec);
    return whole.valid && whole.rest.trim() === '' && whole.value >= 0 && whole.value < menu.length ? whole.value : 0;
  }
  const number = parseNumber(spec);
  const index = number.valid ? number.value : menu.findIndex((item) => names(item.title, spec) || names(item.id, spec));
  return index >= 0 && index < menu.length ? index : 0;
}
