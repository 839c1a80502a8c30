/**
 * File names that match `*` and `?`, for `for f in /boot/*.cfg` (GRUB's `regexp` module). Main thread.
 *
 * Only paths are matched: a word that begins with neither `/` nor `(` stays as it is. Wildcards in a device's name are
 * not followed.
 */

import { maxPath } from '../fs/file-system.js';
import { matchesStars } from '../star-match.js';
import type { Budget } from './budget.js';
import type { GrubDisk } from './disk.js';
import { hasWildcard, unescapePattern } from './expand.js';

/** Names taken from all directories of one word together. */
const maxMatches = 256;

/** How many steps of matching cost as much as handling one character of text. */
const stepsPerCharacter = 4;

export class FileMatcher {
  readonly #disk: GrubDisk;
  readonly #budget: Budget;
  readonly #root: string | undefined;

  /** `root` is the device of a path without one. */
  constructor(disk: GrubDisk, budget: Budget, root: string | undefined) {
    this.#disk = disk;
    this.#budget = budget;
    this.#root = root;
  }

  /** The paths that `pattern` matches, sorted; empty if none. */
  async match(pattern: string): Promise<string[]> {
    if (!/^[/(]/.test(pattern) || pattern.length > maxPath) return [];
    const [first = '', ...steps] = pattern.split('/');
    if (hasWildcard(first)) return [];
    let found = [unescapePattern(first)];
    for (const step of steps) {
      const next: string[] = [];
      for (const directory of found) {
        const names = hasWildcard(step) ? await this.#names(directory, step) : [unescapePattern(step)];
        for (const name of names.slice(0, maxMatches - next.length)) {
          if (await this.#exists(`${directory}/${name}`)) next.push(`${directory}/${name}`);
        }
      }
      found = next;
    }
    return found;
  }

  async #exists(path: string): Promise<boolean> {
    const at = this.#disk.locate(path, this.#root);
    return typeof at !== 'string' && (await this.#disk.stat(at)) !== undefined;
  }

  async #names(directory: string, step: string): Promise<string[]> {
    const at = this.#disk.locate(directory === '' || directory.endsWith(')') ? `${directory}/` : directory, this.#root);
    const entries = typeof at === 'string' ? undefined : await this.#disk.list(at);
    const symbols = compilePattern(step);
    const names = (entries ?? [])
      .map((entry) => entry.name)
      .filter((name) => {
        this.#budget.charge((name.length * symbols.length) / stepsPerCharacter);
        return matchesPattern(name, symbols);
      });
    await this.#budget.turn();
    return names.sort();
  }
}

interface PatternSymbol {
  readonly char: string;
  readonly wild: boolean;
}

export function compilePattern(pattern: string): PatternSymbol[] {
  return [...pattern.matchAll(/\\(.)|(.)/gsu)].map(({ 1: escaped, 2: bare = '' }) => ({
    char: escaped ?? bare,
    wild: escaped === undefined && (bare === '*' || bare === '?'),
  }));
}

export function matchesPattern(name: string, symbols: readonly PatternSymbol[]): boolean {
  return matchesStars(
    [...name],
    symbols,
    ({ char, wild }) => wild && char === '*',
    (symbol, char) => symbol.wild || symbol.char === char,
  );
}
