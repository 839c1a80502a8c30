import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { prewarm, TsvmmError } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { scratchFolder } from './support/disks.js';
import { guestFile, holdings, runGuest, startGuest, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();

describe.skipIf(whyNoKvm !== undefined)('a machine', () => {
  test('runs a guest and says how it ended', async () => {
    const { output, exit } = await runGuest('hello');
    expect(output).toBe('hello from guest\n');
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0, consoleTail: output });
    expect(exit.uptimeMs).toBeGreaterThan(0);
  });

  test('has states, phases and events in order', async () => {
    const vm = await startGuest('echo');
    const states: string[] = [vm.state];
    vm.on('state', (to) => states.push(to));
    expect(vm.phases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['open disks', 'read kernel', 'build boot image', 'enter']),
    );
    expect(vm.constructor.name).toBe('VirtualMachine');
    expect(inspect(vm, { breakLength: Number.POSITIVE_INFINITY })).toBe(
      `VirtualMachine { id: '${vm.id}', name: '${vm.name}', state: 'running' }`,
    );
    await vm.console.waitFor('echo ready');
    const exit = await vm.kill();
    expect(await vm.kill()).toBe(exit);
    expect(await vm.exited).toBe(exit);
    expect(states).toEqual(['running', 'stopping', 'stopped']);
    expect(exit.reason).toBe('killed');
  });

  test('powers off by ACPI', async () => {
    const { output, exit } = await runGuest('poweroff');
    expect(output).toContain('from the ACPI tables');
    expect(exit.reason).toBe('power-off');
    expect('debugExit' in exit).toBe(false);
  });

  test.each(['i8042', 'acpi', 'cf9'])('reboots by %s, as often as the guest asks', async (by) => {
    const vm = await startGuest('reset', { cmdline: `by=${by} count=2` });
    let reboots = 0;
    vm.on('reboot', () => reboots++);
    const exit = await vm.exited;
    expect(reboots).toBe(1);
    expect(exit).toMatchObject({ reason: 'power-off' });
    expect(exit.consoleTail).toMatch(/reset: start 1 of 2\s+reset: start 2 of 2/);
  });

  test('ends at a reset when asked to', async () => {
    const { exit } = await runGuest('reset', { onReboot: 'exit' });
    expect(exit.reason).toBe('reset');
  });

  test.each(['halt', 'spin'])('that only %ss is killed at once', async (name) => {
    const vm = await startGuest(name, { cpus: 2 });
    await delay(50);
    const exit = await vm.kill();
    expect(exit.reason).toBe('killed');
  });

  test('that ignores its power button is killed at the deadline of stop', async () => {
    const vm = await startGuest('spin');
    const exit = await vm.stop({ timeout: 100 });
    expect(exit.reason).toBe('killed');
    expect(vm.state).toBe('stopped');
  });

  test('ends with its signal, and does not start with an aborted one', async () => {
    const controller = new AbortController();
    const vm = await startGuest('halt', { signal: controller.signal });
    const reason = new Error('that is enough');
    controller.abort(reason);
    expect(await vm.exited).toMatchObject({ reason: 'aborted', cause: reason });
    await expect(startGuest('halt', { signal: controller.signal })).rejects.toBe(reason);
  });

  test('aborted while it starts rejects with the reason and leaves nothing', async () => {
    const before = holdings();
    for (const after of [0, 1, 5, 20]) {
      const controller = new AbortController();
      const reason = new Error(`after ${after}`);
      const starting = startGuest('halt', { signal: controller.signal });
      setTimeout(() => controller.abort(reason), after);
      const vm = await starting.catch((error) => {
        expect(error).toBe(reason);
        return undefined;
      });
      await vm?.exited;
    }
    await expect.poll(() => holdings().fds).toBeLessThanOrEqual(before.fds + 2);
  });

  test('aborted while it opens its disks closes them', async () => {
    const disk = scratch.file('aborted.img', 1024 ** 2);
    for (let i = 0; i < 3; i++) {
      const controller = new AbortController();
      const starting = startGuest('halt', { disks: [disk], signal: controller.signal });
      controller.abort(new Error('at once'));
      await expect(starting).rejects.toThrow('at once');
    }
    await using vm = await startGuest('halt', { disks: [disk] }); // its lock is free
    expect(vm.state).toBe('running');
  });

  test('runs as a worker of many in one process, again and again, and leaves nothing', async () => {
    const warm = await prewarm({ vcpus: 3 });
    await runGuest('hello');
    await delay(100);
    const before = holdings();
    for (let round = 0; round < 5; round++) {
      const outcomes = await Promise.all(Array.from({ length: 6 }, () => runGuest('hello')));
      for (const { output } of outcomes) expect(output).toBe('hello from guest\n');
    }
    await expect.poll(() => holdings().fds, { timeout: 5000 }).toBeLessThanOrEqual(before.fds);
    await expect.poll(() => holdings().threads, { timeout: 5000 }).toBeLessThanOrEqual(before.threads);
    await warm[Symbol.asyncDispose]();
  });

  test('has a console that speaks and listens', async () => {
    await using vm = await startGuest('echo');
    await vm.console.waitFor('echo ready');
    const text = 'x'.repeat(500);
    vm.console.write(`hello\n${text}\n`);
    await vm.console.waitFor('echo: hello');
    await vm.console.waitFor(`echo: ${text}`);
    vm.console.write('quit\n');
    const exit = await vm.exited;
    expect(exit.consoleTail).toMatch(/overruns 0 lost 0/);
  });

  test('shows its memory as copies, within bounds', async () => {
    await using vm = await startGuest('halt', { memory: '16M' });
    expect(vm.memory.size).toBe(16 * 1024 ** 2);
    vm.memory.write(0x80_0000, Buffer.from('tsvmm'));
    expect(vm.memory.read(0x80_0000, 5).toString()).toBe('tsvmm');
    const target = new Uint8Array(5);
    vm.memory.readInto(0x80_0000, target);
    expect(Buffer.from(target).toString()).toBe('tsvmm');
    expect(() => vm.memory.read(16 * 1024 ** 2 - 2, 4)).toThrow(TsvmmError);
    expect(() => vm.memory.write(0xe000_0000, target)).toThrow('not all guest RAM');
    await vm.kill();
    expect(() => vm.memory.read(0, 1)).toThrow('stopped');
  });

  test('refuses what it cannot start, with what, where and how', async () => {
    const cases: [Parameters<typeof startGuest>[1] & { kernel?: string }, string, RegExp][] = [
      [{ disks: ['/nonexistent/disk.img'] }, 'ERR_TSVMM_DISK_IO', /\/nonexistent\/disk\.img/],
      [{ disks: [guestFile('hello').replace('hello.elf', '')] }, 'ERR_TSVMM_DISK_FORMAT', /directory/],
      [{ memory: '1M' }, 'ERR_TSVMM_CONFIG', /small|memory/],
      [{ cpu: { model: 'pentium' } }, 'ERR_TSVMM_CONFIG', /no model/],
    ];
    const before = holdings();
    for (const [options, code, message] of cases) {
      const error = await startGuest('hello', options).catch((e) => e);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message), hint: expect.any(String) });
    }
    await expect.poll(() => holdings().fds, { timeout: 5000 }).toBeLessThanOrEqual(before.fds + 1);
  });
});
