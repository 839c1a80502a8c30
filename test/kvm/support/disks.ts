/** Disk images for guests under test, in a folder that goes with the test file, and the pattern that guest and host share. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export const sectorBytes = 512;
const sectorWords = sectorBytes / 4;

/** What the guest virtio-blk writes: 32-bit little-endian word i of sector s is (s * 128 + i + seed) mod 2^32. */
export function pattern(start: number, sectors: number, seed: number): Buffer {
  const first = (start * sectorWords + seed) % 2 ** 32;
  return Buffer.from(new Uint32Array(sectors * sectorWords).map((_, i) => first + i).buffer);
}

/** The guest's `tests=checksum`: the sum of all words, mod 2^32, as it prints it. */
export function checksum(content: Buffer): string {
  const words = new Uint32Array(content.buffer, content.byteOffset, content.byteLength / 4);
  const sum = words.reduce((total, word) => (total + word) >>> 0, 0);
  return `0x${sum.toString(16).padStart(8, '0')}`;
}

export interface Scratch {
  path(name: string): string;
  /** A file with this content, or with this many zero bytes that take no room. */
  file(name: string, content: Uint8Array | number): string;
}

/** A folder for the images of the tests around it. */
export function scratchFolder(): Scratch {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-disks-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);
  return {
    path,
    file(name, content) {
      const at = path(name);
      writeFileSync(at, typeof content === 'number' ? '' : content);
      if (typeof content === 'number') withFile(at, 'r+', (fd) => ftruncateSync(fd, content));
      return at;
    },
  };
}

/** Sectors of an image as they are now. */
export function readSectors(path: string, start: number, sectors: number): Buffer {
  const into = Buffer.alloc(sectors * sectorBytes);
  const read = withFile(path, 'r', (fd) => readSync(fd, into, 0, into.length, start * sectorBytes));
  if (read !== into.length) throw new Error(`${path} ends at sector ${start + read / sectorBytes}`);
  return into;
}

function withFile<T>(path: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** How this process has `path` open: the access mode of each descriptor (open(2): 0 reads, 1 writes, 2 does both). */
export function accessModes(path: string): number[] {
  const modes: number[] = [];
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== path) continue;
      const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))![1]!;
      modes.push(Number.parseInt(flags, 8) & 3);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // closed while we looked
    }
  }
  return modes;
}
