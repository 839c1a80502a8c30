/**
 * How long the event loop of a program is kept from its work by its machines: 1, 4 and 8 that read their disks flat out
 * (bench/guests/block) while the program serves HTTP to a client in a process of its own.
 *
 * Figures are the delays that node:perf_hooks sees in that program (bench/lag-child.js), beyond its timer's period. The peer is
 * the same program without machines, in turn with the other: what the host does to it anyway.
 */
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Bench, type Case, cleanEnvironment, whyNoKvm } from './harness.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const child = join(root, 'bench/lag-child.js');
const folder = join(root, '.cache/bench');
const disk = join(folder, 'lag.img');
const diskSize = 64 * 2 ** 20;
const machineCounts = [1, 4, 8];
const figureNames = ['p50', 'p99', 'max'] as const;
const runs = 5;

type Figures = Readonly<Record<(typeof figureNames)[number], number>>;

async function run(machines: number): Promise<Figures> {
  const { stdout } = await promisify(execFile)(process.execPath, [child, `${machines}`, disk], {
    env: cleanEnvironment(),
  });
  return JSON.parse(stdout) as Figures;
}

/** The cases of one number of machines look at the same runs, one case after the other. */
function sharedRuns(machines: number): (name: keyof Figures) => () => Promise<number> {
  const taken: Promise<Figures>[] = [];
  return (name) => {
    let next = 0;
    return async () => {
      taken[next] ??= run(machines);
      return (await taken[next++]!)[name];
    };
  };
}

function casesOf(machines: number): Case[] {
  const ours = sharedRuns(machines);
  const idle = sharedRuns(0);
  return figureNames.map((name) => ({
    name: `${name}-${machines}vm`,
    unit: 'ms',
    ours: ours(name),
    peer: { name: 'idle', measure: idle(name) },
    runs,
    warmUp: 1,
  }));
}

export const bench: Bench = {
  name: 'lag',
  summary: 'the event loop of a program that serves HTTP beside machines that do I/O flat out',
  unavailable: async () => whyNoKvm(),
  cases() {
    mkdirSync(folder, { recursive: true });
    const fd = openSync(disk, 'w');
    ftruncateSync(fd, diskSize);
    closeSync(fd);
    return machineCounts.flatMap(casesOf);
  },
  async close() {
    rmSync(disk, { force: true });
  },
};
