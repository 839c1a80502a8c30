import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { afterAll, expect, test } from 'vitest';
import { startBundle } from '../../../src/host/start-bundle.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-bundle-'));
mkdirSync(join(folder, 'code'));
afterAll(() => rmSync(folder, { recursive: true }));

const hashed = (text: string): string => `${text}\n//${createHash('sha256').update(text).digest('hex')}`;
const ending = (text: string): Buffer => Buffer.from(text.slice(-67));
/** Programs that differ in one letter, so that V8 itself cannot tell one's compiled code from the other's. */
const program = (letter: string): string =>
  hashed(`(function (require, starter, handed) { handed.push('${letter}', starter, typeof require) })`);

/** What the program says of itself when `text` is started with `compiled` beside it. */
function started(text: string, compiled?: Buffer): unknown[] {
  writeFileSync(join(folder, 'code/program.js'), text);
  const file = join(folder, `code/program.${process.version}-${process.arch}`);
  if (compiled === undefined) rmSync(file, { force: true });
  else writeFileSync(file, compiled);
  const said: unknown[] = [];
  startBundle('program', createRequire(import.meta.url), join(folder, 'program.cjs'), { handed: said });
  return said;
}

const expected = (letter: string): unknown[] => [letter, join(folder, 'program.cjs'), 'function'];
const compiledFrom = (text: string): Buffer => new Script(text, { filename: 'program.js' }).createCachedData();

test('a program starts without compiled code', () => {
  expect(started(program('a'))).toEqual(expected('a'));
});

test('compiled code is run in its place', () => {
  // A text that V8 has not compiled in this process: it would find that again.
  const forged = Buffer.concat([compiledFrom(program('b')), ending(program('c'))]);
  expect(started(program('c'), forged)).toEqual(expected('b'));
});

test('compiled code of another text is not', () => {
  const stale = Buffer.concat([compiledFrom(program('b')), ending(program('b'))]);
  expect(started(program('d'), stale)).toEqual(expected('d'));
});

test.each([
  ['nothing', Buffer.alloc(0)],
  ['a hash alone', ending(program('a'))],
  ['junk with the right hash', Buffer.concat([Buffer.alloc(5000, 0xa5), ending(program('a'))])],
  ['half of it', Buffer.concat([compiledFrom(program('a')).subarray(0, 100), ending(program('a'))])],
])('a file with %s does no harm', (_what, compiled) => {
  expect(started(program('a'), compiled)).toEqual(expected('a'));
});

const place = join(folder, 'cache');
const cache = join(place, 'node');
const fileOf = (text: string): string => `${cache}-cached-${text.slice(-16)}`;

/** Starts the text with a cache, and has its code kept if `keeps`. */
function startedWithCache(text: string, keeps: boolean): unknown[] {
  writeFileSync(join(folder, 'code/cached.js'), text);
  const said: unknown[] = [];
  const handed = { said, keeps };
  startBundle('cached', createRequire(import.meta.url), join(folder, 'cached.cjs'), { handed, cache });
  return said;
}
const keeping = (letter: string): string =>
  hashed(
    `(function (require, starter, handed, keepCode) { handed.said.push('${letter}'); if (handed.keeps) keepCode(); })`,
  );

test('code is kept in the cache when the program says so', () => {
  const text = keeping('e');
  expect(startedWithCache(text, false)).toEqual(['e']);
  expect(readdirSync(folder)).not.toContain('cache');
  expect(startedWithCache(text, true)).toEqual(['e']);
  expect(readdirSync(place).map((name) => join(place, name))).toEqual([fileOf(text)]);
  expect(readFileSync(fileOf(text)).subarray(-67)).toEqual(ending(text));
});

test('code in the cache is run, and not written again', () => {
  // As above: a text that V8 has not compiled in this process.
  const forged = Buffer.concat([compiledFrom(keeping('f')), ending(keeping('g'))]);
  writeFileSync(fileOf(keeping('g')), forged);
  expect(startedWithCache(keeping('g'), true)).toEqual(['f']);
  expect(readFileSync(fileOf(keeping('g')))).toEqual(forged);
});

test.each([
  ['h', 'junk', Buffer.concat([Buffer.alloc(5000, 0xa5), ending(keeping('h'))])],
  ['i', 'half of it', Buffer.concat([compiledFrom(keeping('m')).subarray(0, 100), ending(keeping('i'))])],
  ['j', 'a torn file', Buffer.from('torn')],
  ['k', "another text's", Buffer.concat([compiledFrom(keeping('l')), ending(keeping('l'))])],
])('of program %s, %s in the cache does no harm and is replaced', (letter, _what, content) => {
  const file = fileOf(keeping(letter));
  writeFileSync(file, content);
  expect(startedWithCache(keeping(letter), true)).toEqual([letter]);
  const kept = readFileSync(file);
  expect(kept.equals(content)).toBe(false);
  expect(kept.subarray(-67)).toEqual(ending(keeping(letter)));
});
