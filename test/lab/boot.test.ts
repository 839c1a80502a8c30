/**
 * Stock Debian disks under tsvmm on hardware-style KVM: they boot as they are, keep what is written, reboot, power off.
 *
 * The default run boots each disk once, with one vCPU or with two; TSVMM_TEST_FULL=1 boots every disk with systemd, with one
 * and with two.
 */
import { describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.js';
import { full, guestScript, type Lab, openLab } from './support/lab.js';

/** For guests under software emulation, which would see soft lockups (contract §7.6). */
const patient = 'quiet watchdog_thresh=60';
const bootTimeout = 800;

interface DiskFacts {
  name: 'debian-gpt' | 'debian-mbr' | 'debian-bare';
  /** sfdisk's number of the partition with the root file system; 0 for none. */
  root: number;
}
const disks: DiskFacts[] = [
  { name: 'debian-gpt', root: 1 },
  { name: 'debian-mbr', root: 5 },
  { name: 'debian-bare', root: 0 },
];

/** Bytes of the root file system's start, from the partition table. */
async function rootOffset(lab: Lab, disk: DiskFacts): Promise<number> {
  if (disk.root === 0) return 0;
  const { stdout } = await lab.exec(['sfdisk', '--json', `/images/${disk.name}.img`]);
  const { partitiontable } = JSON.parse(stdout) as {
    partitiontable: { partitions: { node: string; start: number }[] };
  };
  const found = partitiontable.partitions.find(({ node }) => node.endsWith(String(disk.root)));
  return found!.start * 512;
}

/** What a guest is asked about itself; each answer is one line `name: ...` of a file, as others write on the console too. */
const questions = `
exec > /root/answers
echo "pci: $(for d in /sys/bus/pci/devices/*; do echo -n "$(cat $d/vendor):$(cat $d/device) "; done)"
echo "interrupts: $(grep -c 'PCI-MSI.*virtio' /proc/interrupts)"
echo "cpus: $(grep -c ^processor /proc/cpuinfo) $(grep -o -m1 hypervisor /proc/cpuinfo)"
echo "topology: $(lscpu | grep -E '^(Socket|Core|Thread)' | tr -s ' ' | tr '\\n' ',')"
echo "clocksource: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "time: $(date +%s)"
echo "cmdline: $(cat /proc/cmdline)"
echo "errors: $(dmesg | grep -ciE 'soft lockup|rcu.*stall|Call Trace|virtio.*(fail|error)')"
echo kept by the disk > /root/proof && sync
`;

function answers(console: string): Record<string, string> {
  return Object.fromEntries(
    [...console.matchAll(/^(\w+): (.*?)\r?$/gm)].map(([, name, value]) => [name!, value!.trim()]),
  );
}

if (!full) console.log('skipped: every disk with 1 and with 2 vCPUs, but for one of them with 1: npm run test:full');
describe.each(disks)('$name', (disk) => {
  test.skipIf(!full && disk.name !== 'debian-gpt').each(full ? [1, 2] : [1])(
    'boots with %i vCPUs, is what it should be, and keeps what it wrote',
    async (cpus) => {
      await using lab = await openLab();
      const run = ['node', 'bin/tsvmm.js', 'run', `/images/${disk.name}.img`, '-c', String(cpus), '--append'];
      const before = Math.floor(Date.now() / 1000);
      const { stdout, stderr, exitCode } = await lab.exec(
        [...run, `${patient} tsvmm.marker ${guestScript(questions)}`],
        {
          timeout: bootTimeout,
        },
      );
      expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
      expect(stdout).toContain(`TSVMM-MARKER ${disk.name}`);
      expect(stdout).toContain('TSVMM-EXIT 0');
      const image = `/images/${disk.name}.img?offset=${await rootOffset(lab, disk)}`;
      const said = answers((await lab.exec(['debugfs', '-R', 'cat /root/answers', image])).stdout);
      expect(said['pci']).toBe('0x1b36:0x0008 0x1af4:0x1042 0x1af4:0x1044');
      expect(Number(said['interrupts'])).toBeGreaterThanOrEqual(2);
      expect(said['cpus']).toBe(`${cpus} hypervisor`);
      expect(said['topology']).toBe(`Thread(s) per core: 1,Core(s) per socket: ${cpus},Socket(s): 1,`);
      expect(said['clocksource']).toBe('kvm-clock');
      const seconds = Number(said['time']) - before;
      expect(seconds).toBeGreaterThanOrEqual(-5);
      expect(seconds).toBeLessThan(bootTimeout);
      expect(said['cmdline']).toContain('console=ttyS0');

      const check = await lab.exec(['e2fsck', '-fn', image]);
      expect(check).toMatchObject({ exitCode: 0 });
      const proof = await lab.exec(['debugfs', '-R', 'cat /root/proof', image]);
      expect(proof.stdout).toBe('kept by the disk\n');
    },
  );
});

test('SIGTERM at the login prompt powers the guest off cleanly', async () => {
  await using lab = await openLab();
  const disk = disks[1]!;
  let output = '';
  let asked = false;
  const command = ['node', 'bin/tsvmm.js', 'run', `/images/${disk.name}.img`, '-c', '2', '--stop-timeout', '300s'];
  const run = lab.start([...command, '--append', patient], {
    onStdout: (data) => {
      output += data;
      if (asked || !/debian-mbr login: /.test(output)) return;
      asked = true;
      run.signal('SIGTERM');
    },
  });
  const code = await run.exited;
  expect(output).toContain('debian-mbr login: ');
  expect(code).toBe(ExitCode.ok);
  const check = await lab.exec(['e2fsck', '-fn', `/images/${disk.name}.img?offset=${await rootOffset(lab, disk)}`]);
  expect(check).toMatchObject({ exitCode: 0, stdout: expect.not.stringContaining('recovering journal') });
});

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

test('image inspect says what each disk would boot, and doctor that it can', async () => {
  await using lab = await openLab();
  for (const { name } of disks) {
    const { stdout, exitCode } = await lab.exec([
      'node',
      'bin/tsvmm.js',
      'image',
      'inspect',
      `/images/${name}.img`,
      '--json',
    ]);
    expect(exitCode).toBe(0);
    const report = JSON.parse(stdout) as { entries: { kernel: unknown }[]; defaultEntry: number | null };
    expect(report.entries.length).toBeGreaterThan(0);
  }
  const doctor = await lab.exec(['node', 'bin/tsvmm.js', 'doctor']);
  expect(doctor).toMatchObject({ exitCode: 0 });
  expect(doctor.stdout).toContain('hardware virtualization');
});
