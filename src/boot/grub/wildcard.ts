/**
 * File names that match `*` and `?`, for `for f in /boot/*.cfg` (GRUB's `regexp` module). Main thread.
 *
 * Only paths are matched: a word that begins with neither `/` nor `(` stays as it is. Wildcards in a device's name are
 * not followed.
 */
import { maxPath } from '../fs/file-system.js';
import type { GrubDisk } from './disk.js';
import { hasWildcard, unescapePattern } from './expand.js';

/** Names taken from all directories of one word together. */
const maxMatches = 256;

/** The paths that `pattern` matches, sorted; empty if none. */
export async function matchFiles(disk: GrubDisk, root: string | undefined, pattern: string): Promise<string[]> {
  if (!pattern.startsWith('/') && !pattern.startsWith('(')) return [];
  if (pattern.length > maxPath) return [];
  const [first = '', ...steps] = pattern.split('/');
  if (hasWildcard(first)) return [];
  let found = [unescapePattern(first)];
  for (const [index, step] of steps.entries()) {
    const last = index === steps.length - 1;
    const next: string[] = [];
    for (const directory of found) {
      const names = hasWildcard(step) ? await matchNames(disk, root, directory, step) : [unescapePattern(step)];
      for (const name of names) {
        const path = `${directory}/${name}`;
        if (next.length < maxMatches && (last || (await isDirectory(disk, root, path)))) next.push(path);
      }
    }
    found = next;
  }
  const existing: string[] = [];
  for (const path of found) {
    const at = disk.locate(path, root);
    if (typeof at !== 'string' && (await disk.stat(at)) !== undefined) existing.push(path);
  }
  return existing;
}

async function isDirectory(disk: GrubDisk, root: string | undefined, path: string): Promise<boolean> {
  const at = disk.locate(path, root);
  return typeof at !== 'string' && (await disk.stat(at))?.kind === 'directory';
}

async function matchNames(
  disk: GrubDisk,
  root: string | undefined,
  directory: string,
  step: string,
): Promise<string[]> {
  const at = disk.locate(directory === '' || directory.endsWith(')') ? `${directory}/` : directory, root);
  const entries = typeof at === 'string' ? undefined : await disk.list(at);
  const symbols = compilePattern(step);
  const names = (entries ?? []).map((entry) => entry.name).filter((name) => matchesPattern(name, symbols));
  return names.sort().slice(0, maxMatches);
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

/** Goes back to the last `*` only, so that `*a*a*a*b` takes at most name times pattern steps. */
export function matchesPattern(name: string, symbols: readonly PatternSymbol[]): boolean {
  const chars = [...name];
  let at = 0;
  let next = 0;
  let star = -1;
  let resume = 0;
  while (at < chars.length) {
    const symbol = symbols[next];
    if (symbol?.wild && symbol.char === '*') {
      star = next++;
      resume = at;
    } else if (symbol !== undefined && (symbol.wild || symbol.char === chars[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  return symbols.slice(next).every(({ char, wild }) => wild && char === '*');
}
