/**
 * What machines cost in memory, and what guest memory costs a program that starts children.
 *
 * A figure is memory.current (v1: memory.usage_in_bytes) of a cgroup that holds one process and nothing else, without the
 * guest pages that it touched: KVM's page tables, kernel stacks and all are in it, as they are in no RSS. Where no cgroup
 * can be made it is the process's PSS and page tables instead, and the unit says so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Bench, type Case, cleanEnvironment, whyNoKvm } from './harness.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const child = join(root, 'bench/memory-child.js');
const guest = join(root, 'build/guests/halt.elf');
const MiB = 1024 ** 2;
/** Guest memory of the tiny guests: small, so that it is not what is measured. */
const guestSize = 16 * MiB;
const runs = 3;

interface CgroupKind {
  readonly folder: string;
  readonly usage: string;
}

/** The cgroup of this process for memory, in which another can be made; undefined where that is not possible. */
function ownCgroup(): CgroupKind | undefined {
  for (const line of readFileSync('/proc/self/cgroup', 'latin1').trim().split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const kind = controllers?.split(',').includes('memory')
      ? { folder: join('/sys/fs/cgroup/memory', path!), usage: 'memory.usage_in_bytes' }
      : { folder: join('/sys/fs/cgroup', path ?? '/'), usage: 'memory.current' };
    const probe = join(kind.folder, `tsvmm-bench-${process.pid}`);
    try {
      mkdirSync(probe);
      const usable = existsSync(join(probe, kind.usage));
      rmdirSync(probe);
      if (usable) return kind;
    } catch {
      // not ours to change: the next hierarchy, or PSS
    }
  }
  return undefined;
}

const cgroup = ownCgroup();
const unit = cgroup === undefined ? 'MiB of PSS and page tables' : 'MiB';
let groups = 0;

/** Starts a command in a cgroup of its own, waits for the word, measures, ends it. Bytes without touched guest pages. */
async function footprint(command: readonly string[], word: string): Promise<{ bytes: number; output: string }> {
  const group = cgroup === undefined ? undefined : join(cgroup.folder, `tsvmm-bench-${process.pid}-${groups++}`);
  if (group !== undefined) mkdirSync(group);
  const enter = group === undefined ? '' : `echo $$ > ${group}/cgroup.procs && `;
  const process_ = spawn('/bin/sh', ['-c', `${enter}exec "$@"`, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: cleanEnvironment(),
  });
  try {
    const output = await saying(process_, word);
    await delay(300); // what is freed late is freed
    const used =
      group === undefined ? pssOf(process_.pid!) : Number(readFileSync(join(group, cgroup!.usage), 'latin1'));
    return { bytes: used - guestPages(process_.pid!), output };
  } finally {
    const ended = new Promise((resolve) => process_.once('close', resolve));
    process_.kill('SIGKILL');
    await ended;
    if (group !== undefined) await removed(group);
  }
}

function saying(process_: ChildProcess, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    process_.stdout!.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
      if (output.includes(word) && output.endsWith('\n')) resolve(output);
    });
    process_.once('close', (code) => reject(new Error(`ended with ${code} before it said "${word}":\n${output}`)));
  });
}

/** A cgroup is empty a moment after its last process has gone. */
async function removed(group: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      rmdirSync(group);
      return;
    } catch {
      await delay(20);
    }
  }
  throw new Error(`${group} cannot be removed`);
}

const kilobytes = (text: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;

const pssOf = (pid: number): number =>
  kilobytes(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'), 'Pss') +
  kilobytes(readFileSync(`/proc/${pid}/status`, 'latin1'), 'VmPTE');

/** Resident bytes of the mappings that are guest memory: theirs is the only size of its kind. */
function guestPages(pid: number): number {
  return readFileSync(`/proc/${pid}/smaps`, 'latin1')
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((area) => kilobytes(area, 'Size') === guestSize && /^VmFlags:.* wr /m.test(area))
    .reduce((sum, area) => sum + kilobytes(area, 'Rss'), 0);
}

const ours = async (role: string, count: number): Promise<number> =>
  (await footprint([process.execPath, child, role, String(count)], 'ready')).bytes / MiB;

/** What one more costs: `count` of them and the first are measured. */
const marginal = (role: string, count: number) => async (): Promise<number> =>
  ((await ours(role, count)) - (await ours(role, 1))) / (count - 1);

const qemu = async (): Promise<number> => {
  const machine = 'microvm,x-option-roms=off,isa-serial=on,rtc=on';
  const command = [
    ...['qemu-system-x86_64', '-M', machine, '-accel', 'kvm', '-cpu', 'host', '-m', String(guestSize / MiB)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-kernel', guest],
  ];
  return (await footprint(command, 'sleeping')).bytes / MiB;
};

const spawning = (role: string) => async (): Promise<number> =>
  Number(/ready (\S+)/.exec((await footprint([process.execPath, child, role], 'ready')).output)?.[1]);

const peer = { name: 'qemu microvm, a process each', measure: qemu };
const alone = (name: string, measure: Case['ours']): Case => ({ name, unit, ours: measure, runs, warmUp: 0 });

export const bench: Bench = {
  name: 'memory',
  summary: 'memory of machines without the guest pages they touch, and child processes beside guest memory',
  async unavailable() {
    const noKvm = whyNoKvm();
    if (noKvm !== undefined) return noKvm;
    if (!existsSync('/usr/bin/qemu-system-x86_64')) return 'the peer is missing: apt-get install qemu-system-x86';
    return undefined;
  },
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
