/** Crash dumps, as readelf and gdb read them; both are oracles. */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KvmRegs, KvmSegment, KvmSregs } from '../../../src/kvm/structs.js';
import { writeCrashDump } from '../../../src/snapshot/crash-dump.js';
import { openSnapshot } from '../../../src/snapshot/load-snapshot.js';
import { generalRegisters } from '../../../src/snapshot/registers.js';
import { writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { allocated, contentOf, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const size = 40 * MIB;
const high = 0x1_0000_0000;
const regions = [
  { start: 0, size: 24 * MIB },
  { start: high, size: 16 * MIB },
];
/** Every general register has another value; `rip` and the stack are where RAM has bytes that are known. */
function regs(cpu: number): Buffer {
  const bytes = Buffer.alloc(KvmRegs.size);
  generalRegisters.forEach((name, index) => {
    bytes.writeBigUInt64LE(0x1111_0000_0000_0000n * BigInt(cpu + 1) + BigInt(index), KvmRegs.offset[name]);
  });
  bytes.writeBigUInt64LE(BigInt(5 * MIB), KvmRegs.offset.rip);
  bytes.writeBigUInt64LE(0x246n, KvmRegs.offset.rflags);
  return bytes;
}
function sregs(cpu: number): Buffer {
  const bytes = Buffer.alloc(KvmSregs.size);
  (['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const).forEach((name, index) => {
    const at = KvmSregs.offset[name];
    bytes.writeUInt16LE(8 * (index + 1), at + KvmSegment.offset.selector);
    bytes.writeUInt32LE(0xfffff, at + KvmSegment.offset.limit);
    bytes.writeBigUInt64LE(0xffff_8880_0000_0000n + BigInt(index * 4096 + cpu), at + KvmSegment.offset.base);
    for (const [field, value] of [
      ['type', 11],
      ['s', 1],
      ['dpl', 3],
      ['present', 1],
      ['l', 1],
      ['g', 1],
    ] as const)
      bytes.writeUInt8(value, at + KvmSegment.offset[field]);
  });
  bytes.writeBigUInt64LE(0xffff_ffff_8000_0000n, KvmSregs.offset.idt);
  bytes.writeUInt16LE(0xfff, KvmSregs.offset.idt + 8);
  for (const [index, name] of (['cr0', 'cr2', 'cr3', 'cr4'] as const).entries())
    bytes.writeBigUInt64LE(BigInt(0xc0 + index), KvmSregs.offset[name]);
  return bytes;
}

const dump = bench.path('vmcore');
const low = pattern(page, 5);
const above = pattern(page, 6);
beforeAll(async () => {
  const layer = bench.layer(size, { [5 * MIB]: low, [30 * MIB]: above });
  const pieces = [{ offset: 0, length: size, layer, layerOffset: 0 }];
  const sections = new Map(
    [0, 1].flatMap((cpu): [string, Buffer][] => [
      [`vcpu${cpu}.regs`, regs(cpu)],
      [`vcpu${cpu}.sregs`, sregs(cpu)],
    ]),
  );
  await writeSnapshot(bench.path('machine'), contentOf(pieces, { sections, memory: { regions, pieces } }));
  await using snapshot = await openSnapshot(bench.path('machine'));
  await writeCrashDump(snapshot, dump);
});

test('is sparse, private, and holds RAM where its segments say', () => {
  expect(statSync(dump).mode & 0o777).toBe(0o600);
  expect(statSync(dump).size).toBe(size + page);
  expect(allocated(dump)).toBeLessThan(64 * 1024);
  const fd = openSync(dump, 'r');
  const seen = Buffer.alloc(page);
  readSync(fd, seen, 0, page, page + 30 * MIB);
  closeSync(fd);
  expect(seen.equals(above)).toBe(true);
});

test('is never written over something, not even through a link', async () => {
  await using snapshot = await openSnapshot(bench.path('machine'));
  const before = readdirSync(bench.directory).sort();
  await expect(writeCrashDump(snapshot, dump)).rejects.toMatchObject({
    code: 'ERR_TSVMM_SNAPSHOT',
    message: expect.stringContaining('exists already'),
  });
  await expect(writeCrashDump(snapshot, bench.path('no/where'))).rejects.toMatchObject({
    code: 'ERR_TSVMM_SNAPSHOT',
    hint: expect.stringContaining('make the directory'),
  });
  const reason = new Error('enough');
  const abort = new AbortController();
  const options = { signal: abort.signal, onProgress: () => abort.abort(reason) };
  await expect(writeCrashDump(snapshot, bench.path('aborted'), options)).rejects.toBe(reason);
  expect(readdirSync(bench.directory).sort()).toEqual(before);
});

test('a machine without vCPUs, or with registers of another size', async () => {
  const pieces = [{ offset: 0, length: page }];
  await writeSnapshot(bench.path('none'), contentOf(pieces, { sections: new Map() }));
  await using none = await openSnapshot(bench.path('none'));
  await writeCrashDump(none, bench.path('none.core'));
  const sections = new Map([
    ['vcpu0.regs', Buffer.alloc(3)],
    ['vcpu0.sregs', sregs(0)],
  ]);
  await writeSnapshot(bench.path('odd'), contentOf(pieces, { sections }));
  await using odd = await openSnapshot(bench.path('odd'));
  await expect(writeCrashDump(odd, bench.path('odd.core'))).rejects.toThrow('registers of vCPU 0 are of another size');
});

describe.skipIf(!has('readelf'))(has('readelf') ? 'readelf' : 'readelf (not installed: binutils)', () => {
  test('finds a core file of this machine, with its RAM', () => {
    const output = execFileSync('readelf', ['-h', '-l', '-W', dump], { encoding: 'utf8' });
    expect(output).toMatch(/Class: +ELF64/);
    expect(output).toMatch(/Type: +CORE/);
    expect(output).toMatch(/Machine: +Advanced Micro Devices X86-64/);
    const loads = [...output.matchAll(/LOAD +0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) RWE (?:0x)?(\w+)/g)].map((found) =>
      found.slice(1).map((digits) => Number.parseInt(digits, 16)),
    );
    expect(loads).toEqual([
      // Without alignment, as QEMU's: test/lab/crash.test.ts.
      [page, 0, 0, 24 * MIB, 24 * MIB, 0],
      [page + 24 * MIB, high, high, 16 * MIB, 16 * MIB, 0],
    ]);
  });

  test('finds a note of each kind for each vCPU', () => {
    const { stdout, stderr } = spawnSync('readelf', ['-n', '-W', dump], { encoding: 'utf8' });
    expect(stderr).toBe('');
    const notes = [...stdout.matchAll(/^ {2}(CORE|QEMU) +0x(\w+)/gm)].map(([, name, digits]) => [
      name,
      Number.parseInt(digits!, 16),
    ]);
    expect(notes).toEqual([
      ['CORE', 336],
      ['CORE', 336],
      ['QEMU', 432],
      ['QEMU', 432],
    ]);
  });
});

describe.skipIf(!has('gdb'))(has('gdb') ? 'gdb' : 'gdb (not installed)', () => {
  const gdb = (...commands: string[]): string =>
    execFileSync('gdb', ['-nx', '-batch', '-c', dump, ...commands.flatMap((command) => ['-ex', command])], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });

  test('reads the registers of each vCPU as those of a thread', () => {
    const show = ['info registers', String.raw`printf "fs_base 0x%lx\n", $fs_base`];
    const shown = gdb('thread 1', ...show, 'thread 2', ...show);
    const [, first = '', second = ''] = shown.split('[Switching to thread ');
    for (const [cpu, text] of [first, second].entries()) {
      const values = new Map(
        [...text.matchAll(/^(\w+) +(-?\d\w*)/gm)].map(([, name, value]) => [name, BigInt.asUintN(64, BigInt(value!))]),
      );
      for (const [index, name] of generalRegisters.slice(0, 16).entries())
        expect(values.get(name), name).toBe(0x1111_0000_0000_0000n * BigInt(cpu + 1) + BigInt(index));
      expect(values.get('rip')).toBe(BigInt(5 * MIB));
      expect(values.get('eflags')).toBe(0x246n);
      expect(values.get('cs')).toBe(8n);
      expect(values.get('gs')).toBe(40n);
      expect(values.get('fs_base')).toBe(0xffff_8880_0000_3000n + BigInt(cpu));
    }
  });

  test('reads RAM by its guest-physical address, on both sides of the hole', () => {
    const shown = gdb(`x/4xb ${5 * MIB}`, `x/4xb ${high + 6 * MIB}`, `x/1xb ${MIB}`);
    const bytes = [...shown.matchAll(/^0x\w+:\s+(.*)$/gm)].map(([, line]) => line!.split('\t').map(Number));
    expect(bytes).toEqual([[...low.subarray(0, 4)], [...above.subarray(0, 4)], [0]]);
  });
});

/** struct QEMUCPUState of version 1, as QEMU's and crash's sources have it. */
test('the note of QEMU has control registers and descriptors', () => {
  const fd = openSync(dump, 'r');
  const head = Buffer.alloc(page);
  readSync(fd, head, 0, page, 0);
  closeSync(fd);
  const at = head.indexOf('QEMU\0') + 8;
  expect([head.readUInt32LE(at), head.readUInt32LE(at + 4)]).toEqual([1, 432]);
  const segment = (index: number) => {
    const base = at + 8 + 18 * 8 + index * 24;
    return [0, 4, 8]
      .map((offset) => head.readUInt32LE(base + offset))
      .concat(Number(head.readBigUInt64LE(base + 16) & 0xffffn));
  };
  // 64-bit code of level 3, 4 KiB granularity: G, L, present, DPL 3, S, type 11.
  expect(segment(0)).toEqual([8, 0xfffff, 0xa0_fb00, 0]);
  expect(segment(9)).toEqual([0, 0xfff, 0, 0]);
  const cr = Array.from({ length: 5 }, (_, index) => Number(head.readBigUInt64LE(at + 8 + 18 * 8 + 240 + index * 8)));
  expect(cr).toEqual([0xc0, 0, 0xc1, 0xc2, 0xc3]);
});
