import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkRuntimeDirectory,
  makeRuntimeDirectory,
  namesIn,
  placeOf,
  runtimeDirectory,
} from '../../../../src/cli/control/runtime-directory.js';

let parent: string;
let folder: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'tsvmm-runtime-'));
  folder = join(parent, 'tsvmm');
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

const isRoot = process.geteuid?.() === 0;

/** What both the one that makes the folder and the one that only looks say. */
function refusal(): { code: string; message: string; hint: string } {
  const said = [makeRuntimeDirectory, checkRuntimeDirectory].map((look) => {
    try {
      look(folder);
    } catch (error) {
      const { code, message, hint } = error as { code: string; message: string; hint: string };
      return { code, message, hint };
    }
    throw new Error('not refused');
  });
  expect(said[1]).toEqual(said[0]);
  return said[0]!;
}

describe('the folder', () => {
  it('is in XDG_RUNTIME_DIR, or /tmp where that is not set or relative', () => {
    expect(runtimeDirectory('/run/user/7')).toBe('/run/user/7/tsvmm');
    for (const nothing of ['', 'run', './run'])
      expect(runtimeDirectory(nothing)).toBe(`/tmp/tsvmm-${process.geteuid!()}`);
    expect(runtimeDirectory('', parent)).toBe(join(parent, `tsvmm-${process.geteuid!()}`));
  });

  it('is made with mode 0700 whatever the umask is, and taken as it is the next time', () => {
    const umask = process.umask(0);
    try {
      expect(checkRuntimeDirectory(folder)).toBe(false);
      makeRuntimeDirectory(folder);
      expect(statSync(folder).mode & 0o7777).toBe(0o700);
      makeRuntimeDirectory(folder);
      expect(checkRuntimeDirectory(folder)).toBe(true);
    } finally {
      process.umask(umask);
    }
  });

  it.each([0o750, 0o707, 0o777, 0o500])('is refused with mode %o', (mode) => {
    mkdirSync(folder);
    chmodSync(folder, mode);
    const { code, message, hint } = refusal();
    expect(code).toBe('ERR_TSVMM_CONFIG');
    expect(message).toContain(`has mode 0${mode.toString(8)}, and not 0700`);
    expect(hint).toBe(`chmod 700 ${folder}`);
  });

  it('is refused if it is a symbolic link, even to a folder that would do', () => {
    mkdirSync(join(parent, 'other'), { mode: 0o700 });
    symlinkSync(join(parent, 'other'), folder);
    expect(refusal().message).toContain('is a symbolic link');
    rmSync(folder);
    symlinkSync(join(parent, 'absent'), folder);
    expect(refusal().message).toContain('is a symbolic link');
  });

  it('is refused if it is a file', () => {
    writeFileSync(folder, '', { mode: 0o700 });
    expect(refusal().message).toContain('is no folder');
  });

  it.runIf(isRoot)('is refused if it belongs to somebody else', () => {
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, 12_345, 0);
    expect(refusal().message).toContain('belongs to user 12345');
  });

  it('is refused where others can replace it', () => {
    makeRuntimeDirectory(folder);
    chmodSync(parent, 0o777);
    expect(refusal().message).toContain('others may replace it');
    chmodSync(parent, 0o1777); // as /tmp
    expect(checkRuntimeDirectory(folder)).toBe(true);
    if (!isRoot) return;
    chownSync(parent, 12_345, 0);
    expect(refusal().message).toContain('others may replace it');
  });

  it('is refused where it cannot be made', () => {
    rmSync(parent, { recursive: true });
    expect(() => makeRuntimeDirectory(folder)).toThrow(/cannot be made \(ENOENT\)/);
    writeFileSync(parent, '');
    expect(() => checkRuntimeDirectory(folder)).toThrow(/cannot be looked at \(ENOTDIR\)/);
  });
});

describe('a machine’s files', () => {
  it('have a path that a socket can have, or are refused', () => {
    const long = `/${'d'.repeat(90)}`;
    expect(placeOf(long, 'a'.repeat(10))).toEqual({
      socket: `${long}/${'a'.repeat(10)}.sock`,
      lock: `${long}/${'a'.repeat(10)}.lock`,
    });
    expect(() => placeOf(long, 'a'.repeat(11))).toThrow(/ends at 107 bytes, and .*\.sock has 108/);
    expect(() => placeOf(`/${'ä'.repeat(50)}`, 'name')).toThrow(/has 111/);
  });

  it('tell the names', () => {
    makeRuntimeDirectory(folder);
    for (const file of ['web.sock', 'web.lock', 'b.lock', 'a.b.sock', '-x.sock', '.sock', 'other', 'c.sock.old'])
      writeFileSync(join(folder, file), '');
    expect(namesIn(folder)).toEqual(['a.b', 'b', 'web']);
  });
});
