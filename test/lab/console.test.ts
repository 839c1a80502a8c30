/**
 * The console of stock Debian on hvc0, and what tsvmm says of boots that fail, on hardware-style KVM.
 *
 * In the full run only: the matrix of the default run boots to a login prompt on hvc0. The serial port takes some 20 ms for
 * each character here, so kernels are kept from saying all that they have to say.
 */
import { describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.js';
import { bootTimeout } from './support/disks.js';
import { type ExecResult, full, openLab } from './support/lab.js';

/** For guests under software emulation, which would see soft lockups (contract §7.6). */
const patient = 'watchdog_thresh=60';

/** Logs in on hvc0, asks for the size before and after a resize, and crashes the kernel. */
const session = `
import { VirtualMachine } from './dist/index.js';
const vm = await VirtualMachine.start({
  disks: [{ path: '/images/debian-gpt.img', ephemeral: true }],
  console: { device: 'virtio', buffer: '1M' },
  boot: { append: '${patient} loglevel=6' },
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

const disk = '/images/debian-bare.img';
/** The disk's kernel alone. */
const kernel = ['--kernel', '/images/vmlinuz', '--no-reboot', '--cmdline', 'console=ttyS0 quiet panic=-1'];

interface Failure {
  readonly title: string;
  readonly argv: readonly string[];
  readonly exitCode: number;
  readonly stdout?: string;
  /** All of these. */
  readonly stderr: readonly string[];
}

const failures: readonly Failure[] = [
  {
    title: 'a panic long before the module of hvc0 is loaded',
    argv: [disk, '--console', 'virtio', '--no-reboot', '--append', 'quiet rdinit=/bin/false panic=-1'],
    exitCode: ExitCode.panic,
    stdout: 'Kernel panic - not syncing: Attempted to kill init!',
    stderr: [
      'tsvmm: the guest panicked: Attempted to kill init!',
      'cause: probably what init= or rdinit= names',
      `try:   tsvmm run ${disk} --append 'quiet panic=-1' --console virtio --no-reboot\n`,
    ],
  },
  {
    title: 'no initrd',
    argv: [disk, ...kernel],
    exitCode: ExitCode.panic,
    stderr: ['VFS: Unable to mount root fs', `try:   tsvmm run ${disk} --no-reboot\n`],
  },
  {
    title: 'an initrd that is none',
    argv: [...kernel, '--initrd', '/images/vmlinuz'],
    exitCode: ExitCode.panic,
    stderr: ['cause: probably /images/vmlinuz is damaged, or not an initrd'],
  },
  {
    title: 'too little memory for the initrd',
    argv: [...kernel, '--initrd', '/images/initrd.img', '-m', '96M'],
    exitCode: ExitCode.panic,
    stderr: ['cause: probably the guest ran out of memory: it has 96M', '-m 512M'],
  },
  {
    title: 'no console',
    argv: ['--kernel', '/images/vmlinuz', '--timeout', '20s', '--stop-timeout', '1s'],
    exitCode: ExitCode.timeout,
    stderr: ['cause: probably no console on the command line', '--cmdline console=ttyS0'],
  },
  {
    title: 'a root device that is not there',
    argv: [
      ...[disk, '--console', 'virtio', '--until', 'never', '--timeout', '240s', '--stop-timeout', '1s'],
      ...['--append', `quiet ${patient} root=/dev/nowhere`],
    ],
    exitCode: ExitCode.timeout,
    stdout: 'ALERT!  /dev/nowhere does not exist',
    stderr: ['cause: probably the root device of --append is not on the disk', 'phases of the start:'],
  },
  {
    title: 'a kernel without a driver for virtio-mmio',
    argv: [
      ...[disk, '--transport', 'mmio', '--until', 'never', '--timeout', '240s', '--stop-timeout', '1s'],
      ...['--append', `quiet ${patient} initcall_blacklist=virtio_mmio_init module_blacklist=virtio_mmio`],
    ],
    exitCode: ExitCode.timeout,
    stdout: 'ALERT!  ',
    stderr: ['may have no driver for virtio-mmio', `try:   tsvmm run ${disk} `],
  },
];

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
    expect(stamped.length).toBeGreaterThan(20);
    expect(stamped.filter((line, i) => stamped.indexOf(line) !== i)).toEqual([]);
    expect(output).toContain('Linux version');
    expect(output.match(/ login: /g)).toHaveLength(1);
    expect(phases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['inspect disk', 'guest: kernel', 'guest: login prompt']),
    );
  });

  test.each(failures)('says why, and what to try: $title', async ({ argv, exitCode, stdout = '', stderr }) => {
    await using lab = await openLab();
    const result: ExecResult = await lab.exec(['node', 'bin/tsvmm.js', 'run', ...argv], { timeout: bootTimeout });
    expect(result).toMatchObject({ exitCode, stdout: expect.stringContaining(stdout) });
    for (const part of stderr) expect(result.stderr).toContain(part);
  });
});
