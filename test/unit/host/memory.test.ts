import { closeSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Doorbell } from '../../../src/host/doorbell.js';
import { eventFd } from '../../../src/host/system.js';
import { Layer } from '../../../src/memory/layer.js';
import { GuestRam } from '../../../src/memory/ram.js';

const MiB = 1024 ** 2;

describe('mappings', () => {
  test('memory goes when its last holder does', () => {
    const address = native().mapMemory(MiB, 3, 0x22, -1, 0, 0);
    const buffer = native().wrapMemory(address + 4096, 8192)!;
    expect(native().memoryHolders(address)).toBe(2);
    native().releaseMemory(address);
    new Uint8Array(buffer)[0] = 7; // still mapped
    expect(native().memoryHolders(address)).toBe(1);
    native().detach(buffer);
    expect(buffer.byteLength).toBe(0);
  });

  test('a range that is not inside one mapping is not wrapped', () => {
    const address = native().mapMemory(8192, 3, 0x22, -1, 0, 0);
    expect(native().wrapMemory(address, 8193)).toBeUndefined();
    expect(native().wrapMemory(address + 8191, 2)).toBeUndefined();
    expect(native().wrapMemory(4096, 1)).toBeUndefined();
    native().releaseMemory(address);
  });

  test('views in several threads show the same bytes', async () => {
    const address = native().mapMemory(MiB, 3, 0x22, -1, 0, 0);
    const here = new Uint8Array(native().wrapMemory(address, MiB)!);
    const body = `
      const { workerData: { file, address }, parentPort } = require('node:worker_threads');
      const view = new Uint8Array(require(file).wrapMemory(address, ${MiB}));
      view[5] = 42;
      parentPort.postMessage(view[6]);`;
    here[6] = 9;
    const file = new URL('../../../build/Release/tsvmm.node', import.meta.url).pathname;
    const worker = new Worker(body, { eval: true, workerData: { file, address } });
    const seen = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    expect([seen, here[5]]).toEqual([9, 42]);
    await worker.terminate();
    native().detach(here.buffer as ArrayBuffer);
    native().releaseMemory(address);
  });
});

describe('guest RAM', () => {
  test('pieces must cover it whole and in order', () => {
    expect(() => GuestRam.map(8192, { pieces: [{ offset: 0, length: 4096 }] })).toThrow('cover 4096 of 8192');
    expect(() => GuestRam.map(8192, { pieces: [{ offset: 4096, length: 4096 }] })).toThrow('does not fit');
    expect(() => GuestRam.map(5000)).toThrow('does not fit');
  });

  test('layers are shown, and what is written over them is private', () => {
    const path = join(tmpdir(), `tsvmm-layer-${process.pid}`);
    const fd = openSync(path, 'w+');
    unlinkSync(path);
    writeSync(fd, Buffer.alloc(8192, 'L'));
    const layer = new Layer(fd, closeSync);
    const pieces = [
      { offset: 0, length: 4096, layer, layerOffset: 4096 },
      { offset: 4096, length: 4096 },
    ];
    const one = GuestRam.map(8192, { pieces });
    const two = GuestRam.map(8192, { pieces });
    const read = (ram: GuestRam, at: number): string => {
      const bytes = Buffer.alloc(2);
      native().copyOut(ram.hostAddress + at, bytes);
      return bytes.toString('latin1');
    };
    native().copyIn(one.hostAddress, Buffer.from('XY'));
    native().copyIn(one.hostAddress + 4096, Buffer.from('ZZ'));
    expect([read(one, 0), read(two, 0), read(one, 4096), read(two, 4096)]).toEqual(['XY', 'LL', 'ZZ', '\0\0']);
    one.release();
    two.release();
    layer.release();
    expect(() => closeSync(fd)).toThrow('EBADF');
  });

  test('it begins on a 2 MiB boundary and is placed region by region', () => {
    const ram = GuestRam.map(4 * MiB);
    expect(ram.hostAddress % (2 * MiB)).toBe(0);
    const [low, high] = ram.place([
      { start: 0, size: MiB },
      { start: 2 ** 32, size: 3 * MiB },
    ]);
    expect([low!.hostAddress, high!.hostAddress]).toEqual([ram.hostAddress, ram.hostAddress + MiB]);
    ram.release();
    ram.release(); // the second time is nobody's hold
    expect(native().memoryHolders(ram.hostAddress)).toBe(0);
  });
});

test('a page that the host cannot supply marks the machine failed and reads as zero', async () => {
  const path = join(tmpdir(), `tsvmm-truncated-${process.pid}`);
  const fd = openSync(path, 'w+');
  unlinkSync(path);
  writeSync(fd, Buffer.alloc(4 * 4096, 'A'));
  const ram = GuestRam.map(4 * 4096, { pieces: [{ offset: 0, length: 4 * 4096, layer: new Layer(fd, closeSync) }] });
  const failed = new Int32Array(new SharedArrayBuffer(4));
  let rung = 0;
  const doorbell = new Doorbell(() => rung++);
  const slot = native().guard(ram.hostAddress, ram.size, 4096, native().addressOf(failed), doorbell.fd);
  expect(slot).toBeGreaterThanOrEqual(0);
  ftruncateSync(fd, 4096);
  const bytes = Buffer.alloc(4096, 1);
  native().copyOut(ram.hostAddress + 2 * 4096, bytes);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  expect(failed[0]).toBe(1);
  await delay(20);
  expect(rung).toBe(1);
  native().unguard(slot);
  doorbell.close();
  ram.release();
  closeSync(fd);
});

test('a doorbell rings once per wake and is silent once closed', async () => {
  let rung = 0;
  const doorbell = new Doorbell(() => rung++);
  for (let i = 0; i < 100; i++) native().ring(doorbell.fd);
  await delay(10);
  expect(rung).toBe(1);
  native().ring(doorbell.fd);
  await delay(10);
  expect(rung).toBe(2);
  doorbell.close();
  doorbell.close();
});

test('the kick signal is a real-time signal and stays the same', () => {
  const number = native().kickSignal();
  expect(number).toBeGreaterThan(34);
  expect(native().kickSignal()).toBe(number);
  expect(native().kick(123456)).toBe(-2);
});

test('system calls answer -errno', () => {
  const fd = eventFd();
  expect(fd).toBeGreaterThan(2);
  expect(native().syscall(3, fd)).toBe(0);
  expect(native().syscall(3, fd)).toBe(-9);
});
