/** The class that programs look into snapshots with. */
import { existsSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvmRegs, KvmSregs } from '../../../src/kvm/structs.js';
import { Snapshot } from '../../../src/machine/snapshot.js';
import { writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { contentOf, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());
const directory = bench.path('machine');
const high = 0x1_0000_0000;
const regions = [
  { start: 0, size: 4 * MIB },
  { start: high, size: 4 * MIB },
];
let before: number;
beforeAll(async () => {
  before = Date.now();
  const layer = bench.layer(8 * MIB, { [4 * MIB - page]: pattern(2 * page, 3) });
  const pieces = [{ offset: 0, length: 8 * MIB, layer, layerOffset: 0 }];
  const sections = new Map([
    ['vcpu0.regs', pattern(KvmRegs.size, 1)],
    ['vcpu0.sregs', pattern(KvmSregs.size, 2)],
  ]);
  await writeSnapshot(directory, contentOf(pieces, { sections, memory: { regions, pieces } }));
});

test('says what it is', async () => {
  await using snapshot = await Snapshot.open(pathToFileURL(directory));
  expect(snapshot.directory).toBe(directory);
  expect(snapshot.createdAt.getTime()).toBeGreaterThanOrEqual(before);
  expect(snapshot.memory).toMatchObject({ size: 8 * MIB, regions });
});

describe('memory', () => {
  test('is read by guest-physical addresses', async () => {
    await using snapshot = await Snapshot.open(directory);
    const bytes = pattern(2 * page, 3);
    expect(snapshot.memory.read(4 * MIB - page, page)).toEqual(bytes.subarray(0, page));
    expect(snapshot.memory.read(high, page)).toEqual(bytes.subarray(page));
    expect(snapshot.memory.read(high + 4 * MIB, 0).length).toBe(0);
    const target = new Uint8Array(3 * page);
    snapshot.memory.readInto(high, target.subarray(page, 2 * page));
    expect(Buffer.from(target)).toEqual(Buffer.concat([Buffer.alloc(page), bytes.subarray(page), Buffer.alloc(page)]));
  });

  test.each([
    [-1, 1],
    [4 * MIB - 1, 2],
    [high - 1, 1],
    [high + 4 * MIB, 1],
    [0.5, 1],
    [Number.NaN, 1],
    [0, -1],
    [0, 1.5],
    [2 ** 53, 1],
    ['0', 1],
  ])('%s, %s is refused', async (address, length) => {
    await using snapshot = await Snapshot.open(directory);
    expect(() => snapshot.memory.read(address as number, length)).toThrow(
      expect.objectContaining({ code: 'ERR_TSVMM_CONFIG', hint: expect.any(String) }),
    );
  });

  test('is read into bytes', async () => {
    await using snapshot = await Snapshot.open(directory);
    expect(() => snapshot.memory.readInto(0, [] as unknown as Uint8Array)).toThrow('expected a Uint8Array');
  });
});

test('registers by their names', async () => {
  await using snapshot = await Snapshot.open(directory);
  const registers = snapshot.registers(0);
  const [regs, sregs] = [pattern(KvmRegs.size, 1), pattern(KvmSregs.size, 2)];
  expect(registers['rax']).toBe(regs.readBigUInt64LE(0));
  expect(registers['rip']).toBe(regs.readBigUInt64LE(128));
  expect(registers['rflags']).toBe(regs.readBigUInt64LE(136));
  expect(registers['cs_base']).toBe(sregs.readBigUInt64LE(0));
  expect(registers['cs_limit']).toBe(BigInt(sregs.readUInt32LE(8)));
  expect(registers['cs']).toBe(BigInt(sregs.readUInt16LE(12)));
  expect(registers['gdt_base']).toBe(sregs.readBigUInt64LE(8 * 24));
  expect(registers['idt_limit']).toBe(BigInt(sregs.readUInt16LE(8 * 24 + 16 + 8)));
  expect(registers['cr3']).toBe(sregs.readBigUInt64LE(8 * 24 + 2 * 16 + 16));
  expect(registers['efer']).toBe(sregs.readBigUInt64LE(8 * 24 + 2 * 16 + 40));
  expect(Object.keys(registers).length).toBe(18 + 8 + 2 * 10 + 7);
  for (const cpu of [1, -1, 0.5]) expect(() => snapshot.registers(cpu)).toThrow('registers');
});

test('writes a crash dump', async () => {
  await using snapshot = await Snapshot.open(directory);
  await snapshot.writeCrashDump(pathToFileURL(bench.path('vmcore')));
  expect(readFileSync(bench.path('vmcore')).subarray(0, 4).toString('latin1')).toBe('\x7fELF');
  await expect(snapshot.writeCrashDump('')).rejects.toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
});

test('is opened, not made, and once it is disposed of it answers nothing', async () => {
  expect(() => Reflect.construct(Snapshot, [])).toThrow('Snapshot.open');
  const snapshot = await Snapshot.open(directory);
  await snapshot[Symbol.asyncDispose]();
  await snapshot[Symbol.asyncDispose]();
  expect(() => snapshot.memory.read(0, 1)).toThrow('has been disposed');
  await expect(snapshot.writeCrashDump(bench.path('late'))).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
  expect(existsSync(bench.path('late'))).toBe(false);
  await expect(Snapshot.open('')).rejects.toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
});
