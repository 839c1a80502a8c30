/** Machines that go on twice: forks and what they share with their parents, which is nothing that one of them writes. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TsvmmError, type VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { Kvm } from '../../src/kvm/kvm.js';
import { probe } from '../../src/machine/doctor-probe.js';
import { full } from '../support/effort.js';
import { guestFile, holdings, startGuest, whyNoKvm } from './support/guests.js';
import { call, endLife, say, startLife } from './support/lives.js';

describe.skipIf(whyNoKvm !== undefined)('a fork', () => {
  test.each([
    ['pci', 'msix', 1, 'shared'],
    ['pci', 'intx', 1, 'own'],
    ['pci', 'poll', 2, 'shared'],
    ['mmio', 'msix', 2, 'own'],
  ] as const)(
    'T47: lives on as its parent does, with timers, interrupts and %s devices (by=%s, %d vCPUs, %s worker)',
    async (transport, by, cpus, ioWorker) => {
      await using parent = await startLife({ transport, cpus, ioWorker }, `by=${by}`);
      const before = await say(parent);
      await using one = await parent.fork();
      await using two = await parent.fork();
      await Promise.all([call(parent, 'parent'), call(one, 'one'), call(two, 'two')]);
      await delay(200);
      const said = await Promise.all([parent, one, two].map(say));
      expect(said.map(({ name }) => name)).toEqual(['parent', 'one', 'two']);
      for (const { rounds, ticks } of said) {
        expect(rounds).toBeGreaterThan(before.rounds);
        expect(ticks).toBeGreaterThan(before.ticks);
      }
      expect(new Set(said.map(({ entropy }) => entropy)).size).toBe(3);
      expect(new Set(said.map(({ generation }) => generation)).size).toBe(3);
      expect(said.map(({ generations }) => generations)).toEqual([0, 1, 1]);
      await Promise.all([parent, one, two].map(endLife));
    },
  );

  test('of a fork lives on when its parents have ended, and can be forked again', async () => {
    const generations: VirtualMachine[] = [await startLife({ cpus: 2 })];
    for (let generation = 1; generation <= 8; generation++) {
      const parent = generations.at(-1)!;
      await call(parent, `g${generation}`);
      generations.push(await parent.fork());
      await parent.kill();
    }
    const last = generations.at(-1)!;
    await using _ = last;
    expect((await say(last)).name).toBe('g8');
    await endLife(last);
  });

  test('starts no thread but that of its vCPU where no device has a driver', () => {
    const file = fileURLToPath(new URL('programs/fork-threads.js', import.meta.url));
    const { stdout, stderr } = spawnSync(process.execPath, [file, guestFile('halt')], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    expect({ stdout, stderr }).toEqual({ stdout: '1\n', stderr: '' });
  });

  test('sees nothing of what its parent writes to memory afterwards, and the parent nothing of it', async () => {
    await using parent = await startGuest('spin');
    await parent.console.waitFor('looping');
    const { start, size } = parent.memory.regions[0]!;
    const last = start + size - 4096;
    parent.memory.write(last, Buffer.from('before'));
    await using child = await parent.fork();
    parent.memory.write(last, Buffer.from('parent'));
    child.memory.write(last + 16, Buffer.from('child'));
    expect(child.memory.read(last, 6).toString()).toBe('before');
    expect(parent.memory.read(last, 6).toString()).toBe('parent');
    expect(parent.memory.read(last + 16, 5)).toEqual(Buffer.alloc(5));
  });

  test('has the memory above 4 GiB too', async () => {
    await using parent = await startGuest('spin', { memory: '4608M' });
    await parent.console.waitFor('looping');
    const [low, high] = parent.memory.regions;
    parent.memory.write(high!.start + 12_345, Buffer.from('high'));
    parent.memory.write(low!.start + low!.size - 100, Buffer.from('low'));
    await using child = await parent.fork();
    expect(child.memory.read(high!.start + 12_345, 4).toString()).toBe('high');
    expect(child.memory.read(low!.start + low!.size - 100, 3).toString()).toBe('low');
  });

  test('of a paused machine runs, and leaves that paused', async () => {
    await using parent = await startLife();
    await parent.pause();
    await using child = await parent.fork();
    expect([parent.state, child.state]).toEqual(['paused', 'running']);
    await say(child);
    await parent.resume();
    await say(parent);
  });

  test('has much memory that was written, whoever copied it', async () => {
    await using parent = await startGuest('spin', { cpus: 3, memory: '128M' });
    await parent.console.waitFor('looping');
    const written = randomBytes(48 * 2 ** 20);
    const at = 64 * 2 ** 20;
    for (let round = 0; round < 3; round++) {
      parent.memory.write(at, written);
      await using child = await parent.fork();
      written[round * 2 ** 20]! ^= 0xff;
      parent.memory.write(at + round * 2 ** 20, written.subarray(round * 2 ** 20, round * 2 ** 20 + 1));
      expect(parent.memory.read(at, written.length).equals(written)).toBe(true);
      written[round * 2 ** 20]! ^= 0xff;
      expect(child.memory.read(at, written.length).equals(written)).toBe(true);
    }
  });

  test('T41: is one of many: each is alone, and they end as they like', async () => {
    const count = full ? 100 : 12;
    // They share what other tests leave of the host: each of so many takes little of it.
    await using parent = await startLife({}, 'hertz=20 await=100000');
    await say(parent);
    const before = holdings();
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const forks = await parent.fork({ count });
    await delay(20);
    process.off('warning', onWarning);
    expect(warnings).toEqual([]); // a library prints nothing
    expect(forks).toHaveLength(count);
    await Promise.all(forks.map((fork, i) => call(fork, `fork${i}`)));
    const said = await Promise.all(forks.map(say));
    expect(said.map(({ name }) => name)).toEqual(forks.map((_, i) => `fork${i}`));
    expect(new Set(said.map(({ entropy }) => entropy)).size).toBe(count);
    await Promise.all(forks.slice(1).map((fork, i) => (i % 2 === 0 ? endLife(fork) : fork.kill())));
    await endLife(forks[0]!);
    expect((await say(parent)).name).toBe('first');
    await expect.poll(() => holdings().threads).toBeLessThanOrEqual(before.threads);
    expect(holdings().fds).toBeLessThanOrEqual(before.fds + 1); // the layer that the parent goes on over
  });

  test('of memory that cannot be shared is refused, and the machine goes on', async () => {
    await using parent = await startLife();
    const failure = await parent.fork({ count: 0 }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TsvmmError);
    expect(failure).toMatchObject({ code: 'ERR_TSVMM_CONFIG', message: 'fork: count: 0 is not possible' });
    await expect(parent.fork({ coutn: 2 } as never)).rejects.toThrow('there is no option "coutn"');
    for (const names of [['one'], ['one', 'two', 'three'], 'one'])
      await expect(parent.fork({ count: 2, names: names as never })).rejects.toThrow('expected a name for each fork');
    await expect(parent.fork({ names: ['one'] })).rejects.toThrow('expected a name for each fork');
    await expect(parent.fork({ count: 2, names: ['one', '/'] })).rejects.toThrow('name: "/" cannot be a name');
    const named = await parent.fork({ count: 2, names: ['one', 'two'] });
    expect(named.map(({ name }) => name)).toEqual(['one', 'two']);
    await Promise.all(named.map((fork) => fork.kill()));
    await expect(parent.fork({ clock: 'stop' as never })).rejects.toThrow('clock: "stop" is not known');
    await expect(parent.fork({ signal: AbortSignal.abort('enough') })).rejects.toBe('enough');
    await say(parent);
    await parent.kill();
    await expect(parent.fork()).rejects.toThrow('a machine that is stopped cannot be forked');
  });
});

/** Where ring 0 is emulated it reads the host's TSC, without the offset that a machine of its own time has. */
const whyNoOffset = (() => {
  if (whyNoKvm !== undefined) return whyNoKvm;
  const kvm = Kvm.open();
  try {
    return probe(kvm).hardware
      ? undefined
      : "this KVM emulates ring 0, which reads the host's TSC: test/lab/fork.test.ts";
  } finally {
    kvm.close();
  }
})();
if (whyNoOffset !== undefined) console.log(`skipped: clocks that are kept: ${whyNoOffset}`);

/** The guest may be kept from running for a while by whatever else this host does. */
const most = 3000;
const away = 4500;

describe.skipIf(whyNoKvm !== undefined)('the clocks of a machine that stood still', () => {
  test('have gone on', async () => {
    await using vm = await startLife({}, `jump=${most}`);
    await say(vm);
    await vm.pause();
    await delay(away);
    await vm.resume();
    expect((await vm.exited).consoleTail).toMatch(/FAIL: (the TSC|kvmclock) went on by \d+ ms at once/);
  });

  test('are said to have stood still, so that no watchdog barks, in forks too', async () => {
    await using parent = await startLife();
    // It may have been about to answer when it was stopped: it looks once a round.
    const stops = (vm: VirtualMachine) => expect.poll(async () => (await say(vm)).stops, { timeout: 10_000 });
    await stops(parent).toBe(0);
    await using first = await parent.fork();
    await stops(parent).toBe(1);
    await stops(first).toBe(1);
    await using second = await first.fork();
    await stops(second).toBe(2);
    await parent.pause();
    await parent.resume();
    await stops(parent).toBe(2);
  });

  test('T42: never go back, in forks neither', async () => {
    await using parent = await startLife({ cpus: 2 });
    for (let i = 0; i < 5; i++) {
      await parent.pause();
      await using fork = await parent.fork({ clock: i % 2 === 0 ? 'keep' : 'catch-up' });
      await parent.resume({ clock: i % 2 === 0 ? 'keep' : 'catch-up' });
      await Promise.all([say(parent), say(fork)]);
      await endLife(fork);
    }
    await endLife(parent);
  });
});

describe.skipIf(whyNoOffset !== undefined)('the clocks of a machine that stood still and is not to know', () => {
  test('go on from where they were', async () => {
    await using vm = await startLife({ cpus: 2 }, `jump=${most}`);
    await say(vm);
    await vm.pause();
    await delay(away);
    await using fork = await vm.fork({ clock: 'keep' });
    await vm.resume({ clock: 'keep' });
    await Promise.all([say(vm), say(fork)]);
    await Promise.all([endLife(vm), endLife(fork)]);
  });
});
