/** Files that are opened and read at once, if the kernel has them; else nothing is said of them. */
import { spawnSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { currentDirectory, openCached, readCached } from '../../../src/host/cached-files.js';
import { closeFd } from '../../../src/host/system.js';
import { openTargets } from '../../support/descriptors.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-cached-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const content = Buffer.from('what a file has in it');
const file = join(folder, 'file');
writeFileSync(file, content);

/** A kernel that is older than both calls, or a file system without them, says so each time. */
const opened = openCached(currentDirectory, file, constants.O_RDONLY);
const whyNot = opened === undefined || !readCached(opened, Buffer.alloc(4), 0) ? 'not on this file system' : undefined;
if (whyNot !== undefined) console.log(`skipped: files at once: ${whyNot}`);
if (opened !== undefined) closeFd(opened);

describe.skipIf(whyNot !== undefined)('a file that the kernel has', () => {
  test('is opened, by its path or in a directory, and read from any position', () => {
    const directory = openCached(currentDirectory, folder, constants.O_RDONLY | constants.O_DIRECTORY)!;
    const fd = openCached(directory, 'file', constants.O_RDONLY)!;
    const into = Buffer.alloc(content.length);
    expect(readCached(fd, into, 0)).toBe(true);
    expect(into).toEqual(content);
    expect(readCached(fd, into.subarray(0, 4), 7)).toBe(true);
    expect(into.subarray(0, 4)).toEqual(content.subarray(7, 11));
    for (const one of [fd, directory]) closeFd(one);
    expect(openTargets().filter((target) => target.startsWith(folder))).toEqual([]);
  });

  test('that is shorter, or is not there, is for others to tell of', () => {
    const fd = openCached(currentDirectory, file, constants.O_RDONLY)!;
    expect(readCached(fd, Buffer.alloc(content.length + 1), 0)).toBe(false);
    closeFd(fd);
    symlinkSync(file, join(folder, 'link'));
    const open = (path: string, flags: number): unknown =>
      openCached(currentDirectory, path, constants.O_RDONLY | flags);
    expect(open(join(folder, 'none'), 0)).toBeUndefined();
    expect(open(join(folder, 'link'), constants.O_NOFOLLOW)).toBeUndefined();
    expect(open(file, constants.O_DIRECTORY)).toBeUndefined();
    expect(open(`${file}\0more`, 0)).toBeUndefined();
    expect(openTargets().filter((target) => target.startsWith(folder))).toEqual([]);
  });
});

test('nothing can be read at once of what does not wait for its other end', () => {
  const pipe = join(folder, 'pipe');
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  expect(readCached(fd, Buffer.alloc(1), 0)).toBe(false);
  closeFd(fd);
});
