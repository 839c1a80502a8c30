/**
 * Records a boot for `--timeline FILE` and writes the page. Main thread.
 *
 * Costs the guest nothing: its exits are counted anyway, and main reads the counters now and then. The page is written
 * once, when the login prompt has come or when the machine ends before, however that happens.
 */
import {
  accessSync,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { type Phase, TsvmmError } from '../../errors.js';
import { monotonicMs } from '../../host/clock.js';
import { loginPrompt } from '../../machine/boot-watch.js';
import type { Machine } from '../machine.js';
import { timelineMark, timelinePage } from './page.js';
import type { ExitSample } from './timeline.js';

const firstIntervalMs = 50;
/** With so many, every other one goes, and the next come half as often. */
const mostSamples = 400;
const mostCommand = 500;

export interface RecordOptions {
  readonly path: string;
  readonly name: string;
  readonly command: string;
  readonly version: string;
  /** A line for the user. */
  say(text: string): void;
}

export class TimelineRecord {
  readonly #options: RecordOptions;
  readonly #processStart = monotonicMs() - process.uptime() * 1000;
  readonly #phases: Phase[] = [];
  #samples: ExitSample[] = [];
  #startAsked = 0;
  #intervalMs = firstIntervalMs;
  #timer: NodeJS.Timeout | undefined;
  #machine: Machine | undefined;
  /** Of the machine's own phases, which count from its start. */
  #machineStart = 0;
  #written = false;

  /** Throws `ERR_TSVMM_CONFIG` if the page could not be written, or would replace something else. */
  constructor(options: RecordOptions) {
    this.#options = options;
    refuseOther(options.path);
    this.#phase('start Node, read the command', 0, this.#now);
  }

  get #now(): number {
    return monotonicMs() - this.#processStart;
  }

  #phase(name: string, startMs: number, endMs: number): void {
    this.#phases.push({ name, startMs, durationMs: endMs - startMs });
  }

  /** The machine is about to be started. */
  starting(): void {
    this.#startAsked = this.#now;
    const { startMs, durationMs } = this.#phases[0]!;
    this.#phase('check options', startMs + durationMs, this.#startAsked);
  }

  /** It has been: call at once. */
  started(machine: Machine): void {
    this.#machine = machine;
    this.#locate(machine.phases.slice());
    machine.on('reboot', () => this.finish('reboot'));
    this.#sample();
  }

  /** It could not be. */
  failed(thrown: unknown): void {
    if (thrown instanceof TsvmmError && thrown.phases !== undefined) {
      this.#locate(thrown.phases);
      this.#addMachine(thrown.phases);
    }
    this.finish(thrown instanceof Error ? `failure: ${thrown.message}` : 'failure');
  }

  /** Writes the page, the first time it is called. `outcome` says what the boot came to. */
  finish(outcome: string): void {
    if (this.#written) return;
    this.#written = true;
    clearTimeout(this.#timer);
    const { path, say, name, command, version } = this.#options;
    if (this.#machine !== undefined) {
      this.#count();
      this.#addMachine(this.#machine.phases);
    }
    const login = this.#phases.find((phase) => phase.name === loginPrompt);
    if (login !== undefined) outcome = 'the login prompt';
    const endMs = login?.startMs ?? this.#now; // no sooner than the last count
    const page = timelinePage({
      name,
      command: command.length > mostCommand ? `${command.slice(0, mostCommand)}…` : command,
      version,
      startedAt: new Date(Date.now() - this.#now).toISOString(),
      outcome,
      endMs,
      phases: this.#phases,
      samples: this.#samples.filter(({ atMs }) => atMs <= endMs),
    });
    const beside = `${path}.${process.pid}.tmp`;
    try {
      writeFileSync(beside, page, { flag: 'wx' });
      renameSync(beside, path);
      say(`boot timeline: ${path}`);
    } catch (error) {
      rmSync(beside, { force: true });
      say(`warning: the boot timeline could not be written: ${(error as Error).message}`);
    }
  }

  /** The end of the last phase is now. */
  #locate(phases: readonly Phase[]): void {
    const end = Math.max(0, ...phases.map(({ startMs, durationMs }) => startMs + durationMs));
    this.#machineStart = Math.max(this.#now - end, this.#startAsked);
    this.#phase('load the library', this.#startAsked, this.#machineStart);
  }

  #addMachine(phases: readonly Phase[]): void {
    for (const phase of phases) this.#phases.push({ ...phase, startMs: phase.startMs + this.#machineStart });
  }

  #sample(): void {
    this.#count();
    if (this.#machine!.phases.some(({ name }) => name === loginPrompt)) {
      this.finish('the login prompt');
      return;
    }
    this.#timer = setTimeout(() => this.#sample(), this.#intervalMs).unref();
  }

  #count(): void {
    this.#samples.push({ atMs: this.#now, exits: this.#machine!.metrics().exits });
    if (this.#samples.length < mostSamples) return;
    this.#samples = this.#samples.filter((_, i) => i % 2 === 0);
    this.#intervalMs *= 2;
  }
}

/** A page of ours and an empty file are replaced; a folder where nothing can be made is found before the boot. */
function refuseOther(path: string): void {
  const bad = (message: string, hint: string): TsvmmError =>
    new TsvmmError('ERR_TSVMM_CONFIG', `--timeline: ${message}`, { hint });
  try {
    accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    throw bad(
      `${path} cannot be written: ${(error as Error).message}`,
      'name a file in a folder that you may write to',
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isFile() || (found.size > 0 && !beginsWithMark(path)))
    throw bad(`${path} exists and is not a timeline`, 'name another file, or remove it');
}

function beginsWithMark(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const begin = Buffer.alloc(timelineMark.length);
    readSync(fd, begin);
    return begin.toString('latin1') === timelineMark;
  } finally {
    closeSync(fd);
  }
}
