/** The example of docs/user-disks.md, run as it stands there: against a web server, without a machine. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DiskHandlers } from 'tsvmm';
import { afterAll, expect, test } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';
import { httpDiskExample, imageServer } from '../support/http-disk.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-http-'));
const inside = join(packageRoot(), '.cache/example', `user-disks-${process.pid}`); // where `tsvmm` is found
mkdirSync(inside, { recursive: true });
afterAll(() => {
  for (const path of [folder, inside]) rmSync(path, { recursive: true });
});

async function load<T>(name: string, code: string): Promise<T> {
  const file = join(inside, name);
  writeFileSync(file, code);
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as T;
}

test('reads pieces, keeps them, shows what was written, and fails when the image is another', async () => {
  const { httpDisk, withChanges } = await load<{
    httpDisk(url: string): Promise<DiskHandlers>;
    withChanges(disk: DiskHandlers): DiskHandlers;
  }>('example.mjs', httpDiskExample());
  const { serveImage } = await load<{
    serveImage(path: string): Promise<{ url: string; server: Server; requests: string[] }>;
  }>('server.mjs', imageServer);
  const content = randomBytes(600 * 1024);
  const path = join(folder, 'disk.img');
  writeFileSync(path, content);
  const { url, server, requests } = await serveImage(path);
  try {
    const context = { signal: new AbortController().signal };
    const disk = withChanges(await httpDisk(url));
    expect(disk.size).toBe(content.length);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const into = Buffer.alloc(length);
      await disk.read(offset, into, context);
      return into;
    };
    expect((await read(200 * 1024, 100 * 1024)).equals(content.subarray(200 * 1024, 300 * 1024))).toBe(true);
    expect(requests).toEqual(['HEAD', 'bytes=0-262143', 'bytes=262144-524287']);
    await Promise.all([read(0, 512), read(520 * 1024, 80 * 1024), read(599 * 1024, 1024)]);
    expect(requests.slice(3)).toEqual(['bytes=524288-614399']);
    const data = randomBytes(1024);
    await disk.write!(262144 - 512, Buffer.from(data), context);
    data.copy(content, 262144 - 512);
    expect((await read(0, content.length)).equals(content)).toBe(true);
    const other = withChanges(await httpDisk(url));
    utimesSync(path, 1, 1);
    await expect(other.read(0, Buffer.alloc(512), context) as Promise<void>).rejects.toThrow(/412 with 0 bytes/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
