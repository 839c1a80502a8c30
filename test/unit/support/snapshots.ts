/** Snapshots of machines that never ran: layers of RAM in files, sections of chosen bytes. */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvmRegs, KvmSregs } from '../../../src/kvm/structs.js';
import type { PageFile } from '../../../src/memory/layer.js';
import type { Piece } from '../../../src/memory/ram.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import type { OpenSnapshot } from '../../../src/snapshot/open-snapshot.js';
import { type SnapshotContent, writeSnapshot } from '../../../src/snapshot/write-snapshot.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const page = 4 * KIB;

/** A place for snapshots, and the layers that were made for it. */
export class SnapshotBench {
  readonly directory: string;
  readonly #fds: number[] = [];

  constructor(directory = mkdtempSync(join(tmpdir(), 'tsvmm-snapshot-'))) {
    this.directory = directory;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A file of `size` bytes with data only where it is said, which nobody else can find. */
  layer(size: number, data: Readonly<Record<number, Uint8Array>> = {}): PageFile {
    const path = this.path(`layer${this.#fds.length}`);
    const fd = openSync(path, 'wx+');
    unlinkSync(path);
    this.#fds.push(fd);
    ftruncateSync(fd, size);
    for (const [offset, bytes] of Object.entries(data)) writeSync(fd, bytes, 0, bytes.length, Number(offset));
    return { fd };
  }

  async write(name: string, content: SnapshotContent): Promise<OpenSnapshot> {
    await writeSnapshot(this.path(name), content);
    return openSnapshot(this.path(name));
  }

  close(): void {
    for (const fd of this.#fds) closeSync(fd);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Bytes that differ from page to page and are never all zero. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i + 1, 2654435761) >>> 24) ^ (seed + (i >>> 12));
  for (let at = 0; at < length; at += page) bytes[at] = 1 + (seed % 255);
  return bytes;
}

/** RAM in one region, of these pieces. */
export const contentOf = (pieces: readonly Piece[], more: Partial<SnapshotContent> = {}): SnapshotContent => ({
  machine: { cpus: 1 },
  sections: new Map([
    ['machine-state', pattern(1000, 1)],
    ['vcpu0.regs', pattern(KvmRegs.size, 2)],
    ['vcpu0.sregs', pattern(KvmSregs.size, 3)],
  ]),
  memory: { regions: [{ start: 0, size: pieces.reduce((sum, { length }) => sum + length, 0) }], pieces },
  disks: [],
  ...more,
});

/** All of RAM. */
export function ramOf(snapshot: OpenSnapshot): Buffer {
  const bytes = Buffer.alloc(snapshot.memorySize);
  snapshot.readMemory(0, bytes);
  return bytes;
}

/** What a file takes on its disk. */
export const allocated = (file: string | number): number =>
  (typeof file === 'string' ? statSync(file) : fstatSync(file)).blocks * 512;
