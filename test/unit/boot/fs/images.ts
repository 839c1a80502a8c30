/**
 * What the tests of disks and file systems share: scratch folders, outside tools, and block readers that count.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect } from 'vitest';
import type { FileSystem } from '../../../../src/boot/fs/file-system.js';
import { probeFileSystem } from '../../../../src/boot/fs/probe.js';
import type { BlockReader } from '../../../../src/disk/block-reader.js';
import { checkRange } from '../../../../src/disk/range.js';

/** Debian keeps the tools that make file systems where a user's PATH does not look. */
const environment = {
  ...process.env,
  PATH: `${process.env['PATH']}:/usr/sbin:/sbin`,
  LC_ALL: 'C.UTF-8',
  MTOOLS_SKIP_CHECK: '1',
};

/** True when every tool is there; else says which are not, so that a skipped test has a reason. */
export function haveTools(...tools: string[]): boolean {
  const missing = tools.filter(
    (tool) => spawnSync('sh', ['-c', `command -v ${tool}`], { env: environment }).status !== 0,
  );
  if (missing.length > 0) console.warn(`skipped: ${missing.join(', ')} not installed`);
  return missing.length === 0;
}

/** Runs a tool and returns its output; `accept` are exit codes that are fine. */
export function run(
  tool: string,
  args: string[],
  { input = '', accept = [0], cwd }: { input?: string; accept?: number[]; cwd?: string } = {},
): string {
  const result = spawnSync(tool, args, { env: environment, input, cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.error) throw result.error;
  if (!accept.includes(result.status ?? -1))
    throw new Error(`${tool} ${args.join(' ')} ended with ${result.status}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** A folder that is gone after the tests of this file. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-fs-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An image in memory that remembers how it was read. */
export class MemoryDisk implements BlockReader {
  readonly bytes: Buffer;
  reads = 0;
  largestRead = 0;
  bytesRead = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'test disk');
    this.reads++;
    this.bytesRead += length;
    this.largestRead = Math.max(this.largestRead, length);
    return this.copy(offset, length);
  }

  protected copy(offset: number, length: number): Buffer {
    return Buffer.from(this.bytes.subarray(offset, offset + length));
  }

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    into.set(await this.read(offset, into.length));
  }
}

export const load = (path: string): MemoryDisk => new MemoryDisk(readFileSync(path));

/** The file system in `disk`; fails when it is not one that can be read. */
export async function mount(disk: BlockReader): Promise<FileSystem> {
  const found = await probeFileSystem(disk);
  if (!found || 'unsupported' in found) throw new Error(`no readable file system: ${JSON.stringify(found)}`);
  return found;
}

/** Bytes that look random and are the same each time. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** A file given as pieces at offsets; between them it has holes. */
export interface Pieces {
  readonly size: number;
  readonly at: readonly (readonly [offset: number, bytes: Buffer])[];
}

export type Content = Buffer | { readonly link: string } | Pieces;

/** Writes files under `root`: paths to contents. */
export function plant(root: string, files: Readonly<Record<string, Content>>): void {
  for (const [path, content] of Object.entries(files)) {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    if (Buffer.isBuffer(content)) writeFileSync(full, content);
    else if ('link' in content) symlinkSync(content.link, full);
    else {
      const file = openSync(full, 'w');
      ftruncateSync(file, content.size);
      for (const [offset, bytes] of content.at) writeSync(file, bytes, 0, bytes.length, offset);
      closeSync(file);
    }
  }
}

/** Its parts are not read apart from the whole. */
const smallFile = 16;

/** Compares everything under the host's folder `root` with the same paths in `fileSystem`. Returns how many files it compared. */
export async function expectSameTree(
  fileSystem: FileSystem,
  root: string,
  path = '/',
  ignore: readonly string[] = ['lost+found'],
): Promise<number> {
  const names = readdirSync(join(root, path)).sort();
  const listed = (await fileSystem.list(path)).filter((entry) => !ignore.includes(entry.name));
  expect(listed.map((entry) => entry.name).sort()).toEqual(names);
  let compared = 0;
  const differences: string[] = [];
  for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
    const at = join(path, entry.name);
    const kind = entry.isDirectory() ? 'directory' : entry.isSymbolicLink() ? 'symlink' : 'file';
    if (listed.find((other) => other.name === entry.name)?.kind !== kind) differences.push(`${at}: kind`);
    if (kind === 'directory') compared += await expectSameTree(fileSystem, root, at, ignore);
    if (kind !== 'file') continue;
    const expected = readFileSync(join(root, at));
    const stat = await fileSystem.stat(at);
    if (stat?.kind !== 'file' || stat.size !== statSync(join(root, at)).size)
      differences.push(`${at}: ${JSON.stringify(stat)}`);
    else if (!(await fileSystem.readFile(at, expected.length)).equals(expected)) differences.push(`${at}: content`);
    else {
      for (const [offset, length] of expected.length > smallFile ? rangesOf(expected.length) : []) {
        const part = await fileSystem.readRange(at, offset, length);
        if (!part.equals(expected.subarray(offset, offset + length)))
          differences.push(`${at}: ${length} bytes from ${offset}`);
      }
    }
    compared++;
  }
  expect(differences).toEqual([]);
  return compared;
}

/** Parts of a file of `size` bytes: its ends, pieces around the middle, and nothing. */
function rangesOf(size: number): [offset: number, length: number][] {
  const half = Math.floor(size / 2);
  const pieces: [number, number][] = [
    [0, Math.min(size, 1)],
    [half, Math.min(size - half, 1025)],
    [Math.max(0, half - 3000), Math.min(half, 3000)],
    [Math.max(0, size - 700), Math.min(size, 700)],
    [size, 0],
  ];
  return pieces;
}

/** Whether this user may mount an image of this type with the kernel's own driver. */
export function mayMount(folder: string, type: string, makeFileSystem: string[], size = '2M'): boolean {
  if (process.getuid?.() !== 0) {
    console.warn('skipped: mounting needs root');
    return false;
  }
  const at = join(folder, `may-mount-${type}`);
  const image = `${at}.img`;
  mkdirSync(at);
  run('truncate', ['-s', size, image]);
  run(makeFileSystem[0]!, [...makeFileSystem.slice(1), image]);
  if (spawnSync('mount', ['-t', type, '-o', 'loop', image, at], { env: environment }).status !== 0) {
    console.warn(`skipped: ${type} cannot be mounted here`);
    return false;
  }
  run('umount', [at]);
  return true;
}
