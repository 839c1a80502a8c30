/**
 * What an exit to our loop costs: a port read, a PCI configuration read by port and a memory-mapped read, there and back,
 * by the guest's time stamp counter, and the processor time of each. The peer is a loop in C around the same guest
 * (bench/peers/exit-loop.c), at the same nice value as our vCPUs.
 *
 * The figures are those of a vCPU that has run for a while, `*-first` those of a new one, whose loop V8 has yet to compile.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { VirtualMachine } from 'tsvmm';
import { type Bench, type Case, whyNoKvm } from './harness.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const guest = join(root, 'build/guests/exits.elf');
const peer = join(root, '.cache/bench/exit-loop');
/** V8 has compiled the loop for good by then. */
const warm = 100_000;
const count = 100_000;
const firstCount = 30_000;
/** What our vCPU threads run at. */
const nice = 10;
const rounds = 7;

type Access = 'pio' | 'pci' | 'mmio';
interface Figures {
  /** Ticks of the time stamp counter for a round trip. */
  readonly ticks: number;
  /** Microseconds of processor time of the whole process. */
  readonly cpu: number;
}

const ticksOf = (output: string): number => {
  const match = /exits ok: (\d+) round trips, (\d+) ticks/.exec(output);
  if (match === null) throw new Error(`the guest did not end well:\n${output}`);
  return Number(match[2]) / Math.max(1, Number(match[1]));
};

async function ours(cmdline: string): Promise<Figures> {
  const before = process.cpuUsage();
  const vm = await VirtualMachine.start({ memory: '64M', boot: { kernel: guest, cmdline } });
  const { consoleTail } = await vm.exited;
  const { user, system } = process.cpuUsage(before);
  return { ticks: ticksOf(consoleTail), cpu: user + system };
}

function theirs(cmdline: string): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = spawn('nice', ['-n', String(nice), peer, guest, cmdline]);
    let output = '';
    let report = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    child.stderr.on('data', (chunk: Buffer) => (report += chunk.toString('latin1')));
    child.once('error', reject);
    child.once('close', () => {
      const cpu = /cpu (\d+)/.exec(report)?.[1];
      if (cpu === undefined) reject(new Error(`exit-loop: ${report}${output}`));
      else resolve({ ticks: ticksOf(output), cpu: Number(cpu) });
    });
  });
}

type Run = typeof ours;
const ticks = (run: Run, cmdline: string) => async (): Promise<number> => (await run(cmdline)).ticks;
/** A run without the exits that count tells what else the process does. */
const processor = (run: Run, by: Access) => async (): Promise<number> => {
  const idle = await run(`by=${by} warm=${warm} count=1`);
  const busy = await run(`by=${by} warm=${warm} count=${count}`);
  return (busy.cpu - idle.cpu) / (count - 1);
};

function against(name: string, unit: string, measure: (run: Run) => () => Promise<number>): Case {
  return { name, unit, ours: measure(ours), peer: { name: 'C loop', measure: measure(theirs) }, runs: rounds };
}

const cases: Case[] = (['pio', 'pci', 'mmio'] as const).flatMap((by) => [
  against(by, 'ticks', (run) => ticks(run, `by=${by} warm=${warm} count=${count}`)),
  against(`${by}-first`, 'ticks', (run) => ticks(run, `by=${by} count=${firstCount}`)),
  against(`${by}-processor`, 'us', (run) => processor(run, by)),
]);

export const bench: Bench = {
  name: 'exit',
  summary: 'round trip of an exit, against a loop in C',
  async unavailable() {
    const noKvm = whyNoKvm();
    if (noKvm !== undefined) return noKvm;
    mkdirSync(join(root, '.cache/bench'), { recursive: true });
    try {
      execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-o', peer, join(root, 'bench/peers/exit-loop.c')]);
    } catch (error) {
      return `the peer cannot be built: ${(error as Error).message}`;
    }
    return undefined;
  },
  cases: () => cases,
};
