/**
 * What a benchmark is, and how ours and a peer's figure are taken: in turn, in the same run, medians compared.
 *
 * A file of bench/ exports `bench`, a `Bench`. `scripts/bench.js` bundles it, runs its cases and prints a line for each.
 * The environment is clean on both sides: NODE_EXTRA_CA_CERTS alone costs every start of Node 20 some 70 ms.
 */
import { accessSync, constants, existsSync } from 'node:fs';

/** One figure, in the unit of its case. */
export type Measure = () => Promise<number> | number;

export interface Case {
  /** Plain: `start`, `start-warm-pool`, `command`. */
  readonly name: string;
  /** Of both figures: `ms`, `iops`, `MiB`. A ratio of times is better when small, one of rates when large. */
  readonly unit: string;
  readonly ours: Measure;
  /** What ours is compared with; without it the figure stands alone. */
  readonly peer?: { readonly name: string; readonly measure: Measure };
  /** Measured pairs; default 15. */
  readonly runs?: number;
  /** Pairs measured first and thrown away; default 2. */
  readonly warmUp?: number;
}

export interface Bench {
  readonly name: string;
  /** One line for people. */
  readonly summary: string;
  /** Why it cannot run here, if so: an absent peer, no KVM. */
  unavailable?(): Promise<string | undefined>;
  cases(): Promise<readonly Case[]> | readonly Case[];
  /** Runs after the last case, whether the cases succeeded or not. */
  close?(): Promise<void>;
}

/** One line of `--json`; what is optional is there only with a peer. `ratio` is ours divided by theirs. */
export interface Result {
  readonly bench: string;
  readonly case: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer?: string;
  readonly theirs?: number;
  readonly ratio?: number;
  /** Of many pairs: where the mean of their ratios lies with 95 % certainty. */
  readonly interval?: readonly [low: number, high: number];
}

/** Variables that change how long Node takes to start, or what it runs. */
const distorting = ['NODE_EXTRA_CA_CERTS', 'NODE_OPTIONS', 'NODE_COMPILE_CACHE', 'NODE_V8_COVERAGE'];

/** The environment for both sides' processes. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !distorting.includes(name)));
}

/** Why this file cannot be used so, as `unavailable` says it; undefined if it can. */
export function whyNot(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return `${path}: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** Why machines cannot be run here; undefined if they can. */
export const whyNoKvm = (): string | undefined => whyNot('/dev/kvm', constants.R_OK | constants.W_OK);

/** The host's CPU, but for an MSR that QEMU 7.2 sets and KVM on AMD refuses. */
export const qemuCpu = 'host,-arch-capabilities';

/** Why the peer cannot be run here; undefined if it can. */
export const whyNoQemu = (): string | undefined =>
  existsSync('/usr/bin/qemu-system-x86_64') ? undefined : 'the peer is missing: apt-get install qemu-system-x86';

export function median(figures: readonly number[]): number {
  if (figures.length === 0) throw new RangeError('the median of nothing');
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** From so many pairs on, their mean is spread like a normal distribution. */
const manyPairs = 30;
const normal95 = 1.96;

/** Of the mean. */
export function interval95(figures: readonly number[]): [low: number, high: number] {
  const mean = figures.reduce((sum, figure) => sum + figure, 0) / figures.length;
  const variance = figures.reduce((sum, figure) => sum + (figure - mean) ** 2, 0) / (figures.length - 1);
  const half = normal95 * Math.sqrt(variance / figures.length);
  return [mean - half, mean + half];
}

async function take(measure: Measure, what: string): Promise<number> {
  const figure = await measure();
  if (!Number.isFinite(figure) || figure <= 0) throw new RangeError(`${what}: ${figure} is not a figure`);
  return figure;
}

/** Takes a case's figures: ours and theirs in turn, and the first of each pair changes, so that neither always has a warm host. */
export async function measureCase(bench: string, subject: Case): Promise<Result> {
  const { name, unit, ours, peer, runs = 15, warmUp = 2 } = subject;
  const taken: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  for (let i = -warmUp; i < runs; i++) {
    const sides = [['ours', ours] as const, ...(peer ? [['theirs', peer.measure] as const] : [])];
    if (i % 2 !== 0) sides.reverse();
    for (const [side, measure] of sides) {
      const figure = await take(measure, `${bench} ${name}, ${side}`);
      if (i >= 0) taken[side].push(figure);
    }
  }
  const figure = { bench, case: name, unit, ours: median(taken.ours) };
  if (!peer) return figure;
  const theirs = median(taken.theirs);
  const result = { ...figure, peer: peer.name, theirs, ratio: figure.ours / theirs };
  const ratios = taken.ours.map((ours, i) => ours / taken.theirs[i]!);
  return runs < manyPairs ? result : { ...result, interval: interval95(ratios) };
}
