import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { codeCache, readCode, writeCode } from '../../../src/host/code-cache.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'tsvmm-home-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const code = Buffer.from('compiled');
const isRoot = process.geteuid?.() === 0;
const nobody = 65_534;

/** The place below `home`, with one program's code in it. */
function kept(): { cache: string; file: string; folder: string } {
  const cache = codeCache('', home)!;
  writeCode(cache, 'cli', code);
  return { cache, file: `${cache}-cli`, folder: dirname(cache) };
}

describe('compiled code is kept', () => {
  test('in the folder for caches, for this Node, and is nobody else’s', () => {
    const { cache, file, folder } = kept();
    expect(folder).toBe(join(home, '.cache/tsvmm'));
    expect(cache).toContain(`${process.version}-${process.arch}`);
    expect(readCode(cache, 'cli')).toEqual(code);
    expect(readCode(cache, 'vcpu-worker')).toBeUndefined();
    expect(readdirSync(folder)).toEqual([file.slice(folder.length + 1)]);
    expect([statSync(folder).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o600]);
  });

  test('in XDG_CACHE_HOME, unless that is relative', () => {
    const caches = join(home, 'caches');
    expect(dirname(codeCache(caches, home)!)).toBe(join(caches, 'tsvmm'));
    expect(dirname(codeCache('caches', home)!)).toBe(join(home, '.cache/tsvmm'));
  });

  test('nowhere without a home', () => {
    expect(codeCache('', '')).toBeUndefined();
    expect(codeCache('', 'here')).toBeUndefined();
  });

  test('and nothing is made before there is something to keep', () => {
    expect(codeCache('', home)).toBeDefined();
    expect(readdirSync(home)).toEqual([]);
  });

  test('for some versions, of which the oldest go', () => {
    const { cache, file, folder } = kept();
    utimesSync(file, 1, 1);
    for (let i = 0; i < 24; i++) writeCode(cache, `program-${i}`, code);
    expect(readdirSync(folder)).toHaveLength(24);
    expect(existsSync(file)).toBe(false);
  });
});

describe('code that somebody else could have written is not run', () => {
  test.each([0o770, 0o707, 0o722])('in a folder of mode %o', (mode) => {
    const { cache, folder } = kept();
    chmodSync(folder, mode);
    const writable = (mode & 0o022) !== 0;
    expect(codeCache('', home) === undefined).toBe(writable);
    rmSync(`${cache}-cli`);
    writeCode(cache, 'cli', code);
    expect(existsSync(`${cache}-cli`)).toBe(!writable);
  });

  test.each([0o660, 0o606, 0o622])('in a file of mode %o', (mode) => {
    const { cache, file } = kept();
    chmodSync(file, mode);
    expect(readCode(cache, 'cli')).toBeUndefined();
  });

  test('behind a symbolic link', () => {
    const { cache, file, folder } = kept();
    renameSync(file, join(home, 'elsewhere'));
    symlinkSync(join(home, 'elsewhere'), file);
    expect(readCode(cache, 'cli')).toBeUndefined();
    renameSync(folder, join(home, 'other'));
    symlinkSync(join(home, 'other'), folder);
    expect(codeCache('', home)).toBeUndefined();
  });

  test('in what is no file', () => {
    const { cache, file } = kept();
    rmSync(file);
    mkdirSync(file);
    expect(readCode(cache, 'cli')).toBeUndefined();
    writeCode(cache, 'cli', code); // and nothing of it stays
    expect(readdirSync(dirname(file))).toEqual([file.slice(dirname(file).length + 1)]);
  });

  test.skipIf(!isRoot)('in a file, a folder or a home of another user (root only)', () => {
    const { cache, file, folder } = kept();
    chownSync(file, nobody, nobody);
    expect(readCode(cache, 'cli')).toBeUndefined();
    chownSync(folder, nobody, nobody);
    expect(codeCache('', home)).toBeUndefined();
    const other = mkdtempSync(join(home, 'other-'));
    chownSync(other, nobody, nobody);
    expect(codeCache('', other)).toBeUndefined();
    writeCode(join(other, '.cache/tsvmm/x'), 'cli', code);
    expect(readdirSync(other)).toEqual([]);
  });
});

test('a place that cannot be had is no error', () => {
  writeFileSync(join(home, '.cache'), '');
  expect(codeCache('', home)).toBeUndefined();
  writeCode(join(home, '.cache/tsvmm/x'), 'cli', code);
  writeCode('/proc/tsvmm/x', 'cli', code);
});
