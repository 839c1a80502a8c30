/** Files that are read at once, if the kernel has them; else nothing is said of them. */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readCached } from '../../../src/host/cached-read.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-cached-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const content = Buffer.from('what a file has in it');
const file = join(folder, 'file');
writeFileSync(file, content);

test('a file that was just written is read from any position, where its file system can say so', (context) => {
  const fd = openSync(file, 'r');
  const into = Buffer.alloc(content.length);
  if (!readCached(fd, into, 0)) return context.skip('this file system does not know RWF_NOWAIT');
  expect(into).toEqual(content);
  expect(readCached(fd, into.subarray(0, 4), 7)).toBe(true);
  expect(into.subarray(0, 4)).toEqual(content.subarray(7, 11));
  closeSync(fd);
});

test('one that is shorter is for others to tell of', () => {
  const fd = openSync(file, 'r');
  expect(readCached(fd, Buffer.alloc(content.length + 1), 0)).toBe(false);
  closeSync(fd);
});

test('one that would wait for its other end is not waited for', () => {
  const pipe = join(folder, 'pipe');
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  expect(readCached(fd, Buffer.alloc(1), 0)).toBe(false);
  closeSync(fd);
});
