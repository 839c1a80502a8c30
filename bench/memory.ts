/**
 * What machines cost in memory, and what guest memory costs a program that starts children.
 *
 * A figure is the memory of a process (bench/support/footprint.ts) without the guest pages that it touched.
 */
import { join } from 'node:path';
import { type Bench, type Case, qemuCpu, whyNoKvm, whyNoQemu } from './harness.js';
import { footprint, unit } from './support/footprint.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const child = join(root, 'bench/memory-child.js');
const guest = join(root, 'build/guests/halt.elf');
const MiB = 1024 ** 2;
/** Guest memory of the tiny guests: small, so that it is not what is measured. */
const guestSize = 16 * MiB;
const runs = 3;

const ours = async (role: string, count: number): Promise<number> =>
  (await footprint([process.execPath, child, role, String(count)], 'ready', guestSize)).bytes / MiB;

/** What one more costs: `count` of them and the first are measured. */
const marginal = (role: string, count: number) => async (): Promise<number> =>
  ((await ours(role, count)) - (await ours(role, 1))) / (count - 1);

const qemu = async (): Promise<number> => {
  const machine = 'microvm,x-option-roms=off,isa-serial=on,rtc=on';
  const command = [
    ...['qemu-system-x86_64', '-M', machine, '-accel', 'kvm', '-cpu', qemuCpu, '-m', String(guestSize / MiB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-kernel', guest],
  ];
  return (await footprint(command, 'sleeping', guestSize)).bytes / MiB;
};

const spawning = (role: string) => async (): Promise<number> =>
  Number(/ready (\S+)/.exec((await footprint([process.execPath, child, role], 'ready')).output)?.[1]);

const peer = { name: 'qemu microvm, a process each', measure: qemu };
const alone = (name: string, measure: Case['ours']): Case => ({ name, unit, ours: measure, runs, warmUp: 0 });

export const bench: Bench = {
  name: 'memory',
  summary: 'memory of machines without the guest pages they touch, and child processes beside guest memory',
  unavailable: async () => whyNoKvm() ?? whyNoQemu(),
  cases: () => [
    alone('process-without-machines', () => ours('machines', 0)),
    { ...alone('process-with-1', () => ours('machines', 1)), peer },
    { ...alone('one-more-of-10', marginal('machines', 10)), peer },
    { ...alone('one-more-of-50', marginal('machines', 50)), peer },
    { ...alone('one-more-of-100', marginal('machines', 100)), peer },
    alone('one-more-warm-worker', marginal('workers', 50)),
    {
      name: 'spawn-beside-1G',
      unit: 'ms',
      ours: spawning('spawn-machine'),
      peer: { name: 'memory that children copy', measure: spawning('spawn-plain') },
      runs,
      warmUp: 0,
    },
  ],
};
