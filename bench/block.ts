/**
 * How fast a disk is: the guest bench/guests/block drives virtio-blk from ring 3, here and under QEMU (virtio-blk-pci with an
 * I/O thread and io_uring) on the same file, in the page cache or (`-direct`) past it. Requests a second; at depth 1 the time of one, of 128 KiB
 * the bytes; and the processor time of the whole process while it was measured.
 *
 * QEMU starts by qboot.rom, since SeaBIOS takes seconds where ring 0 is emulated, at the nice value of our I/O worker.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { VirtualMachine } from 'tsvmm';
import { type Bench, type Case, cleanEnvironment, qemuCpu, whyNoKvm, whyNoQemu } from './harness.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const guest = join(root, 'build/guests/block.elf');
const folder = join(root, '.cache/bench');
const qemu = '/usr/bin/qemu-system-x86_64';
const MiB = 2 ** 20;
const diskSize = 512 * MiB;
const memory = '128M';
/** Of the pattern that a disk holds which is only read; see test/guests/README.md. */
const seed = 1;
const ourNice = 5;
const counts = { runs: 5, warmUp: 1 };
/** Enough for an interval of the ratio of two short times. */
const depthOneRuns = 30;
const ticksPerSecond = 100; // USER_HZ, on every x86
/** One for each vCPU. */
const queueCounts = [1, 2];

interface Workload {
  readonly name: string;
  readonly pattern: 'random' | 'sequential';
  readonly mix: 'read' | 'write' | 'readwrite';
  readonly bytes: number;
  readonly depth: number;
  readonly queues: number;
  /** Past the page cache on both sides. */
  readonly direct: boolean;
}

/** All of one run; each case tells one of them. */
interface Figures {
  readonly iops: number;
  readonly megabytes: number;
  /** Mean time of a request when there is one at a time. */
  readonly us: number;
  /** Processor seconds per million requests. */
  readonly processor: number;
}
type Side = (workload: Workload) => Promise<Figures>;

const writes = ({ mix }: Workload): boolean => mix !== 'read';
const diskOf = (workload: Workload): string => join(folder, writes(workload) ? 'block-written.img' : 'block-read.img');

/** Both disks hold the pattern, so that there are no holes in them. */
function makeDisk(path: string): void {
  const fd = openSync(path, 'w');
  try {
    const words = new Uint32Array((8 * MiB) / 4);
    for (let at = 0; at < diskSize; at += words.byteLength) {
      for (let i = 0; i < words.length; i++) words[i] = at / 4 + i + seed;
      writeSync(fd, words);
    }
    fsyncSync(fd); // its blocks are allocated and nothing is left to be written when it is measured
  } finally {
    closeSync(fd);
  }
}

function commandLine({ pattern, mix, bytes, depth, queues }: Workload): string {
  return `pattern=${pattern} mix=${mix} size=${bytes} depth=${depth} queues=${queues} seed=${seed} ms=1000 warm-up=1500`;
}

/** Processor time that a process has had, in seconds: proc(5), fields 14 and 15 of stat. */
function processorSeconds(pid: number | 'self'): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').pop()!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** What the guest says, and what the process had used when it began and ended to measure. */
class Listener {
  output = '';
  readonly #pid: number | 'self';
  #before = Number.NaN;
  #after = Number.NaN;

  constructor(pid: number | 'self') {
    this.#pid = pid;
  }

  readonly hear = (chunk: Buffer): void => {
    this.output += chunk.toString('latin1');
    if (Number.isNaN(this.#before) && this.output.includes('block: measuring'))
      this.#before = processorSeconds(this.#pid);
    if (Number.isNaN(this.#after) && this.output.includes('block: measured')) this.#after = processorSeconds(this.#pid);
  };

  figures(): Figures {
    const [, requests, us, iops, bytes] =
      /^block ok: requests (\d+) us (\d+) iops (\d+) bytes\/s (\d+) /m.exec(this.output)?.map(Number) ?? [];
    if (requests === undefined) throw new Error(`the guest did not end well:\n${this.output}`);
    return {
      iops: iops!,
      megabytes: bytes! / 1e6,
      us: us! / requests,
      processor: ((this.#after - this.#before) / requests) * 1e6,
    };
  }
}

async function ours(workload: Workload): Promise<Figures> {
  const cmdline = commandLine(workload);
  const disks = [{ path: diskOf(workload), cache: workload.direct ? ('direct' as const) : ('writeback' as const) }];
  const vm = await VirtualMachine.start({ memory, cpus: workload.queues, disks, boot: { kernel: guest, cmdline } });
  const listener = new Listener('self');
  vm.console.on('data', listener.hear);
  await vm.exited;
  if (!vm.console.readableEnded) await new Promise((resolve) => vm.console.once('end', resolve));
  return listener.figures();
}

function startQemu(workload: Workload): ChildProcess {
  const { queues } = workload;
  const cache = workload.direct ? 'none' : 'writeback';
  const args = [
    ...['-M', 'q35', '-accel', 'kvm', '-cpu', qemuCpu, '-m', memory, '-smp', `${queues}`, '-bios', 'qboot.rom'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', guest, '-append', commandLine(workload)],
    ...['-drive', `if=none,id=disk,format=raw,file=${diskOf(workload)},cache=${cache},aio=io_uring`],
    ...['-object', 'iothread,id=io'],
    ...['-device', `virtio-blk-pci,disable-legacy=on,drive=disk,iothread=io,num-queues=${queues}`],
  ];
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  // Ours is set, not added, whatever this process has; who may not lower it fails to on both sides.
  return spawn('nice', ['-n', `${ourNice - getPriority()}`, qemu, ...args], {
    stdio: [...stdio],
    env: cleanEnvironment(),
  });
}

function theirs(workload: Workload): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = startQemu(workload);
    child.once('error', reject);
    if (child.pid === undefined) return;
    const listener = new Listener(child.pid); // nice becomes QEMU
    child.stdout!.on('data', listener.hear);
    child.once('close', () => {
      try {
        resolve(listener.figures());
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** Two figures of the same runs, for two cases one after the other: the second finds what the first has left. */
function sharedRuns(side: Side, workload: Workload): (first: boolean) => Promise<Figures> {
  const left: Figures[] = [];
  return async (first) => {
    const known = first ? undefined : left.shift();
    if (known !== undefined) return known;
    const figures = await side(workload);
    if (first) left.push(figures);
    return figures;
  };
}

function casesOf(workload: Workload): Case[] {
  const unit = workload.depth === 1 ? 'us' : workload.bytes >= 128 * 1024 ? 'MB/s' : 'IOPS';
  const speed = ({ iops, megabytes, us }: Figures) => (unit === 'us' ? us : unit === 'MB/s' ? megabytes : iops);
  const runOurs = sharedRuns(ours, workload);
  const runTheirs = sharedRuns(theirs, workload);
  return [
    {
      name: workload.name,
      unit,
      ours: async () => speed(await runOurs(true)),
      peer: { name: 'qemu', measure: async () => speed(await runTheirs(true)) },
      ...(workload.depth === 1 ? { ...counts, runs: depthOneRuns } : counts),
    },
    {
      name: `${workload.name}-processor`,
      unit: 'cpu-s/M',
      ours: async () => (await runOurs(false)).processor,
      peer: { name: 'qemu', measure: async () => (await runTheirs(false)).processor },
      ...counts,
    },
  ];
}

/** As fio calls them, but for the sequential ones. */
const names = {
  random: { read: 'randread', write: 'randwrite', readwrite: 'randrw' },
  sequential: { read: 'seqread', write: 'seqwrite', readwrite: 'seqrw' },
} as const;

const workloads: Workload[] = [4, 128].flatMap((kib) =>
  (['random', 'sequential'] as const).flatMap((pattern) =>
    (['read', 'write', 'readwrite'] as const).flatMap((mix) =>
      [1, 8, 32, 128].flatMap((depth) =>
        queueCounts.flatMap((queues) =>
          [false, true].map((direct) => ({
            name: `${names[pattern][mix]}-${kib}k-qd${depth}-${queues}q${direct ? '-direct' : ''}`,
            ...{ pattern, mix, bytes: kib * 1024, depth, queues, direct },
          })),
        ),
      ),
    ),
  ),
);

export const bench: Bench = {
  name: 'block',
  summary: 'a disk driven by a guest that polls, against QEMU with an I/O thread and io_uring',
  unavailable: async () => whyNoKvm() ?? whyNoQemu(),
  cases() {
    mkdirSync(folder, { recursive: true });
    for (const mix of ['read', 'write'] as const) makeDisk(diskOf({ ...workloads[0]!, mix }));
    return workloads.flatMap(casesOf);
  },
  async close() {
    for (const mix of ['read', 'write'] as const) rmSync(diskOf({ ...workloads[0]!, mix }), { force: true });
  },
};
