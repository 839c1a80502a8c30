/** Forks and snapshots at moments that suit nobody: of machines that end, reset, print and are written to meanwhile. */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { TsvmmError, VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { decodeClock } from '../../src/kvm/clock-save.js';
import { openSnapshot } from '../../src/snapshot/load-snapshot.js';
import { openTargets } from '../support/descriptors.js';
import { full } from '../support/effort.js';
import { withOpenFiles } from '../support/open-files.js';
import { scratchFolder } from './support/disks.js';
import { holdings, startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

const scratch = scratchFolder();
let numbers = 0;
const place = (): string => scratch.path(`race${++numbers}`);

/** What a promise comes to; only a `TsvmmError` with one of these codes is a failure that may be. */
async function outcome<T>(promise: Promise<T>, ...codes: string[]): Promise<T | TsvmmError> {
  try {
    return await promise;
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    expect(codes).toContain((error as TsvmmError).code);
    return error as TsvmmError;
  }
}
/** Descriptors, but for the layers that machines which were forked go on over; and of a thread that cannot start Node leaves one. */
const open = (): number => openTargets().filter((target) => !/tsvmm-layer|eventpoll/.test(target)).length;
const dispose = async (made: unknown): Promise<void> => {
  for (const one of [made].flat())
    if (one !== undefined && !(one instanceof Error)) await (one as AsyncDisposable)[Symbol.asyncDispose]();
};

/** One whose memory takes several steps to copy. */
async function startFull(): Promise<VirtualMachine> {
  const vm = await startGuest('spin');
  await vm.console.waitFor('looping', { timeout: '60s' });
  const { start, size } = vm.memory.regions[0]!;
  const fill = Buffer.alloc(4 * 2 ** 20, 'x');
  for (let i = 1; i <= 6; i++) vm.memory.write(start + size - i * fill.length, fill);
  return vm;
}

describe.skipIf(whyNoKvm !== undefined)('a machine that is', () => {
  test.each(['fork', 'snapshot'] as const)(
    'killed while its memory is copied for a %s says so, and others live',
    async (what) => {
      await using other = await startLife();
      const before = holdings();
      for (let turns = 0; turns < (full ? 12 : 4); turns++) {
        await using vm = await startFull();
        if (turns % 2 === 0) await vm.pause();
        const making: Promise<AsyncDisposable> = what === 'fork' ? vm.fork() : vm.snapshot(place());
        const made = outcome(making, 'ERR_TSVMM_STATE');
        for (let i = 0; i < turns; i++) await turn();
        await vm.kill();
        await dispose(await made);
      }
      await say(other);
      await endLife(other);
      await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds);
    },
  );

  test('paused, resumed, forked, snapshotted, stopped and killed at once does all of it or says what it does not', async () => {
    for (let i = 0; i < (full ? 40 : 4); i++) {
      await using vm = await startFull();
      const all = [
        vm.pause(),
        vm.fork(),
        vm.resume(),
        vm.snapshot(place()),
        vm.fork({ count: 2 }),
        ...(i % 3 === 0 ? [vm.pause(), vm.resume()] : []),
      ].map((promise) => outcome<unknown>(promise, 'ERR_TSVMM_STATE'));
      for (let turns = 0; turns < i * 3; turns++) await turn();
      await Promise.all([vm.stop({ timeout: 1 }), ...(i % 2 === 0 ? [vm.kill()] : [])]);
      for (const made of all) await dispose(await made);
      expect(['killed', 'stopped']).toContain((await vm.exited).reason);
    }
  });

  test('resetting all the time is forked and snapshotted between its resets', async () => {
    await using vm = await startGuest('reset', { cmdline: 'by=i8042' });
    let forks = 0;
    for (let i = 0; i < (full ? 20 : 4); i++) {
      const made = await outcome<unknown>(i % 2 === 0 ? vm.fork() : vm.snapshot(place()), 'ERR_TSVMM_STATE');
      if (!(made instanceof Error)) forks++;
      if (made instanceof VirtualMachine && i === 0)
        await new Promise((resolve) => made.once('reboot', () => resolve(undefined)));
      await dispose(made);
    }
    expect(forks).toBeGreaterThan(0);
    await new Promise((resolve) => vm.once('reboot', () => resolve(undefined)));
  });

  test('written to by the program while its memory is copied keeps what was written, and its fork has a moment of it', async () => {
    await using vm = await startFull();
    await vm.pause();
    const { start, size } = vm.memory.regions[0]!;
    const places = [start + size - 4096, start + size - 3 * 4096, start + size - 9 * 4096 + 2048];
    const word = (value: number): Buffer => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value);
      return bytes;
    };
    let written = 0;
    let done = false;
    const forking = vm.fork({ count: 2 }).finally(() => {
      done = true;
    });
    for (; !done; await turn()) {
      written++;
      for (const at of places) vm.memory.write(at, word(written));
    }
    const forks = await forking;
    const seen = (machine: VirtualMachine): number[] => places.map((at) => machine.memory.read(at, 4).readUInt32LE());
    expect(seen(vm)).toEqual(places.map(() => written));
    for (const fork of forks) {
      expect(new Set(seen(fork)).size).toBe(1); // all three are of one turn
      expect(seen(fork)).toEqual(seen(forks[0]!));
    }
    await dispose(forks);
  });

  test('paused has the clocks of the moment at which it was: every snapshot of it says the same', async () => {
    await using vm = await startLife({ cpus: 2 });
    await vm.pause();
    const clocks = [];
    for (let i = 0; i < 2; i++) {
      await using snapshot = await vm.snapshot(place());
      await using opened = await openSnapshot(snapshot.directory);
      clocks.push(decodeClock(opened.section('clock'), 2));
    }
    expect(clocks[1]).toEqual(clocks[0]);
  });

  test.each([1, 2])(
    'that ends at once when it goes on has been restored all the same, however busy main is (%d vCPUs)',
    async (cpus) => {
      await using parent = await startGuest('awake', { cpus });
      await parent.console.waitFor('awake: waiting');
      await parent.pause();
      await using snapshot = await parent.snapshot(place());
      await delay(1000); // it ends when it finds that time has passed
      for (let ms = 0; ms < 12; ms++) {
        const busy = setInterval(() => {
          for (const until = performance.now() + ms; performance.now() < until; ) {}
        }, 0);
        const machines = await Promise.all([1, 2].map(() => VirtualMachine.restore(snapshot))).finally(() =>
          clearInterval(busy),
        );
        for (const vm of machines) expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
      }
    },
  );

  test('blocked by its console, which nobody reads, is forked and snapshotted; all go on when somebody does', async () => {
    const console = { device: 'virtio', whenUnread: 'block', buffer: 4096 } as const;
    await using vm = await startGuest('virtio-console', { console });
    await vm.console.waitFor('hello from virtio-console', { timeout: '60s' });
    vm.console.write('burst 2000\nquit\n');
    await vm.console.waitFor('burst line 99', { timeout: '60s' });
    await using fork = await vm.fork();
    await using snapshot = await vm.snapshot(place());
    await using restored = await VirtualMachine.restore(snapshot);
    for (const machine of [vm, fork, restored]) machine.console.resume();
    for (const machine of [vm, fork, restored]) expect((await machine.exited).reason).toBe('power-off');
  });
});

describe.skipIf(whyNoKvm !== undefined)('forks that', () => {
  test('are given up are none: those that were made are gone, and the parent lives', async () => {
    await using vm = await startLife();
    await dispose(await vm.fork({ count: 6 })); // workers that are kept keep descriptors
    const before = { ...holdings(), open: open() };
    const reason = new Error('enough');
    for (let turns = 0; turns < 40; turns += full ? 1 : 5) {
      const controller = new AbortController();
      const forking = vm.fork({ count: 6, signal: controller.signal }).catch((error: unknown) => error);
      for (let i = 0; i < turns; i++) await turn();
      controller.abort(reason);
      expect(await forking).toBe(reason);
    }
    await call(vm, 'still');
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    await expect.poll(open).toBeLessThanOrEqual(before.open);
    const controller = new AbortController();
    const [fork] = await vm.fork({ count: 1, signal: controller.signal });
    controller.abort(reason); // it is the call's, not the machine's
    await using _ = fork!;
    await say(fork!);
    await endLife(vm);
  });

  test('the host has no descriptors for are none, with what helps', async () => {
    await using vm = await startLife();
    await dispose(await vm.fork({ count: 4 })); // workers that are kept keep descriptors
    const before = { ...holdings(), open: open() };
    for (let spare = 3; spare < (full ? 120 : 90); spare += full ? 3 : 20) {
      const failure = await withOpenFiles(before.fds + spare, () =>
        vm.fork({ count: 4 }).then(dispose, (error: unknown) => error),
      );
      if (failure === undefined) continue;
      expect(failure).toBeInstanceOf(TsvmmError);
      expect((failure as TsvmmError).hint).toBeDefined();
    }
    await call(vm, 'still');
    await expect.poll(open).toBeLessThanOrEqual(before.open);
    await using fork = await vm.fork();
    await Promise.all([call(vm, 'parent'), call(fork, 'fork')]);
    await Promise.all([vm, fork].map(endLife));
  });

  test('have a parent whose memory was there from the start share it all the same', async () => {
    await using vm = await startLife({ memory: { size: '64M', prefault: true } });
    expect(vm.phases.map(({ name }) => name)).toContain('prefault');
    await using fork = await vm.fork();
    expect(fork.phases.map(({ name }) => name)).not.toContain('prefault');
    await say(fork);
  });

  test('count for themselves', async () => {
    await using vm = await startLife();
    await say(vm);
    await vm.pause();
    const counted = vm.metrics();
    await using fork = await vm.fork();
    expect(Object.keys(fork.metrics().devices)).toEqual(Object.keys(counted.devices));
    expect(fork.metrics().devices['rng']!['requests']).toBeLessThan(counted.devices['rng']!['requests']!);
    await say(fork);
    expect(fork.metrics().devices['rng']!['requests']).toBeGreaterThan(0);
    expect(vm.metrics()).toEqual(counted);
  });
});

test.skipIf(whyNoKvm !== undefined)('a snapshot is restored in a worker thread of Node, too', async () => {
  await using vm = await startLife();
  await call(vm, 'here');
  await using snapshot = await vm.snapshot(place());
  const program = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.tsvmm).then(async ({ VirtualMachine }) => {
      const vm = await VirtualMachine.restore(workerData.directory);
      vm.console.write('say\\n');
      await vm.console.waitFor('life: here, round', { timeout: '20s' });
      const fork = await vm.fork();
      fork.console.write('end\\n');
      parentPort.postMessage([(await fork.exited).reason, (await vm.kill()).reason]);
    });
  `;
  const tsvmm = new URL('../../dist/index.js', import.meta.url).href;
  const worker = new Worker(program, { eval: true, workerData: { tsvmm, directory: snapshot.directory } });
  const ends = await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  expect(ends).toEqual(['power-off', 'killed']);
  await worker.terminate();
  await endLife(vm);
});
