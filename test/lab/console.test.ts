/**
 * The console of stock Debian on hvc0, and what tsvmm says of boots that fail, on hardware-style KVM.
 *
 * In the full run only: the matrix of the default run boots to a login prompt on hvc0.
 */
import { describe, expect, test } from 'vitest';
import { full, openLab } from './support/lab.js';

/** For guests under software emulation, which would see soft lockups (contract §7.6). */
const patient = 'watchdog_thresh=60';
const bootTimeout = 800;

/** Logs in on hvc0, asks for the size before and after a resize, and crashes the kernel. */
const session = `
import { VirtualMachine } from './dist/index.js';
const vm = await VirtualMachine.start({
  disks: [{ path: '/images/debian-gpt.img', ephemeral: true }],
  console: { device: 'virtio', buffer: '1M' },
  boot: { append: '${patient} ignore_loglevel' },
});
let output = '';
vm.console.on('data', (chunk) => (output += chunk.toString('latin1')));
const until = (pattern) => vm.console.waitFor(pattern, { timeout: '${bootTimeout}s' });
vm.console.resize(101, 37);
await until(/login: $/);
vm.console.write('root\\n');
await until(/# $/);
vm.console.write("trap 'echo winch $(stty size)' WINCH; echo first $(stty size) on $(tty); while ! read -t 1; do :; done\\n");
await until(/first 37 101 on \\/dev\\/hvc0/);
vm.console.resize(90, 30);
await until(/winch 30 90/);
vm.console.write('\\n');
await until(/# $/);
vm.console.write('modprobe pvpanic_mmio; echo c > /proc/sysrq-trigger\\n');
const { reason, message } = await vm.exited;
console.log(JSON.stringify({ reason, message, phases: vm.phases, output }));
`;

if (!full) console.log('skipped: a session on hvc0 and boots that fail: npm run test:full');
describe.skipIf(!full)('consoles', () => {
  test('a login on hvc0 with the right size, every kernel message once, and a panic as the end', async () => {
    await using lab = await openLab();
    const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
      timeout: bootTimeout,
    });
    expect({ stderr, exitCode }).toMatchObject({ exitCode: 0 });
    const { reason, message, phases, output } = JSON.parse(stdout) as {
      reason: string;
      message: string;
      phases: { name: string }[];
      output: string;
    };
    expect({ reason, message }).toEqual({ reason: 'panic', message: 'sysrq triggered crash' });
    const stamped = output.match(/\[ {0,4}\d+\.\d{6}\] [^\r\n]*/g)!;
    expect(stamped.length).toBeGreaterThan(200);
    expect(stamped.filter((line, i) => stamped.indexOf(line) !== i)).toEqual([]);
    expect(output).toContain('Linux version');
    expect(output.match(/ login: /g)).toHaveLength(1);
    expect(phases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['inspect disk', 'guest: kernel', 'guest: init', 'guest: login prompt']),
    );
  });

  test('a boot that fails says why, and what to try', async () => {
    await using lab = await openLab();
    const tsvmm = async (...argv: string[]) =>
      lab.exec(['node', 'bin/tsvmm.js', 'run', ...argv], { timeout: bootTimeout });
    const disk = '/images/debian-bare.img';

    // Long before the module of hvc0 is loaded.
    const early = await tsvmm(disk, '--console', 'virtio', '--no-reboot', '--append', 'rdinit=/bin/false panic=-1');
    expect(early.stdout).toContain('Kernel panic - not syncing: Attempted to kill init!');
    expect(early.stderr).toContain('tsvmm: the guest panicked: Attempted to kill init!');
    expect(early.stderr).toContain('cause: probably what init= or rdinit= names');
    expect(early.stderr).toContain(`try:   tsvmm run ${disk} --append panic=-1 --console virtio --no-reboot\n`);
    expect(early.exitCode).toBe(3);

    const kernel = ['--kernel', '/images/vmlinuz', '--no-reboot', '--cmdline', 'console=ttyS0 panic=-1'];
    const rootless = await tsvmm(disk, ...kernel);
    expect(rootless.stderr).toContain('VFS: Unable to mount root fs');
    expect(rootless.stderr).toContain(`try:   tsvmm run ${disk} --no-reboot\n`);
    expect(rootless.exitCode).toBe(3);

    const wrong = await tsvmm(...kernel, '--initrd', '/images/vmlinuz');
    expect(wrong.stderr).toContain('cause: probably /images/vmlinuz is damaged, or not an initrd');
    expect(wrong.exitCode).toBe(3);

    const small = await tsvmm(...kernel, '--initrd', '/images/initrd.img', '-m', '96M');
    expect(small.stderr).toContain('cause: probably the guest ran out of memory: it has 96M');
    expect(small.stderr).toContain('-m 512M');
    expect(small.exitCode).toBe(3);

    const mute = await tsvmm('--kernel', '/images/vmlinuz', '--timeout', '20s', '--stop-timeout', '1s');
    expect(mute.stderr).toContain('cause: probably no console on the command line');
    expect(mute.stderr).toContain('--cmdline console=ttyS0');
    expect(mute.exitCode).toBe(124);

    const lost = await tsvmm(
      ...[disk, '--console', 'virtio', '--until', 'never', '--timeout', '400s', '--stop-timeout', '1s'],
      ...['--append', `${patient} root=/dev/nowhere`],
    );
    expect(lost.stdout).toContain('ALERT!  /dev/nowhere does not exist');
    expect(lost.stderr).toContain('cause: probably the root device of --append is not on the disk');
    expect(lost.stderr).toContain('phases of the start:');
    expect(lost.exitCode).toBe(124);
  });
});
