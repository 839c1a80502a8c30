/** The test disks as tests see them: what is on each, what a guest booted from it is asked, and how its answers come back. */
import { type DiskName, guestScript, type Lab } from './lab.js';

/** For guests under software emulation, which would see soft lockups (contract §7.6). */
export const patient = 'quiet watchdog_thresh=60';

/** Seconds for a Debian with systemd to boot, answer and power off in two layers of emulation on a busy machine. */
export const bootTimeout = 800;

export interface DiskFacts {
  readonly name: DiskName;
  /** sfdisk's number of the partition with the root file system; 0 for none. */
  readonly root: number;
  /** `loader` of the entry that must boot, as `tsvmm image inspect --json` names it. */
  readonly loader: string;
}

export const disks = [
  { name: 'debian-gpt', root: 1, loader: 'grub' },
  { name: 'debian-mbr', root: 5, loader: 'grub' },
  { name: 'debian-bare', root: 0, loader: 'kernel-files' },
  { name: 'debian-sdboot', root: 2, loader: 'systemd-boot' },
  { name: 'debian-uki', root: 2, loader: 'systemd-boot' },
  { name: 'debian-extlinux', root: 1, loader: 'extlinux' },
  { name: 'debian-xfs', root: 3, loader: 'grub' },
] as const satisfies readonly DiskFacts[];

export function diskNamed(name: DiskName): DiskFacts {
  return disks.find((disk) => disk.name === name)!;
}

/** Bytes from the start of an image to a partition, by sfdisk. */
export async function partitionStart(lab: Lab, image: string, partition: number): Promise<number> {
  const { stdout } = await lab.exec(['sfdisk', '--json', image]);
  const { partitiontable } = JSON.parse(stdout) as {
    partitiontable: { partitions: { node: string; start: number }[] };
  };
  return partitiontable.partitions.find(({ node }) => node.endsWith(`img${partition}`))!.start * 512;
}

/** The root file system of a disk in the lab, as e2fsprogs name it. */
export async function rootOf(lab: Lab, disk: DiskFacts): Promise<string> {
  const image = `/images/${disk.name}.img`;
  return disk.root === 0 ? image : `${image}?offset=${await partitionStart(lab, image, disk.root)}`;
}

/**
 * Each answer is one line `name: ...` of a file, since others write on the console as well. The shell reads what it can by
 * itself: in a guest of the lab each process costs a quarter of a second.
 */
const questions = `
exec > /root/answers
udevadm settle -t 120 # drivers that are modules are loaded by then
for d in /sys/bus/virtio/drivers/*/virtio*; do d=\${d%/*}; drivers="$drivers \${d##*/}"; done
for d in /sys/bus/pci/devices/*; do [ -e $d ] && read v < $d/vendor && read i < $d/device && pci="$pci $v:$i"; done
read console < /sys/class/tty/console/active
read clock < /sys/devices/system/clocksource/clocksource0/current_clocksource
echo "virtio: $drivers
pci: $pci
console: $console
clocksource: $clock
messages: $(grep -c 'PCI-MSI.*virtio' /proc/interrupts)
lines: $(grep -c 'IO-APIC.*virtio' /proc/interrupts)
cpus: $(grep -c '^flags.* hypervisor' /proc/cpuinfo)
topology: $(lscpu | grep -E '^(Socket|Core|Thread)' | tr -s ' \\n' ' ,')
time: $(date +%s)
errors: $(dmesg | grep -ciE 'soft lockup|rcu.*stall|Call Trace|virtio.*(fail|error)')"
echo kept by the disk > /root/proof && sync
`;

/** The word that makes a guest answer `questions` and then power off, or stay. */
export const askedQuestions = guestScript(questions);

/** What the guest answered. */
export async function answersOf(lab: Lab, disk: DiskFacts): Promise<Record<string, string>> {
  const { stdout } = await lab.exec(['debugfs', '-R', 'cat /root/answers', await rootOf(lab, disk)]);
  return Object.fromEntries(
    [...stdout.matchAll(/^(\w+): (.*?)\r?$/gm)].map(([, name, value]) => [name!, value!.trim()]),
  );
}

export interface InspectedEntry {
  readonly number: number;
  readonly title: string;
  readonly id: string;
  readonly loader: string;
  readonly kernel: { readonly partition: number; readonly path: string } | null;
  readonly cmdline: string;
}

/** What `tsvmm image inspect` says would boot. */
export async function defaultEntry(lab: Lab, disk: DiskFacts): Promise<InspectedEntry> {
  const command = ['node', 'bin/tsvmm.js', 'image', 'inspect', `/images/${disk.name}.img`, '--json'];
  const { stdout, stderr, exitCode } = await lab.exec(command);
  if (exitCode !== 0) throw new Error(`image inspect of ${disk.name} ended with ${exitCode}: ${stderr}`);
  const report = JSON.parse(stdout) as { entries: InspectedEntry[]; defaultEntry: number | null };
  return report.entries.find(({ number }) => number === report.defaultEntry)!;
}
