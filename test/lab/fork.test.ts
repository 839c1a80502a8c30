/**
 * Linux that is forked and restored: its clocks go on as they were told to, and a kernel with a driver for the generation
 * identifier draws other random numbers than its parent. Debian's cloud kernel 6.1 has none: one is built for the full run. Both
 * run a shell out of Debian's initramfs.
 */
import { describe, expect, test } from 'vitest';
import { ensureGenerationKernel } from '../../scripts/lab/index.js';
import { bootTimeout } from './support/disks.js';
import { full, openLab } from './support/lab.js';

const awaySeconds = 20;

const session = `
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
const { VirtualMachine } = await import('/project/dist/index.js');
const newest = (kind) => '/boot/' + readdirSync('/boot').filter((name) => name.startsWith(kind)).sort().at(-1);
const boot = { kernel: process.env.KERNEL || newest('vmlinuz-'), initrd: newest('initrd.img-'), cmdline: 'console=ttyS0 rdinit=/bin/sh quiet rcupdate.rcu_cpu_stall_timeout=120' }; // see pause.test.ts
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
await delay(${awaySeconds} * 1000);
const kept = await vm.fork({ clock: 'keep' });
const late = await vm.fork();
const snapshot = await vm.snapshot('/root/snapshot');
await vm.resume();
const [one, other] = [await VirtualMachine.restore(snapshot), await VirtualMachine.restore(snapshot)];
const machines = { parent: vm, kept, late, one, other };
for (const [name, machine] of Object.entries(machines)) {
  const date = Date.now() / 1000;
  said[name] = { time: await time(machine), random: await draw(machine), dmesg: await ask(machine, 'dmesg'), date };
}
for (const machine of Object.values(machines)) await machine.kill();
console.log(JSON.stringify(said));
`;

interface Said {
  readonly time: readonly [uptime: number, date: number];
  readonly random: string;
  readonly dmesg: string;
  readonly date: number;
}

type Names = 'parent' | 'kept' | 'late' | 'one' | 'other';

/** What the machines say, and what the kernel has of a driver. */
async function said(kernel?: string): Promise<Record<Names, Said> & { readonly bound: string }> {
  const copy = kernel === undefined ? {} : { copy: [{ from: kernel, to: '/root/' }] };
  await using lab = await openLab({ disks: false, ...copy });
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
    env: { KERNEL: kernel === undefined ? '' : '/root/bzImage' },
  });
  expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout) as Record<Names, Said> & { bound: string };
}

function checkClocks({ parent, kept, late, one, other }: Record<Names, Said>): void {
  for (const { random, time } of [parent, kept, late, one, other])
    expect([random, ...time]).toEqual([
      expect.stringMatching(/^([0-9a-f]{2} ?){16}$/),
      expect.any(Number),
      expect.any(Number),
    ]);
  const [uptime] = parent.time;
  for (const { time } of [late, one, other]) expect(time[0]).toBeGreaterThanOrEqual(uptime);
  expect(uptime - kept.time[0] + kept.date - parent.date).toBeGreaterThan(awaySeconds / 2); // its clocks stood still
  for (const { dmesg } of [parent, kept, late, one, other])
    expect(dmesg).not.toMatch(/soft lockup|detected stall|clocksource.*unstable|Marking clocksource/i);
}

test('a stock kernel that is forked or restored knows what time it is', async () => {
  checkClocks(await said());
});

if (!full) console.log('skipped: reseeding: its kernel has to be built first: npm run test:full');
describe.skipIf(!full)('a kernel with a driver for the generation identifier', () => {
  test('draws other random numbers in each fork, and each time a snapshot is restored', async () => {
    const { bzImage } = await ensureGenerationKernel();
    const machines = await said(bzImage);
    checkClocks(machines);
    const { parent, bound, ...others } = machines;
    expect(bound).toContain('TSVM0001');
    const reseeded = /crng reseeded due to virtual machine fork/;
    for (const { dmesg } of Object.values(others)) expect(dmesg).toMatch(reseeded);
    expect(parent.dmesg).not.toMatch(reseeded);
    expect(new Set([parent, ...Object.values(others)].map(({ random }) => random)).size).toBe(5);
  }, 3_600_000);
});
