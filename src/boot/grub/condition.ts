/**
 * `test` and `[` (GNU GRUB 2.06 manual §16.3.72 "test"). Main thread.
 *
 * GRUB evaluates from left to right without precedence: `-a` may be left out, and `-o` starts a new chain of ands.
 */
import type { FileStat } from '../fs/file-system.js';
import { type Budget, grubLimits } from './budget.js';
import { parseNumber, parseSigned } from './numbers.js';

/** What a path leads to on the guest's disk. */
export type StatPath = (path: string) => Promise<FileStat | undefined>;

/** Byte order of UTF-8 is code point order; JavaScript compares UTF-16, which differs only beyond U+FFFF. */
const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const binary: Readonly<Record<string, (a: string, b: string) => boolean>> = {
  '=': (a, b) => a === b,
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => compare(a, b) < 0,
  '<=': (a, b) => compare(a, b) <= 0,
  '>': (a, b) => compare(a, b) > 0,
  '>=': (a, b) => compare(a, b) >= 0,
  '-eq': (a, b) => parseSigned(a) === parseSigned(b),
  '-ne': (a, b) => parseSigned(a) !== parseSigned(b),
  '-lt': (a, b) => parseSigned(a) < parseSigned(b),
  '-le': (a, b) => parseSigned(a) <= parseSigned(b),
  '-gt': (a, b) => parseSigned(a) > parseSigned(b),
  '-ge': (a, b) => parseSigned(a) >= parseSigned(b),
  '-pgt': (a, b) => numberBehindPrefix(a, b) > numberBehindPrefix(b, a),
  '-plt': (a, b) => numberBehindPrefix(a, b) < numberBehindPrefix(b, a),
};

/** The number in which two names differ: `v-12 -plt v-110` compares 12 with 110. As in GRUB, never from the first character on. */
function numberBehindPrefix(text: string, other: string): number {
  let at = 0;
  while (at < text.length && text[at] === other[at]) at++;
  while (at > 1 && /[0-9]/.test(text[at - 1] ?? '')) at--;
  return parseNumber(text.slice(at)).value;
}

const unary: Readonly<Record<string, (operand: string, stat: StatPath) => boolean | Promise<boolean>>> = {
  '-n': (text) => text !== '',
  '-z': (text) => text === '',
  '-e': async (path, stat) => (await stat(path)) !== undefined,
  '-d': async (path, stat) => (await stat(path))?.kind === 'directory',
  '-f': async (path, stat) => {
    const found = await stat(path);
    return found !== undefined && found.kind !== 'directory';
  },
  '-s': async (path, stat) => {
    const found = await stat(path);
    return found?.kind === 'file' && found.size > 0;
  },
};

export async function evaluateTest(args: readonly string[], stat: StatPath, budget: Budget): Promise<boolean> {
  const words = args.at(-1) === ']' ? args.slice(0, -1) : args;
  let at = 0;

  const expression = async (depth: number): Promise<boolean> => {
    if (depth > grubLimits.depth) throw budget.exceeded(`nests deeper than ${grubLimits.depth} parentheses`);
    let or = false;
    let and = true;
    let invert = false;
    const update = (value: boolean): void => {
      and &&= value !== invert;
      invert = false;
    };
    while (at < words.length) {
      const word = words[at] ?? '';
      const [operator, right] = [words[at + 1], words[at + 2]];
      if (operator !== undefined && right !== undefined && Object.hasOwn(binary, operator)) {
        update(binary[operator]?.(word, right) ?? false);
        at += 3;
      } else if (operator !== undefined && Object.hasOwn(unary, word)) {
        update((await unary[word]?.(operator, stat)) ?? false);
        at += 2;
      } else if (word === ')') {
        at++;
        return or || and;
      } else if (word === '(') {
        at++;
        update(await expression(depth + 1));
      } else if (word === '!') {
        at++;
        invert = !invert;
      } else if (word === '-a') {
        at++;
      } else if (word === '-o') {
        at++;
        or ||= and;
        and = true;
      } else {
        update(word !== '');
        at++;
      }
    }
    return or || and;
  };
  return expression(0);
}
