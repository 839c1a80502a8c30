import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
  startBundle('program', createRequire(import.meta.url), join(folder, 'program.cjs'), said);
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
