/**
 * A stock Debian under tsvmm on hardware-style KVM: reboots, and ends without a trace. That it boots from every
 * layout is in matrix-pci.test.ts, matrix-mmio.test.ts and layouts.test.ts.
 */
import { expect, test } from 'vitest';
import { bootTimeout, patient } from './support/disks.js';
import { guestScript, openLab } from './support/lab.js';

test('a guest reboots itself and finds what it wrote', async () => {
  await using lab = await openLab();
  const script = `mount -o remount,rw /
    [ -e /root/again ] && echo second boot && exit 0
    touch /root/again && sync && echo first boot && reboot -ff`;
  const words = `${patient} init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`;
  const { stdout, exitCode } = await lab.exec(
    ['node', 'bin/tsvmm.js', 'run', '/images/debian-bare.img', '-c', '2', '--append', words],
    { timeout: bootTimeout },
  );
  expect(stdout).toMatch(/first boot[\s\S]*second boot/);
  expect(exitCode).toBe(0);
  const check = await lab.exec(['e2fsck', '-fn', '/images/debian-bare.img']);
  expect(check).toMatchObject({ exitCode: 0 });
});

test('kill -9 leaves no process and no lock', async () => {
  await using lab = await openLab();
  const disk = '/images/debian-bare.img';
  let output = '';
  const run = lab.start(['node', 'bin/tsvmm.js', 'run', disk], {
    onStdout: (data) => {
      output += data;
      if (output.includes('Linux version')) run.signal('SIGKILL');
    },
  });
  expect(await run.exited).toBe(128 + 9);
  const left = await lab.exec([
    'sh',
    '-c',
    `pgrep -fc 'tsvmm[.]js run'; grep -c . /proc/locks; flock --nonblock ${disk} true && echo free`,
  ]);
  expect(left.stdout.split('\n')[0]).toBe('0');
  expect(left.stdout).toContain('free');
});

test('doctor says that machines can run', async () => {
  await using lab = await openLab({ disks: false });
  const doctor = await lab.exec(['node', 'bin/tsvmm.js', 'doctor']);
  expect(doctor).toMatchObject({ exitCode: 0 });
  expect(doctor.stdout).toContain('hardware virtualization');
});
