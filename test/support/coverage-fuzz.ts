/**
 * Coverage-guided fuzzing of parsers, in a few hundred lines: inputs that make code run which nothing ran before are kept
 * and changed further. V8 itself counts what ran (inspector protocol, `Profiler.startPreciseCoverage` with block counts).
 *
 * Counting begins when this file is imported, and only functions that V8 compiles from then on have block counts: call
 * nothing of the code under test before `fuzzLoop`. Seeds live in test/corpora/NAME and are all run first, so that an
 * input that once broke something stays mended. The loop draws from a fixed seed: a run in CI is the same every time.
 * `npm run test:full` takes 20 times as many inputs, and TSVMM_FUZZ_SEED=N draws others.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { TsvmmError } from '../../src/errors.js';
import { full } from './effort.js';
import { Mutator } from './mutator.js';

const corpora = join(import.meta.dirname, '../corpora');
const findings = join(import.meta.dirname, '../../.cache/fuzz');
const fullFactor = 20;
/** Inputs whose coverage is looked at together: reading the counters costs more than most inputs. */
const batchSize = 16;
const maxKept = 256;
/** A feature is a number: script, first and last character of a block, power of two. Exact below script 4096. */
const maxSource = 2 ** 18;
const maxPowers = 32;
/** Any input: what takes longer hangs for all that a user can tell. */
const maxSeconds = 10;

export interface FuzzOptions {
  /** Folder of test/corpora with the seeds. */
  readonly name: string;
  /** Beside those of the corpus. */
  readonly seeds?: readonly Uint8Array[];
  /** Looks at one input, which it may keep. Anything thrown other than a TsvmmError is a finding. */
  target(input: Buffer): unknown;
  /** Changed inputs to try. */
  readonly runs: number;
  /** Words that a parser of text knows; they are put in, and the length may change. */
  readonly words?: readonly string[];
  /** Makes checksums right again, so that changes get past them; every second input goes through it. */
  mend?(input: Buffer): void;
}

export interface FuzzReport {
  readonly runs: number;
  /** Inputs that reached something new, the seeds included. */
  readonly kept: number;
  /** Pairs of a block of code and how often it ran, in powers of two. */
  readonly features: number;
}

/** Runs the corpus and then `runs` changed inputs. Rejects with the first finding, after storing its input. */
export async function fuzzLoop(options: FuzzOptions): Promise<FuzzReport> {
  const kept = [...corpusOf(options.name), ...(options.seeds ?? []).map((seed) => Buffer.from(seed))];
  if (kept.length === 0) throw new Error(`there are no seeds in test/corpora/${options.name}`);
  const seed = Number(process.env['TSVMM_FUZZ_SEED'] ?? 1);
  const mutator = new Mutator(seed, options.words);
  const known = new Set<number>();
  coverage.take(); // what ran before is nobody's
  for (const input of kept) await attempt(options, input);
  const isNew = (): boolean => {
    const before = known.size;
    for (const feature of coverage.take()) known.add(feature);
    return known.size > before;
  };
  isNew();
  const runs = options.runs * (full ? fullFactor : 1);
  for (let done = 0; done < runs; done += batchSize) {
    const batch = Array.from({ length: Math.min(batchSize, runs - done) }, (_, i) => {
      const input = mutator.change(kept);
      if (i % 2 === 0) options.mend?.(input);
      return input;
    });
    for (const input of batch) await attempt(options, input);
    // Counts of a batch are sums: whether one of its inputs is new shows when it runs alone.
    if (kept.length >= maxKept || !isNew()) continue;
    for (const input of batch) {
      await attempt(options, input);
      if (kept.length < maxKept && isNew()) kept.push(input);
    }
  }
  return { runs, kept: kept.length, features: known.size };
}

/** The seeds of a folder of test/corpora; `.gz` ones unpacked. */
function corpusOf(name: string): Buffer[] {
  const folder = join(corpora, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((file) => {
      const bytes = readFileSync(join(folder, file));
      return file.endsWith('.gz') ? gunzipSync(bytes) : bytes;
    });
}

async function attempt({ name, target }: FuzzOptions, input: Buffer): Promise<void> {
  const copy = Buffer.from(input);
  const begun = process.cpuUsage();
  try {
    await target(copy);
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw finding(name, input, 'threw', error);
  }
  const { user, system } = process.cpuUsage(begun); // a busy host is not the parser's fault
  const seconds = (user + system) / 1e6;
  if (seconds > maxSeconds) throw finding(name, input, `took ${seconds.toFixed(1)} s`);
}

function finding(name: string, input: Buffer, what: string, cause?: unknown): Error {
  const hash = createHash('sha256').update(input).digest('hex').slice(0, 12);
  const path = join(findings, `${name}-${hash}.gz`);
  mkdirSync(findings, { recursive: true });
  writeFileSync(path, gzipSync(input));
  const says = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? '');
  return new Error(`fuzzing ${name}: an input ${what}; it is in ${path}: keep it in test/corpora/${name}\n${says}`, {
    cause,
  });
}

/** V8's block counts as features. */
class Coverage {
  readonly #session = new Session();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** What ran since the last call. */
  take(): number[] {
    const features: number[] = [];
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error) throw error;
      for (const { url, scriptId, functions } of answer.result) {
        if (!url.includes('/src/')) continue;
        const script = Number(scriptId) * maxSource;
        for (const { ranges } of functions)
          for (const { startOffset, endOffset, count } of ranges)
            if (count > 0)
              features.push(((script + startOffset) * maxSource + endOffset) * maxPowers + Math.ceil(Math.log2(count)));
      }
    });
    return features;
  }
}

const coverage = new Coverage();
