/** Forks of a Linux: each test has one of its own. Runs in the lab. */
import { mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { ask, line, shellTest } from './shell.js';

const image = join(mkdtempSync(join(tmpdir(), 'tsvmm-')), 'disk.img');
writeFileSync(image, 'as it was made\n');
truncateSync(image, 64 * 1024 * 1024);
const test = shellTest({ disks: [image] });

const first = 'head -n 1 /dev/vda';

describe('a fork', () => {
  test('writes files, memory and its disk', async ({ vm }) => {
    expect(await line(vm, first)).toBe('as it was made');
    await ask(
      vm,
      'mkdir -p /tmp; echo mine > /tmp/file; echo written by a fork | dd of=/dev/vda conv=fsync,notrunc 2> /dev/null',
    );
    expect(await line(vm, `echo 3 > /proc/sys/vm/drop_caches; cat /tmp/file; ${first}`)).toBe('written by a fork');
  });

  test('sees nothing of what another wrote', async ({ vm, template }) => {
    expect(await line(vm, 'ls /tmp/file 2> /dev/null | wc -l')).toBe('0');
    expect(await line(vm, first)).toBe('as it was made');
    expect(readFileSync(image).toString('latin1', 0, 15)).toBe('as it was made\n');
    expect(template.state).toBe('paused');
  });

  test('goes on with all of its processors, interrupts and clocks', async ({ vm }) => {
    expect(await line(vm, 'grep -c ^processor /proc/cpuinfo')).toBe('2');
    const [before, , after] = (
      await ask(vm, 'read a b < /proc/uptime; echo $a; sleep 2; read a b < /proc/uptime; echo; echo $a')
    )
      .split('\n')
      .slice(-3)
      .map(Number);
    expect(after - before).toBeGreaterThanOrEqual(1.9);
    expect(Math.abs(Number(await line(vm, 'date +%s')) - Date.now() / 1000)).toBeLessThan(10);
    expect(await ask(vm, 'dmesg')).not.toMatch(/soft lockup|detected stall|clocksource.*unstable|Marking clocksource/i);
  });

  test('that panics has done so alone', async ({ vm, template }) => {
    vm.console.write('echo c > /proc/sysrq-trigger\n');
    expect((await vm.exited).reason).toBe('panic');
    expect(template.state).toBe('paused');
  });

  test('may be forked again, and outlives nobody’s changes', async ({ vm }) => {
    await ask(vm, 'mkdir -p /tmp; echo parent > /tmp/file');
    const child = await vm.fork();
    try {
      await ask(child, 'echo child > /tmp/file');
      expect([await line(vm, 'cat /tmp/file'), await line(child, 'cat /tmp/file')]).toEqual(['parent', 'child']);
    } finally {
      await child.kill();
    }
  });
});
