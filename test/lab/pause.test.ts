/** Debian that is paused for longer than its watchdogs wait: it goes on, and finds that time has passed. */
import { expect, test } from 'vitest';
import { bootTimeout } from './support/disks.js';
import { guestScript, openLab } from './support/lab.js';

const pausedSeconds = 50;

/** Pauses the guest while it writes, and many times for a moment while it does so. */
const session = `
import { setTimeout as delay } from 'node:timers/promises';
const { VirtualMachine } = await import('/project/dist/index.js');
const disks = [{ path: '/images/debian-extlinux.img', ephemeral: true }];
const vm = await VirtualMachine.start({ disks, cpus: 2, boot: { append: process.env.APPEND } });
let output = '';
const warnings = [];
vm.on('warning', ({ message }) => warnings.push(message));
vm.console.on('data', (chunk) => (output += chunk.toString('latin1')));
await vm.console.waitFor('WRITING');
await vm.pause();
await delay(${pausedSeconds} * 1000);
await vm.resume();
for (let i = 0; i < 20; i++) {
  await delay(100);
  await vm.pause();
  await vm.resume();
}
const { reason } = await vm.exited;
console.log(JSON.stringify({ reason, output, warnings }));
`;

const script = `
mount -o remount,rw /; start=$(date +%s); from=$(cut -d. -f1 /proc/uptime); echo WRITING
for i in $(seq 1 40); do dd if=/dev/urandom of=/root/file bs=64k count=4 conv=fsync 2> /dev/null; sha256sum /root/file > /root/sum; sleep 0.1; done
sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum -c /root/sum
echo "PASSED $(($(date +%s) - start)) $(($(cut -d. -f1 /proc/uptime) - from))"
dmesg | grep -iE 'soft lockup|detected stall|hung task|I/O error|clocksource.*unstable' && echo COMPLAINED
echo DONE`;

test('a guest goes on after a pause, its clocks with it, and complains of nothing', async () => {
  await using lab = await openLab();
  // Soft lockups are told after twice watchdog_thresh. RCU's patience is longer than the pause: a grace period that begins
  // between the resume and the first tick after it counts from before the pause, whatever the host says, as Linux takes its
  // beginning from `jiffies` (record_gp_stall_check_time).
  const append = `quiet watchdog_thresh=20 rcupdate.rcu_cpu_stall_timeout=120 init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`;
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
    env: { APPEND: append },
  });
  expect({ exitCode, stderr, stdout }).toMatchObject({ exitCode: 0, stderr: '' });
  const { reason, output, warnings } = JSON.parse(stdout) as { reason: string; output: string; warnings: string[] };
  expect({ reason, warnings, output: output.slice(-2000) }).toMatchObject({ reason: 'power-off', warnings: [] });
  expect(output).toContain('/root/file: OK');
  expect(output).toContain('DONE');
  expect(output).not.toContain('COMPLAINED');
  const [, wall, monotonic] = /PASSED (\d+) (\d+)/.exec(output)!.map(Number);
  expect(wall).toBeGreaterThanOrEqual(pausedSeconds);
  expect(monotonic).toBeGreaterThanOrEqual(pausedSeconds);
});
