/** Disks of files and overlays, requests as a driver writes them, and a block device on the bench with a scripted kernel. */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import type { OpenDisk } from '../../../src/disk/disk-map.js';
import { allocateWritten } from '../../../src/disk/overlay-written.js';
import { BlkDevice } from '../../../src/virtio/blk/blk.js';
import { BlkFeature, blkConfig } from '../../../src/virtio/blk/blk-format.js';
import { DeviceBench } from './device-bench.js';
import { type MockBuffer, readable, writable } from './mock-driver.js';
import { ScriptedEngine } from './scripted-slots.js';
import { mappedRam } from './test-ram.js';

export const directory = mkdtempSync(join(tmpdir(), 'tsvmm-blk-'));
afterAll(() => rmSync(directory, { recursive: true }));
export const sector = 512;
export const diskSize = 256 * sector;
export const Type = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
export const writeback = [BlkFeature.flush];

export const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

let files = 0;
/** A path that no other disk of this test file has. */
export const newPath = (): string => join(directory, `disk${files++}`);

/** A disk of random content. */
export function disk(readOnly = false): { open: OpenDisk; content: Buffer; path: string } {
  const path = newPath();
  const content = randomBytes(diskSize);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
  writeSync(fd, content);
  cleanups.push(() => closeSync(fd));
  return { open: { kind: 'file', fd, size: diskSize, readOnly }, content, path };
}

export function overlay(limit?: number): { open: OpenDisk; content: Buffer; path: string; overlay: number } {
  const base = disk(true);
  const path = newPath();
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
  ftruncateSync(fd, diskSize);
  cleanups.push(() => closeSync(fd));
  const open: OpenDisk = {
    kind: 'overlay',
    layers: [{ fd: (base.open as { fd: number }).fd }],
    overlay: fd,
    written: allocateWritten(diskSize, limit),
    size: diskSize,
    readOnly: false,
    limit,
    givesBack: true,
  };
  return { ...base, open, overlay: fd };
}

export function header(type: number, at = 0): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(type, 0);
  bytes.writeBigUInt64LE(BigInt(at), 8);
  return bytes;
}

export const read = (at: number, ...lengths: number[]): MockBuffer[] => [
  readable(header(Type.in, at)),
  ...lengths.map(writable),
  writable(1),
];
export const write = (at: number, ...data: Uint8Array[]): MockBuffer[] => [
  readable(header(Type.out, at)),
  ...data.map(readable),
  writable(1),
];
export const flush = (): MockBuffer[] => [readable(header(Type.flush)), writable(1)];

/** A range of a discard or write-zeroes request, as the driver says it. */
export type Segment = readonly [sector: number | bigint, sectors: number, flags?: number];
export function segments(...list: readonly Segment[]): Buffer {
  const bytes = Buffer.alloc(list.length * 16);
  list.forEach(([at, count, flags = 0], i) => {
    bytes.writeBigUInt64LE(BigInt(at), i * 16);
    bytes.writeUInt32LE(count, i * 16 + 8);
    bytes.writeUInt32LE(flags, i * 16 + 12);
  });
  return bytes;
}
export const discard = (...list: readonly Segment[]): MockBuffer[] => [
  readable(header(Type.discard)),
  readable(segments(...list)),
  writable(1),
];
export const zeroes = (...list: readonly Segment[]): MockBuffer[] => [
  readable(header(Type.writeZeroes)),
  readable(segments(...list)),
  writable(1),
];
/** A bench whose kernel is a script. */
export function scripted(open: OpenDisk, features: readonly number[] = writeback, ram = 0x40_0000) {
  const engine = new ScriptedEngine();
  const config = blkConfig({ name: 'blk0', size: open.size, readOnly: open.readOnly });
  const bench = new DeviceBench(new BlkDevice({ disk: open, id: 'serial-0' }), mappedRam(ram), {
    engine,
    features,
    config,
    queueSize: 256,
    maxChain: 256,
  });
  cleanups.push(() => bench.close());
  return { bench, engine, driver: bench.driver };
}

/** Offers one request, runs it, and says its status, used length and data. */
export function ask(bench: DeviceBench, buffers: MockBuffer[], indirect?: number) {
  bench.driver.offer(buffers, indirect);
  bench.run();
  const [used] = bench.driver.collect();
  const ins = used!.buffers.filter(({ writable }) => writable);
  const bytes = Buffer.concat(ins.map((buffer) => bench.driver.read(buffer)));
  return { status: bytes.at(-1), length: used!.length, data: bytes.subarray(0, -1) };
}
