/** Machines whose memory comes from functions of the program. */
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Disk, type DiskHandlers, type PageSource, Snapshot, VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { diskBytes, examine, lastRecord } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { holdings, startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

const scratch = scratchFolder();
let numbers = 0;
const place = (): string => scratch.path(`source${++numbers}`);

/** A snapshot of a life, a copy of it without memory, and a source that knows the memory. */
async function written(cpus = 1, transport: 'pci' | 'mmio' = 'pci') {
  await using vm = await startLife({ cpus, transport, memory: '64M' });
  await call(vm, 'written');
  const snapshot = await vm.snapshot(place());
  const bare = place();
  cpSync(snapshot.directory, bare, { recursive: true });
  for (const name of ['memory.bin', 'memory.hashes']) rmSync(`${bare}/${name}`);
  const asked: { address: number; length: number }[] = [];
  const read: PageSource['read'] = (address, into) => {
    asked.push({ address, length: into.length });
    snapshot.memory.readInto(address, into);
  };
  return { snapshot, bare, asked, read, bytes: () => asked.reduce((sum, { length }) => sum + length, 0) };
}

/** As `read`, but it never answers from the moment at which `stop` is called. */
function stalling(read: PageSource['read']) {
  let isStalled = false;
  const signals: AbortSignal[] = [];
  return {
    stop: () => {
      isStalled = true;
    },
    signals,
    read: async (...[address, into, context]: Parameters<PageSource['read']>): Promise<void> => {
      if (isStalled) {
        signals.push(context.signal);
        await new Promise(() => {});
      }
      await read(address, into, context);
    },
  };
}

describe.skipIf(whyNoKvm !== undefined)('memory that comes from a function', () => {
  test.each([
    [1, 'pci'],
    [2, 'mmio'],
  ] as const)('is read as the guest touches it (%d vCPUs, %s)', async (cpus, transport) => {
    const { bare, asked, read, bytes, snapshot } = await written(cpus, transport);
    await using _ = snapshot;
    const before = holdings();
    const pages = async (...call: Parameters<PageSource['read']>): Promise<void> => {
      await delay(1);
      await read(...call);
    };
    const vm = await VirtualMachine.restore(bare, { pages });
    const touched = bytes();
    await say(vm); // it may have been about to read that line
    expect(await say(vm)).toMatchObject({ name: 'written', generations: 1, stops: 1 });
    expect(bytes()).toBeGreaterThan(0);
    expect(touched).toBeLessThan(snapshot.memory.size / 2);
    expect(new Set(asked.map(({ address }) => address)).size).toBe(asked.length); // nothing twice
    expect(asked.every(({ address, length }) => address % 4096 === 0 && length <= 65_536)).toBe(true);
    await endLife(vm);
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
  });

  test('is read all at once where it is wanted, in larger blocks', async () => {
    const { bare, asked, read, snapshot } = await written();
    await using _ = snapshot;
    await using vm = await VirtualMachine.restore(bare, { pages: { read, eager: true, blockSize: '1M' } });
    const count = asked.length;
    expect(asked[0]!.length).toBe(2 ** 20);
    expect(await say(vm)).toMatchObject({ name: 'written' });
    expect(vm.memory.read(0x10_0000, 4096)).toEqual(snapshot.memory.read(0x10_0000, 4096));
    expect(asked.length).toBe(count);
    await endLife(vm);
  });

  test('can be had by the program, which waits for it', async () => {
    const { bare, read, snapshot } = await written();
    await using _ = snapshot;
    await using vm = await VirtualMachine.restore(bare, { pages: { read, blockSize: '4K' } });
    const near = 0x10_0000;
    const missing = Array.from({ length: 2048 }, (_, page) => near + page * 4096).find((address) => {
      try {
        vm.memory.read(address, 1);
        return false;
      } catch {
        return true;
      }
    });
    expect(missing).toBeDefined();
    const refused = expect.objectContaining({
      code: 'ERR_TSVMM_STATE',
      hint: expect.stringContaining('vm.memory.load'),
    });
    expect(() => vm.memory.write(missing!, Buffer.alloc(1))).toThrow(refused);
    expect(() => vm.memory.readInto(missing!, Buffer.alloc(1))).toThrow(refused);
    await vm.memory.load(missing!, 4096);
    expect(vm.memory.read(missing!, 4096)).toEqual(snapshot.memory.read(missing!, 4096));
    await expect(vm.memory.load(2 ** 40, 1)).rejects.toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
    await endLife(vm);
  });

  test('is there before the guest goes on where another machine has touched it', async () => {
    const { bare, asked, read, snapshot } = await written();
    await using _ = snapshot;
    await using first = await VirtualMachine.restore(bare, { pages: read });
    await say(first);
    const prefault = first.memory.touched();
    await endLife(first);
    asked.length = 0;
    await using second = await VirtualMachine.restore(snapshot, { pages: read, prefault });
    const count = asked.length;
    expect(count).toBeGreaterThan(0);
    for (const { start } of prefault) second.memory.read(start, 1);
    expect(await say(second)).toMatchObject({ name: 'written' });
    await endLife(second);
  });

  test('is all there when the machine is forked or snapshotted', async () => {
    const { bare, read, snapshot } = await written(2);
    await using _ = snapshot;
    await using vm = await VirtualMachine.restore(bare, { pages: read });
    await call(vm, 'lazy');
    await using fork = await vm.fork();
    await using later = await vm.snapshot(place());
    await using again = await VirtualMachine.restore(later);
    for (const machine of [vm, fork, again]) expect(await say(machine)).toMatchObject({ name: 'lazy' });
    vm.memory.read(vm.memory.regions[0]!.start + 2 ** 20, 2 ** 20);
    await Promise.all([vm, fork, again].map(endLife));
  });
});

describe.skipIf(whyNoKvm !== undefined)('T50: memory that does not come', () => {
  test('in time ends that machine alone, with the reason, and nobody waits for ever', async () => {
    const { bare, read, snapshot } = await written(2);
    await using _ = snapshot;
    await using other = await startLife();
    const before = holdings();
    const source = stalling(read);
    const vm = await VirtualMachine.restore(bare, { pages: { read: source.read, timeout: '300ms', blockSize: '4K' } });
    await say(vm);
    source.stop();
    const loading = vm.memory.load(vm.memory.regions[0]!.start, 2 ** 22);
    vm.console.write('who other\n'); // writes all of its memory anew
    await expect(loading).rejects.toThrow('no answer in 300 ms');
    const { reason, ...rest } = await vm.exited;
    expect({ reason, error: (rest as { error?: Error }).error }).toMatchObject({
      reason: 'error',
      error: {
        code: 'ERR_TSVMM_TIMEOUT',
        message: expect.stringMatching(/no answer in 300 ms for 4096 bytes of guest/),
      },
    });
    expect(source.signals.length).toBeGreaterThan(0);
    expect(source.signals.every(({ aborted }) => aborted)).toBe(true);
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
    await say(other);
    await endLife(other);
  });

  test.each([
    ['fails', () => Promise.reject(new Error('the store is gone')), 'the store is gone'],
    [
      'throws',
      () => {
        throw new Error('not a store');
      },
      'not a store',
    ],
    [
      'gives its buffer away',
      (_: number, into: Uint8Array<ArrayBuffer>) => {
        structuredClone(into, { transfer: [into.buffer] });
      },
      'given the buffer away',
    ],
  ] as const)('as its function %s ends the start', async (_what, read, why) => {
    const { bare, snapshot } = await written();
    await using _ = snapshot;
    const before = holdings();
    for (const eager of [false, true]) {
      const restoring = VirtualMachine.restore(bare, { pages: { read: read as PageSource['read'], eager } });
      await expect(restoring).rejects.toMatchObject({ code: 'ERR_TSVMM_GUEST', message: expect.stringContaining(why) });
    }
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
  });

  test('keeps neither a start nor an end waiting', async () => {
    const { bare, read, snapshot } = await written();
    await using _ = snapshot;
    const before = holdings();
    const never = stalling(read);
    never.stop();
    const signal = AbortSignal.timeout(200);
    await expect(VirtualMachine.restore(bare, { pages: never.read, signal })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    const source = stalling(read);
    const vm = await VirtualMachine.restore(bare, { pages: { read: source.read, blockSize: '4K' } });
    source.stop();
    await delay(100);
    expect((await vm.kill()).reason).toBe('killed');
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
  });

  test.each(['an image', 'functions'] as const)(
    'is not taken for zeroes: what is on the disk stays what the guest wrote (%s)',
    async (kind) => {
      const slots = 16;
      const path = scratch.file(`records${++numbers}.img`, diskBytes(slots)) as string;
      await using vm = await startGuest('records', { disks: [path], cmdline: `slots=${slots} cache=flush` });
      await expect.poll(() => lastRecord(vm.console.tail), { timeout: 20_000 }).toBeGreaterThan(10);
      await using snapshot = await vm.snapshot(place(), { disks: 'reference' });
      await vm.kill();
      await using opened = await Snapshot.open(snapshot.directory);
      for (let i = 0; i < 10; i++) {
        const image = scratch.path(`records${++numbers}.img`);
        cpSync(path, image);
        const content = readFileSync(path);
        const disk = kind === 'an image' ? image : Disk.from(inMemory(content));
        const source = stalling((address, into) => opened.memory.readInto(address, into));
        const machine = await VirtualMachine.restore(snapshot, {
          disks: { 0: disk },
          pages: { read: source.read, blockSize: '4K', timeout: '100ms' },
        });
        await delay(i * 3);
        source.stop();
        await delay(i % 2 === 0 ? 150 : 20); // longer than the guest may wait, if it waits for anything; or not
        const { consoleTail } = await machine.kill();
        expect(consoleTail).not.toContain('FAIL');
        const now = kind === 'an image' ? readFileSync(image) : content;
        expect(examine(now, lastRecord(consoleTail)).missing).toEqual([]);
      }
    },
  );

  test.each([
    ['exits', ''],
    ['fails', ''],
    ['terminates the thread that has it', 'worker'],
  ])('keeps no program that %s', async (how, where) => {
    const { bare, snapshot } = await written();
    await using _ = snapshot;
    const started = performance.now();
    const file = fileURLToPath(new URL('programs/stalled-pages.js', import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [file, bare, snapshot.directory, how, where], {
      encoding: 'utf8',
      timeout: 25_000,
    });
    expect(stdout).toContain('stalled\n');
    expect({ status, took: performance.now() - started < 20_000 }).toEqual({
      status: how === 'fails' ? 1 : 0,
      took: true,
    });
  });

  test('as there are too few descriptors is a reason, at each step, and nothing is left', async () => {
    const { bare, snapshot } = await written();
    await using _ = snapshot;
    const file = fileURLToPath(new URL('programs/few-files.js', import.meta.url));
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', 'ulimit -n 128; exec "$0" "$@"', process.execPath, file, bare, snapshot.directory],
      { encoding: 'utf8', timeout: 60_000 },
    );
    expect(stderr).toBe('');
    const ends = stdout.trimEnd().split('\n');
    expect(ends.pop()).toBe('killed');
    expect(ends.length).toBeGreaterThan(20);
    for (const code of ends) expect(code).toMatch(/^ERR_TSVMM_/);
  });
});

const inMemory = (content: Buffer): DiskHandlers => ({
  size: content.length,
  read: (offset, into) => void content.copy(into, 0, offset),
  write: (offset, data) => void content.set(data, offset),
  flush: () => {},
});
