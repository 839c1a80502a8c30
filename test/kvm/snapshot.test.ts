/** Machines that were written down and go on from there. */
import { cpSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Disk, type MemoryRange, type Snapshot, TsvmmError, VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { openTargets } from '../support/descriptors.js';
import { full } from '../support/effort.js';
import { diskBytes, examine, lastRecord } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { type GuestOptions, guestFile, holdings, startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

const scratch = scratchFolder();
let numbers = 0;
const place = (): string => scratch.path(`snapshot${++numbers}`);

const refusal = async (promise: Promise<unknown>): Promise<TsvmmError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TsvmmError);
  return error as TsvmmError;
};

describe.skipIf(whyNoKvm !== undefined)('a snapshot', () => {
  test.each([
    ['pci', 'msix', 1],
    ['pci', 'intx', 2],
    ['mmio', 'msix', 2],
  ] as const)(
    'T48: goes on as the machine did, which goes on too, and hears of its generation (%s, by=%s, %d vCPUs)',
    async (transport, by, cpus) => {
      await using vm = await startLife({ transport, cpus, name: 'original' }, `by=${by}`);
      await call(vm, 'written');
      const before = await say(vm);
      await using snapshot = await vm.snapshot(place());
      await call(vm, 'later');
      const machines = await Promise.all([
        VirtualMachine.restore(snapshot),
        VirtualMachine.restore(snapshot.directory),
      ]);
      for (const machine of machines) {
        expect(machine.name).toBe('original');
        const said = await say(machine);
        expect(said.name).toBe('written');
        expect(said.rounds).toBeGreaterThanOrEqual(before.rounds);
        expect(said.rounds).toBeLessThan(before.rounds + 200);
      }
      const entropies = await Promise.all(machines.map(async (machine) => (await say(machine)).entropy));
      expect(new Set(entropies).size).toBe(2);
      const said = await Promise.all([vm, ...machines].map(say));
      expect(said.map(({ generations }) => generations)).toEqual([0, 1, 1]);
      expect(new Set(said.map(({ generation }) => generation)).size).toBe(3);
      await Promise.all([vm, ...machines].map(endLife));
    },
  );

  test('is good for many machines while it is open, and they for long after', async () => {
    await using vm = await startLife();
    await call(vm, 'one');
    const before = holdings();
    const snapshot = await vm.snapshot(place());
    const machines: VirtualMachine[] = [];
    for (let i = 0; i < 3; i++) machines.push(await VirtualMachine.restore(snapshot));
    for (const [i, machine] of machines.entries()) await call(machine, `copy${i}`);
    await snapshot[Symbol.asyncDispose]();
    await expect(VirtualMachine.restore(snapshot)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
    expect(await Promise.all(machines.map(async (machine) => (await say(machine)).name))).toEqual([
      'copy0',
      'copy1',
      'copy2',
    ]);
    await Promise.all(machines.map(endLife));
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds + 1); // the layer that `vm` goes on over
  });

  test('of a paused machine leaves it paused; one that is restored can be snapshotted and forked', async () => {
    await using vm = await startLife();
    await call(vm, 'one');
    await vm.pause();
    await using first = await vm.snapshot(place());
    expect(vm.state).toBe('paused');
    await using again = await VirtualMachine.restore(first);
    await call(again, 'two');
    await using second = await again.snapshot(place());
    await using fork = await again.fork();
    await using third = await VirtualMachine.restore(second, { clock: 'keep' });
    expect(await Promise.all([again, fork, third].map(async (machine) => (await say(machine)).name))).toEqual([
      'two',
      'two',
      'two',
    ]);
    await Promise.all([again, fork, third].map(endLife));
  });

  test('T44: as a difference has what has changed and no more, whoever wrote it, above 4 GiB too', async () => {
    await using vm = await startGuest('spin', { memory: '4608M' });
    await vm.console.waitFor('looping');
    const [low, high] = vm.memory.regions;
    const fill = Buffer.alloc(2 ** 20, 'x');
    for (let i = 0; i < 8; i++) vm.memory.write(high!.start + i * fill.length, fill);
    await using whole = await vm.snapshot(place());
    vm.memory.write(high!.start + 4096, Buffer.from('high'));
    vm.memory.write(low!.start + low!.size - 4096, Buffer.from('low'));
    await using difference = await vm.snapshot(place(), { diffFrom: whole });
    vm.memory.write(high!.start + 8192, Buffer.from('later'));
    await using another = await vm.snapshot(place(), { diffFrom: difference });
    const size = (snapshot: Snapshot): number => Number(readFileSync(`${snapshot.directory}/memory.hashes`).length);
    expect(size(difference)).toBe(size(whole)); // of the same memory
    expect(blocksOf(`${whole.directory}/memory.bin`)).toBeGreaterThan(8 * 2048);
    expect(blocksOf(`${difference.directory}/memory.bin`)).toBeLessThanOrEqual((3 * 4096) / 512);

    await using then = await VirtualMachine.restore(difference);
    await using now = await VirtualMachine.restore(another.directory);
    expect(then.memory.read(high!.start + 4096, 5).toString('latin1')).toBe('highx');
    expect(then.memory.read(high!.start + 8192, 5).toString('latin1')).toBe('xxxxx');
    expect(now.memory.read(high!.start + 8192, 5).toString('latin1')).toBe('later');
    expect(now.memory.read(low!.start + low!.size - 4096, 3).toString('latin1')).toBe('low');
    // One that was restored has a difference, too.
    now.memory.write(high!.start, Buffer.from('restored'));
    await using last = await now.snapshot(place(), { diffFrom: another });
    expect(blocksOf(`${last.directory}/memory.bin`)).toBeLessThanOrEqual((3 * 4096) / 512);
    expect(last.memory.read(high!.start, 9).toString('latin1')).toBe('restoredx');
    const stranger = await startGuest('spin');
    await using _ = stranger;
    const { code, message } = await refusal(stranger.snapshot(place(), { diffFrom: whole }));
    expect([code, message]).toEqual(['ERR_TSVMM_CONFIG', expect.stringContaining('was not taken of this machine')]);
  });

  test('that is given up leaves nothing, and the machine runs', async () => {
    await using vm = await startLife();
    const path = place();
    const reason = new Error('enough');
    const controller = new AbortController();
    const taking = vm.snapshot(path, { signal: controller.signal, onProgress: () => controller.abort(reason) });
    await expect(taking).rejects.toBe(reason);
    expect(readdirSync(scratch.path('.')).filter((name) => path.endsWith(name) || name.includes('.tmp-'))).toEqual([]);
    await using _ = await vm.snapshot(path);
    const { code } = await refusal(vm.snapshot(path));
    expect(code).toBe('ERR_TSVMM_SNAPSHOT');
    await say(vm);
    await endLife(vm);
    expect((await refusal(vm.snapshot(place()))).message).toBe('a machine that is stopped cannot be snapshotted');
  });

  test('is faulted in ahead where another machine of it has touched it', async () => {
    await using vm = await startLife({ memory: '256M' }, 'pages=2000');
    await say(vm);
    await using snapshot = await vm.snapshot(place());
    let touched: MemoryRange[];
    {
      await using first = await VirtualMachine.restore(snapshot);
      await delay(500);
      touched = first.memory.touched();
    }
    const bytes = (ranges: readonly MemoryRange[]): number => ranges.reduce((sum, { size }) => sum + size, 0);
    expect(bytes(touched)).toBeGreaterThan(2 ** 20);
    expect(bytes(touched)).toBeLessThan(128 * 2 ** 20);
    await using second = await VirtualMachine.restore(snapshot, { prefault: touched });
    expect(second.phases.map(({ name }) => name)).toContain('prefault');
    expect(bytes(second.memory.touched())).toBeGreaterThanOrEqual(bytes(touched));
    await say(second);
    await endLife(second);
    const refused = VirtualMachine.restore(snapshot, { prefault: [{ start: 0x1000_0000, size: 4096 }] });
    expect((await refusal(refused)).message).toBe('prefault: 0x10000000 to 0x10001000 are not all guest RAM');
  });

  test('does not say which files of the host a reset of its guest boots', async () => {
    await using vm = await startGuest('reset', { cmdline: 'count=200' });
    await vm.console.waitFor('reset: start 2');
    await using snapshot = await vm.snapshot(place());
    await using machine = await VirtualMachine.restore(snapshot);
    expect(await machine.exited).toMatchObject({ reason: 'reset' });
    const boot = { kernel: guestFile('reset'), cmdline: 'count=200' };
    await using again = await VirtualMachine.restore(snapshot, { boot });
    await again.console.waitFor('reset: start');
  });

  test('is looked into: registers and memory are those of that moment', async () => {
    await using vm = await startGuest('spin');
    await vm.console.waitFor('looping');
    vm.memory.write(0x30_0000, Buffer.from('look'));
    await using snapshot = await vm.snapshot(place());
    vm.memory.write(0x30_0000, Buffer.from('away'));
    expect(snapshot.memory.read(0x30_0000, 4).toString()).toBe('look');
    const { rip, cs, cr0 } = snapshot.registers(0);
    const elf = readFileSync(guestFile('spin'));
    expect(elf.readBigUInt64LE(24)).toBeGreaterThan(0n);
    expect(rip).toBeGreaterThan(0x10_0000n);
    expect(rip).toBeLessThan(0x80_0000n);
    expect([cs! & 3n, cr0! & 0x8000_0001n]).toEqual([0n, 0x8000_0001n]);
  });

  test('leaves nothing of machines that have ended', async () => {
    const before = { targets: openTargets().filter((target) => target.includes('snapshot')), ...holdings() };
    {
      await using vm = await startLife();
      await using snapshot = await vm.snapshot(place());
      for (let i = 0; i < 3; i++) {
        await using machine = await VirtualMachine.restore(snapshot);
        await say(machine);
      }
    }
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
  });
});

const slots = 16;

/** One that writes records to its disk for ever. */
async function writer(options: GuestOptions = {}, words = '') {
  const path = scratch.file(`records${++numbers}.img`, diskBytes(slots)) as string;
  const disk = { path, serial: 'written', cache: 'writeback' as const };
  const vm = await startGuest('records', { disks: [disk], ...options, cmdline: `slots=${slots} ${words}` });
  await until(vm, 10);
  return { vm, path };
}

const until = async (vm: VirtualMachine, record: number): Promise<number> => {
  await expect.poll(() => lastRecord(vm.console.tail), { timeout: 20_000, interval: 5 }).toBeGreaterThanOrEqual(record);
  return lastRecord(vm.console.tail);
};

describe.skipIf(whyNoKvm !== undefined)('the disk of a machine that goes on elsewhere', () => {
  test.each([
    ['pci', 'flush'],
    ['mmio', 'through'],
  ] as const)(
    'T45: is what it was at that instant, under load, in forks and snapshots (%s, cache=%s)',
    async (transport, cache) => {
      const { vm, path } = await writer({ transport }, `cache=${cache}`);
      await using _ = vm;
      const told = lastRecord(vm.console.tail);
      await using snapshot = await vm.snapshot(place());
      const forks = await vm.fork({ count: 2 });
      const restored = await VirtualMachine.restore(snapshot);
      const image = `${snapshot.directory}/disk0.raw`;
      expect(examine(readFileSync(image), told).missing).toEqual([]);
      // Each goes on with its own, and loses nothing.
      for (const machine of [...forks, restored]) {
        const last = await until(machine, told + 20);
        await using later = await machine.snapshot(place());
        expect(examine(readFileSync(`${later.directory}/disk0.raw`), last).missing).toEqual([]);
        const ended = await machine.kill();
        expect(ended.consoleTail).not.toContain('FAIL');
      }
      const last = await until(vm, told + 20);
      await vm.kill();
      expect(examine(readFileSync(path), last).missing).toEqual([]);
      expect(examine(readFileSync(image), told).missing).toEqual([]);
    },
  );

  test('is each fork’s own, however many write at once', async () => {
    const count = full ? 100 : 8;
    const { vm, path } = await writer({ memory: '32M' });
    await using _ = vm;
    const forks = await vm.fork({ count });
    const before = Math.max(...forks.map((fork) => lastRecord(fork.console.tail)));
    // One after the other stops: what the others write from then on must not be on its disk.
    for (const [i, fork] of forks.entries()) {
      await until(fork, before + i + 1);
      await fork.pause();
      await using snapshot = await fork.snapshot(place());
      const last = lastRecord(fork.console.tail);
      const { highest, missing } = examine(readFileSync(`${snapshot.directory}/disk0.raw`), last);
      expect(missing).toEqual([]);
      expect(highest).toBeLessThanOrEqual(last + 1); // of one it may not have been told yet
      expect((await fork.kill()).consoleTail).not.toContain('FAIL');
    }
    const last = lastRecord(vm.console.tail);
    await vm.kill();
    expect(examine(readFileSync(path), last).missing).toEqual([]);
  });

  test('can be the image itself, for as long as nobody writes to it', async () => {
    const { vm, path } = await writer();
    await vm.pause();
    await using snapshot = await vm.snapshot(place(), { disks: 'reference' });
    const last = lastRecord(vm.console.tail);
    await vm.kill();
    {
      await using machine = await VirtualMachine.restore(snapshot);
      await until(machine, last + 5);
    }
    const { code, message, hint } = await refusal(VirtualMachine.restore(snapshot));
    expect(code).toBe('ERR_TSVMM_SNAPSHOT');
    expect(message).toContain(`${path}", which was disk0 of the machine, has been written since`);
    expect(hint).toContain('disks: { 0:');
    const copy = scratch.path(`given${++numbers}.img`);
    cpSync(path, copy);
    await using machine = await VirtualMachine.restore(snapshot, { disks: { 0: copy } });
    await until(machine, last + 5);
  });

  test('that is made of functions has to be given anew', async () => {
    const content = Buffer.alloc(diskBytes(slots));
    const functions = () =>
      Disk.from({
        size: content.length,
        read: (offset, into) => void into.set(content.subarray(offset, offset + into.length)),
        write: (offset, data) => void content.set(data, offset),
      });
    const { vm } = await writer({ disks: [functions()] });
    await using _ = vm;
    const { code, message } = await refusal(vm.fork());
    expect([code, message]).toEqual(['ERR_TSVMM_SNAPSHOT', expect.stringContaining('made of functions')]);
    await until(vm, lastRecord(vm.console.tail) + 5);
    await using fork = await vm.fork({ disks: { 0: functions() } });
    await until(fork, lastRecord(vm.console.tail) + 5);
    const smaller = Disk.from({ size: 4096, blockSize: 4096, read() {}, write() {} });
    await expect(vm.fork({ disks: { 0: smaller } })).rejects.toThrow('blocks of 4096');
    await until(vm, lastRecord(vm.console.tail) + 5);
  });
});

describe.skipIf(whyNoKvm !== undefined)('a snapshot that will not do', () => {
  test('is refused before anything is made, with the reason', async () => {
    await using vm = await startLife();
    await using snapshot = await vm.snapshot(place());
    const cases: readonly (readonly [string, (directory: string) => void, RegExp])[] = [
      ['no manifest', (directory) => writeFileSync(`${directory}/manifest.json`, ''), /manifest/],
      ['a shorter state', (directory) => truncateSync(`${directory}/state.bin`, 100), /state.bin/],
      ['a shorter memory', (directory) => truncateSync(`${directory}/memory.bin`, 4096), /memory.bin/],
    ];
    const before = holdings();
    for (const [, spoil, says] of cases) {
      const directory = place();
      cpSync(snapshot.directory, directory, { recursive: true });
      spoil(directory);
      const { code, message, hint } = await refusal(VirtualMachine.restore(directory));
      expect({ code, message }).toEqual({ code: 'ERR_TSVMM_SNAPSHOT', message: expect.stringMatching(says) });
      expect(hint).toBeDefined();
    }
    expect(holdings().fds).toBeLessThanOrEqual(before.fds);
    expect(holdings().threads).toBeLessThanOrEqual(before.threads);
    const options = VirtualMachine.restore(snapshot, { clokc: 'keep' } as never);
    expect((await refusal(options)).message).toContain('there is no option "clokc"');
    expect((await refusal(VirtualMachine.restore('/nonexistent'))).code).toBe('ERR_TSVMM_SNAPSHOT');
  });

  test('whose memory is truncated under its machine ends that machine alone, with the reason', async () => {
    await using vm = await startLife({}, 'pages=2000');
    await using snapshot = await vm.snapshot(place());
    const copy = place();
    cpSync(snapshot.directory, copy, { recursive: true });
    await using machine = await VirtualMachine.restore(copy);
    truncateSync(`${copy}/memory.bin`, 0);
    const exit = await machine.exited;
    expect(exit.reason).toBe('error');
    expect(exit.reason === 'error' && exit.error.message).toContain('could not supply a page of guest memory');
    await say(vm);
    await delay(50);
    await endLife(vm);
  });
});

function blocksOf(path: string): number {
  return statSync(path).blocks;
}
