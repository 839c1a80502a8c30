/**
 * What a process costs in memory: memory.current (v1: memory.usage_in_bytes) of a cgroup that holds it and nothing else. KVM's
 * page tables, kernel stacks and all are in it, as they are in no RSS. Where no cgroup can be made it is the process's PSS and
 * page tables instead, and the unit says so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cleanEnvironment } from '../harness.js';

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
export const unit = cgroup === undefined ? 'MiB of PSS and page tables' : 'MiB';
let groups = 0;

export interface Footprint {
  readonly bytes: number;
  readonly output: string;
}

/**
 * Starts a command in a cgroup of its own, waits for the word, measures, ends it. Guest memory of `guestSize` bytes is left
 * out, if that is given: the pages that its guests have touched.
 */
export async function footprint(command: readonly string[], word: string, guestSize?: number): Promise<Footprint> {
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
    return { bytes: guestSize === undefined ? used : used - guestPages(process_.pid!, guestSize), output };
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
function guestPages(pid: number, guestSize: number): number {
  return readFileSync(`/proc/${pid}/smaps`, 'latin1')
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((area) => kilobytes(area, 'Size') === guestSize && /^VmFlags:.* wr /m.test(area))
    .reduce((sum, area) => sum + kilobytes(area, 'Rss'), 0);
}
