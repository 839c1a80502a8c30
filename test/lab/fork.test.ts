/**
 * A stock kernel that is forked: its clocks go on as they were told to, and if it has a driver for the generation identifier
 * (CONFIG_VMGENID, which Debian's cloud kernel 6.1 does not have) it draws other random numbers than its parent. It runs a
 * shell out of its initramfs.
 */
import { expect, test } from 'vitest';
import { bootTimeout } from './support/disks.js';
import { openLab } from './support/lab.js';

const awaySeconds = 20;

const session = `
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
const { VirtualMachine } = await import('/project/dist/index.js');
const newest = (kind) => '/boot/' + readdirSync('/boot').filter((name) => name.startsWith(kind)).sort().at(-1);
const boot = { kernel: newest('vmlinuz-'), initrd: newest('initrd.img-'), cmdline: 'console=ttyS0 rdinit=/bin/sh quiet rcupdate.rcu_cpu_stall_timeout=120' }; // see pause.test.ts
const vm = await VirtualMachine.start({ boot, cpus: 2, memory: '384M', signal: AbortSignal.timeout(600_000) });
let number = 1000;
// What the shell echoes is not what it says: the sum is the shell's.
const ask = async (vm, command) => {
  const sum = ++number + number;
  const from = vm.console.tail.length;
  vm.console.write(command + '; echo said $((' + number + '+' + number + '))\\n');
  const pattern = new RegExp('\\n([^]*)said ' + sum + '\\r\\n');
  while (!pattern.test(vm.console.tail.slice(from))) await delay(20);
  return pattern.exec(vm.console.tail.slice(from))[1].replaceAll('\\r', '').trim();
};
await vm.console.waitFor('# ');
await ask(vm, 'mkdir -p /proc /sys /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev');
await ask(vm, 'dmesg -n 1');
const said = {};
said.bound = await ask(vm, 'ls /sys/bus/acpi/drivers/vmgenid /sys/bus/platform/drivers/vmgenid 2> /dev/null');
// The line before that may be the rest of a long echo.
const last = async (vm, command) => (await ask(vm, command)).split('\\n').at(-1).trim();
const draw = (vm) => last(vm, 'head -c 16 /dev/urandom | od -An -tx1');
const time = async (vm) => (await last(vm, 'read up rest < /proc/uptime; echo $up $(date +%s)')).split(' ').map(Number);
await draw(vm);
await vm.pause();
const before = Date.now() / 1000;
await delay(${awaySeconds} * 1000);
const kept = await vm.fork({ clock: 'keep' });
const late = await vm.fork();
await vm.resume();
const machines = { parent: vm, kept, late };
for (const [name, machine] of Object.entries(machines)) {
  const date = Date.now() / 1000;
  said[name] = { time: await time(machine), random: await draw(machine), dmesg: await ask(machine, 'dmesg'), date };
}
said.before = before;
for (const machine of Object.values(machines)) await machine.kill();
console.log(JSON.stringify(said));
`;

interface Said {
  readonly time: readonly [uptime: number, date: number];
  readonly random: string;
  readonly dmesg: string;
  readonly date: number;
}

test('a stock kernel knows that it was forked, and what time it is', async () => {
  await using lab = await openLab({ disks: false });
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
  });
  expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({ exitCode: 0, stderr: '' });
  const { parent, kept, late, bound } = JSON.parse(stdout) as Record<'parent' | 'kept' | 'late', Said> & {
    bound: string;
  };
  for (const { random, time } of [parent, kept, late])
    expect([random, ...time]).toEqual([
      expect.stringMatching(/^([0-9a-f]{2} ?){16}$/),
      expect.any(Number),
      expect.any(Number),
    ]);

  if (!bound.includes('TSVM0001')) console.log('skipped: reseeding: the kernel of the lab has no vmgenid driver');
  else {
    const reseeded = /crng reseeded due to virtual machine fork/;
    expect(kept.dmesg).toMatch(reseeded);
    expect(late.dmesg).toMatch(reseeded);
    expect(parent.dmesg).not.toMatch(reseeded);
    expect(new Set([parent, kept, late].map(({ random }) => random)).size).toBe(3);
  }

  const [uptime] = parent.time;
  expect(late.time[0]).toBeGreaterThanOrEqual(uptime);
  expect(uptime - kept.time[0] + kept.date - parent.date).toBeGreaterThan(awaySeconds / 2); // its clocks stood still
  for (const { dmesg } of [parent, kept, late])
    expect(dmesg).not.toMatch(/soft lockup|detected stall|clocksource.*unstable|Marking clocksource/i);
});
