/**
 * fio in a Debian guest of the lab (libaio, direct, 4 KiB), against QEMU/KVM in the same lab on the same file: requests a second
 * of random reads and writes, one and 32 in flight.
 *
 * Both monitors boot the same kernel from the disk of scripts/images/fio.js; QEMU has virtio-blk-pci with an I/O thread and
 * io_uring. The file is in the lab's page cache. Under emulation a JIT is slow (docs/test-beds.md): pessimistic for us.
 */
import { ensureFioDisk, type Lab, openLab } from '../scripts/lab/index.js';
import type { Bench, Case } from './harness.js';

const jobs = (['randread', 'randwrite'] as const).flatMap((rw) => [1, 32].map((depth) => ({ rw, depth })));
type Job = (typeof jobs)[number];
const nameOf = ({ rw, depth }: Job): string => `${rw}-4k-qd${depth}`;
type Figures = ReadonlyMap<string, number>;
type Monitor = 'tsvmm' | 'qemu';

const seconds = 5;
const counts = { runs: 3, warmUp: 1 };
const mebibytes = 64;
/** Fields of fio's terse output, version 3, from 0: fio's HOWTO, "Terse output". */
const iopsField = { randread: 7, randwrite: 48 } as const;

const script = [
  'cd /run',
  ...jobs.map((job) => {
    const shape = `--rw=${job.rw} --bs=4k --iodepth=${job.depth} --time_based --runtime=${seconds} --ramp_time=1`;
    return `fio --name=${nameOf(job)} --filename=/dev/vdb --ioengine=libaio --direct=1 --thread --minimal ${shape}`;
  }),
].join('\n');
const words =
  'console=ttyS0 root=/dev/vda ro quiet watchdog_thresh=60 panic=-1 init=/usr/local/sbin/tsvmm-marker ' +
  `tsvmm.run=${Buffer.from(script).toString('base64')}`;
const boot = ['/images/vmlinuz', '/images/initrd.img'] as const;

const commands: Readonly<Record<Monitor, readonly string[]>> = {
  tsvmm: [
    ...['node', 'bin/tsvmm.js', 'run', '/root/fio.img,ephemeral', '--disk', '/root/data.img', '-m', '512M'],
    ...['--kernel', boot[0], '--initrd', boot[1], '--cmdline', words],
  ],
  qemu: [
    ...['qemu-system-x86_64', '-M', 'q35', '-accel', 'kvm', '-cpu', 'host', '-m', '512', '-nodefaults'],
    ...['-display', 'none', '-serial', 'stdio', '-no-reboot', '-object', 'iothread,id=io'],
    ...['-drive', 'file=/root/fio.img,if=none,id=root,format=raw,snapshot=on'],
    ...['-drive', 'file=/root/data.img,if=none,id=data,format=raw,cache=writeback,aio=io_uring'],
    ...['-device', 'virtio-blk-pci,drive=root', '-device', 'virtio-blk-pci,drive=data,iothread=io'],
    ...['-kernel', boot[0], '-initrd', boot[1], '-append', words],
  ],
};

let opened: Promise<Lab> | undefined;

async function open(): Promise<Lab> {
  const lab = await openLab({ copy: [{ from: await ensureFioDisk(), to: '/root/fio.img' }] });
  // No holes, and nothing left to be written when it is measured.
  await lab.exec(['sh', '-c', `dd if=/dev/urandom of=/root/data.img bs=1M count=${mebibytes} && sync`]);
  return lab;
}

async function run(monitor: Monitor): Promise<Figures> {
  opened ??= open();
  const { stdout, stderr } = await (await opened).exec([...commands[monitor]], { timeout: 900 });
  return new Map(
    jobs.map((job) => {
      const line = new RegExp(`^3;[^;]*;${nameOf(job)};.*$`, 'm').exec(stdout)?.[0];
      if (line === undefined)
        throw new Error(`${monitor}: no result of ${nameOf(job)}\n${stdout.slice(-2000)}${stderr}`);
      return [nameOf(job), Number(line.split(';')[iopsField[job.rw]])];
    }),
  );
}

/** All jobs are measured in one boot, which the cases look at one after the other. */
function sharedRuns(monitor: Monitor): (name: string) => () => Promise<number> {
  const taken: Promise<Figures>[] = [];
  return (name) => {
    let next = 0;
    return async () => {
      taken[next] ??= run(monitor);
      return (await taken[next++]!).get(name)!;
    };
  };
}

export const bench: Bench = {
  name: 'fio',
  summary: 'fio in a Debian guest of the lab, against QEMU/KVM there',
  cases(): Case[] {
    const ours = sharedRuns('tsvmm');
    const theirs = sharedRuns('qemu');
    return jobs.map((job) => {
      const name = nameOf(job);
      return { name, unit: 'IOPS', ours: ours(name), peer: { name: 'qemu', measure: theirs(name) }, ...counts };
    });
  },
  async close() {
    await (await opened)?.kill();
  },
};
