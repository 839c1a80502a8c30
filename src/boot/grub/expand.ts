/**
 * Turns the words of a command into its arguments (GNU GRUB 2.06 manual §6.2 "Variable expansion"). Main thread.
 *
 * An unquoted variable is split at white space; a quoted one is not; a word that expands to nothing and has no quotes
 * vanishes. The results are *patterns*: `*` and `?` match file names unless a backslash stands before them, which is how
 * quoted text is protected. `unescapePattern` makes the plain argument of one that matches nothing.
 */
import { type Budget, grubLimits } from './budget.js';
import type { Word } from './syntax.js';

export interface Variables {
  /** Fields of a variable: `$@` has several, `"$@"` too; any other has one, or none if it is unset or empty. */
  fields(name: string, quoted: boolean): readonly string[];
}

export const escapePattern = (text: string): string => text.replace(/[*?\\]/g, '\\$&');

export const unescapePattern = (pattern: string): string => pattern.replace(/\\(.)/gs, '$1');

export function hasWildcard(pattern: string): boolean {
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern[at] === '*' || pattern[at] === '?') return true;
  }
  return false;
}

/** A variable's value keeps its backslashes, but its bare `*` and `?` are wildcards. */
const escapeValue = (value: string): string =>
  value.replace(/\\([?*]?)/g, (_, wildcard: string) => (wildcard === '' ? '\\\\' : `\\\\\\${wildcard}`));

/** White space as GRUB's `isspace` has it. */
const fieldSeparator = /[ \t\n\r\v\f]+/;

export const splitFields = (value: string): string[] => value.split(fieldSeparator).filter((field) => field !== '');

export function expandWords(words: readonly Word[], variables: Variables, budget: Budget): string[] {
  const results: string[] = [];
  let total = 0;
  for (const word of words) {
    let current: string | undefined;
    const append = (text: string): void => {
      current = (current ?? '') + text;
      total += text.length;
      if (total > grubLimits.argumentsLength) {
        throw budget.exceeded(`gives a command arguments of more than ${grubLimits.argumentsLength} characters`);
      }
    };
    const finish = (): void => {
      if (current === undefined) return;
      results.push(current);
      current = undefined;
      if (results.length > grubLimits.arguments) {
        throw budget.exceeded(`gives a command more than ${grubLimits.arguments} arguments`);
      }
    };
    for (const part of word) {
      if (part.kind === 'text') {
        append(part.value);
      } else if (part.kind === 'quoted') {
        append(escapePattern(part.value));
      } else {
        const fields = variables.fields(part.name, part.quoted);
        for (const [index, field] of fields.entries()) {
          if (index > 0) finish();
          append(part.quoted ? escapePattern(field) : escapeValue(field));
        }
      }
    }
    finish();
  }
  return results;
}
