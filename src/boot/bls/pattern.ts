/**
 * The patterns of `default` in loader.conf: `*`, `?`, `[...]` and a backslash before a plain character, as in glob(7), with
 * nothing special about `/` or a leading dot. Main thread.
 */
import { matchesStars } from '../star-match.js';

type Symbol =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'star' }
  | { readonly kind: 'set'; readonly ranges: readonly (readonly [string, string])[] };

/** An entry's id is a file name, and no longer than one. */
const maxLength = 255;

export function matchesGlob(pattern: string, name: string): boolean {
  if (pattern.length > maxLength || name.length > maxLength) return false;
  const symbols = compile(pattern);
  if (symbols === undefined) return false;
  return matchesStars(name.split(''), symbols, ({ kind }) => kind === 'star', matches);
}

function matches(symbol: Symbol, char: string): boolean {
  if (symbol.kind === 'char') return symbol.char === char;
  return symbol.kind === 'any' || (symbol.kind === 'set' && symbol.ranges.some(([a, b]) => a <= char && char <= b));
}

/** Undefined if a set is not closed or a backslash escapes nothing: such a pattern matches no name. */
function compile(pattern: string): Symbol[] | undefined {
  const symbols: Symbol[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern.charAt(at);
    if (char === '*') symbols.push({ kind: 'star' });
    else if (char === '?') symbols.push({ kind: 'any' });
    else if (char === '[') {
      const end = pattern.indexOf(']', at + 2);
      if (end < 0) return undefined;
      symbols.push({ kind: 'set', ranges: rangesOf(pattern.slice(at + 1, end)) });
      at = end;
    } else {
      if (char === '\\' && ++at === pattern.length) return undefined;
      symbols.push({ kind: 'char', char: pattern.charAt(at) });
    }
  }
  return symbols;
}

function rangesOf(set: string): [string, string][] {
  const ranges: [string, string][] = [];
  for (let at = 0; at < set.length; at++) {
    const from = set.charAt(at);
    const isRange = set.charAt(at + 1) === '-' && at + 2 < set.length;
    if (isRange) at += 2;
    ranges.push([from, set.charAt(at)]);
  }
  return ranges;
}
