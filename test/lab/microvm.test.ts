/**
 * A kernel built for microVMs, without PCI and modules, on a Debian disk over virtio-mmio: told of its devices by the
 * command line and of its processors by the MP table. That devices and processors are found by ACPI is in matrix-mmio.test.ts.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { ensureMicrovmKernel } from '../../scripts/lab/index.js';
import { ExitCode } from '../../src/cli/exit-codes.js';
import { bootTimeout } from './support/disks.js';
import { full, guestScript, openLab } from './support/lab.js';

/** Without ACPI there is no power-off: a reset is the end. */
const script = `
echo "CPUS $(grep -c ^processor /proc/cpuinfo)"
echo "WORDS $(cat /proc/cmdline)"
echo "LINES $(grep -c 'IO-APIC.*edge.*virtio' /proc/interrupts)"
echo "DRIVERS $(for d in /sys/bus/virtio/devices/*; do basename $(readlink $d/driver); done | sort | xargs)"
echo "PARENT $(readlink -f /sys/block/vda/device/..)"
echo "TABLES $(dmesg | grep -c 'MPTABLE:') $(dmesg | grep -c 'ACPI: DSDT')"
mount -o remount,rw / && echo kept > /root/proof && sync && mount -o remount,ro /
echo "TSVMM-DONE $?"
reboot -ff
`;

const boots = [
  { how: 'as a bzImage', file: 'bzImage' },
  { how: 'as an ELF file, by PVH', file: 'vmlinux' },
] as const;

if (!full) console.log('skipped: a kernel for microVMs, which has to be built first: npm run test:full');
describe.skipIf(!full)('a kernel for microVMs', () => {
  let kernel: Awaited<ReturnType<typeof ensureMicrovmKernel>>;
  beforeAll(async () => {
    kernel = await ensureMicrovmKernel();
  }, 3_600_000);

  test.each(boots)('finds its devices and two processors $how', async ({ file }) => {
    await using lab = await openLab({ copy: [{ from: kernel[file], to: '/root/' }] });
    const cmdline = `console=ttyS0 quiet watchdog_thresh=60 acpi=off root=/dev/vda ro init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`;
    const machine = ['--transport', 'mmio', '-c', '2', '--disk', '/images/debian-bare.img', '--no-reboot'];
    const run = ['node', 'bin/tsvmm.js', 'run', '--kernel', `/root/${file}`, ...machine, '--cmdline', cmdline];
    const { stdout, stderr, exitCode } = await lab.exec(run, { timeout: bootTimeout });
    expect({ exitCode, stderr, stdout: stdout.slice(-3000) }).toMatchObject({ exitCode: ExitCode.ok });
    expect(stdout).toContain('CPUS 2');
    expect(stdout).toMatch(/LINES [2-9]/);
    expect(stdout).toContain('DRIVERS virtio_blk virtio_rng');
    expect(stdout).toMatch(/PARENT \/sys\/devices\/.*(virtio-mmio|LNRO0005)/);
    expect(stdout).toMatch(/TABLES [1-9]\d* 0/);
    expect(stdout).toMatch(/WORDS .* virtio_mmio\.device=\S+@0x\w+:\d+ virtio_mmio\.device=/);
    expect(stdout).toContain('TSVMM-DONE 0');
    const proof = await lab.exec(['debugfs', '-R', 'cat /root/proof', '/images/debian-bare.img']);
    expect(proof.stdout).toBe('kept\n');
  });

  test('a kernel that cannot read ACPI tables, as Linux cannot without PCI, is told by its name', async () => {
    await using lab = await openLab({ copy: [{ from: kernel.vmlinux, to: '/root/' }] });
    const machine = ['--transport', 'mmio', '--disk', '/images/debian-bare.img', '--no-reboot'];
    const cmdline = 'console=ttyS0 quiet watchdog_thresh=60 root=/dev/vda ro panic=-1';
    const run = ['node', 'bin/tsvmm.js', 'run', '--kernel', '/root/vmlinux', ...machine, '--cmdline', cmdline];
    const { stderr, exitCode } = await lab.exec(run, { timeout: bootTimeout });
    expect({ exitCode, stderr }).toMatchObject({ exitCode: ExitCode.panic });
    expect(stderr).toContain('cause: probably the kernel cannot read the ACPI tables');
    expect(stderr).toContain(`--cmdline '${cmdline} acpi=off'`);
  });
});
