/**
 * Records a boot for `--timeline FILE` and writes the page. Main thread.
 *
 * Costs the guest nothing: its exits are counted anyway, and main reads the counters now and then. The page is written
 * once, when the login prompt has come or when the machine ends before, however that happens.
 */
import { type Phase, TsvmmError } from '../../errors.js';
import { monotonicMs } from '../../host/clock.js';
import { loginPrompt } from '../../machine/boot-watch.js';
import type { Machine } from '../machine.js';
import { timelinePage } from './page.js';
import { PageFile } from './page-file.js';
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
  /** An error, which is said in any case. */
  complain(text: string): void;
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
  readonly #file: PageFile;
  #finished = false;
  /** The page could not be written. */
  isLost = false;

  /** Throws `ERR_TSVMM_CONFIG` if the page could not be written, or would replace something else. */
  constructor(options: RecordOptions) {
    this.#options = options;
    this.#file = new PageFile(options.path);
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

  /** Writes the page, the first time it is called. `outcome` says what the boot came to. Never throws. */
  finish(outcome: string): void {
    if (this.#finished) return;
    this.#finished = true;
    clearTimeout(this.#timer);
    const { path } = this.#file;
    try {
      this.#file.write(this.#page(outcome));
      this.#options.say(`boot timeline: ${path}`);
    } catch (error) {
      this.isLost = true;
      this.#options.complain(`the boot timeline ${path} could not be written: ${(error as Error).message}`);
    }
  }

  #page(outcome: string): string {
    const { name, command, version } = this.#options;
    if (this.#machine !== undefined) {
      this.#count();
      this.#addMachine(this.#machine.phases);
    }
    const login = this.#phases.find((phase) => phase.name === loginPrompt);
    const endMs = login?.startMs ?? this.#now; // no sooner than the last count
    return timelinePage({
      name,
      command: command.length > mostCommand ? `${command.slice(0, mostCommand)}…` : command,
      version,
      startedAt: new Date(Date.now() - this.#now).toISOString(),
      outcome: login === undefined ? outcome : 'the login prompt',
      endMs,
      phases: this.#phases,
      samples: this.#samples.filter(({ atMs }) => atMs <= endMs),
    });
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
