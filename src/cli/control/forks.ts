/**
 * The forks of a machine of `tsvmm run --name`, and theirs: they live in its process, each reached by a name and a socket of its own.
 * Main thread.
 *
 * All names are taken before anything is forked, so that nothing is where one of them is in use. The process lives as long as any
 * of them.
 */
import type { ClockPolicy } from '../../kvm/clock-save.js';
import { Ending, type EndStep } from '../ending.js';
import type { EndCause } from '../exit-codes.js';
import type { Machine } from '../machine.js';
import { Control } from './control.js';
import { longestName, parseMachineName } from './machine-name.js';
import { namesIn, runtimeDirectory } from './runtime-directory.js';

export interface HowToFork {
  /** With a count what their numbers follow. */
  readonly name?: string;
  readonly count?: number;
  readonly clock?: ClockPolicy;
}

export interface ForksOptions {
  /** That of the program, and of the machine that is no fork. */
  readonly ending: Ending;
  /** How long a fork has to power off, where nobody says otherwise. */
  readonly stopTimeoutMs: number;
  /** What there is to say of a fork. */
  say(text: string): void;
  warn(text: string): void;
  onStep(name: string, step: EndStep, cause: EndCause): void;
  exitNow(code: number): void;
}

interface Parent {
  readonly name: string;
  readonly memory: number;
  readonly cpus: number;
}

interface Fork {
  readonly name: string;
  readonly ending: Ending;
  readonly control: Control;
}

export class Forks {
  readonly #options: ForksOptions;
  readonly #living = new Set<string>();
  /** Forks that live, or are made. */
  readonly #tasks = new Set<Promise<unknown>>();
  /** They are made one after the other: what is a free name changes with each. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ForksOptions) {
    this.#options = options;
  }

  /** Makes forks that are reached by their names, which are answered; rejects with none of them left. */
  make(parent: Parent, machine: Machine, how: HowToFork): Promise<string[]> {
    const made = this.#last.then(() => this.#make(parent, machine, how));
    this.#last = made.catch(() => {});
    return this.#waitFor(made);
  }

  /** Resolves when no fork lives any more; says that it waits. */
  async ended(): Promise<void> {
    if (this.#living.size > 0) this.#options.say(`waiting for forks to end: ${[...this.#living].join(', ')}`);
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks);
  }

  async #make(parent: Parent, machine: Machine, { clock, ...how }: HowToFork): Promise<string[]> {
    const names = how.name === undefined ? freeNames(parent.name, how.count ?? 1) : givenNames(how.name, how.count);
    const forks: Fork[] = [];
    let machines: Machine[] = [];
    try {
      for (const name of names) forks.push(await this.#open(name, parent));
      machines = await machine.fork({ count: names.length, names, ...(clock && { clock }) });
      for (const [i, fork] of forks.entries()) this.#begin(fork, machines[i]!);
      return names;
    } catch (error) {
      await Promise.all(machines.map((made) => made.kill()));
      await Promise.all(forks.map(({ control }) => control.close()));
      throw error;
    }
  }

  async #open(name: string, { memory, cpus }: Parent): Promise<Fork> {
    const { onStep, exitNow } = this.#options;
    const ending = new Ending({ onStep: (step, cause) => onStep(name, step, cause), exitNow });
    return { name, ending, control: await Control.open({ name, memory, cpus, ending, forks: this }) };
  }

  #begin(fork: Fork, machine: Machine): void {
    const { name, ending, control } = fork;
    // Its console is read, whoever looks: it goes on as if everybody did.
    const shown = new Promise<void>((resolve) => {
      machine.console.once('end', resolve).once('close', resolve);
      machine.console.on('data', (chunk: Buffer) => control.consoles.show(chunk));
    });
    machine.on('warning', ({ source, device, message }) =>
      this.#options.warn(`${name}: warning: ${device ?? source}: ${message}`),
    );
    ending.attach(machine, this.#options.stopTimeoutMs);
    control.started(machine);
    this.#living.add(name);
    void this.#waitFor(this.#live(fork, machine, shown));
    this.#options.ending.include(ending);
  }

  async #live({ name, ending, control }: Fork, machine: Machine, shown: Promise<void>): Promise<void> {
    const exit = await machine.exited;
    ending.over();
    this.#options.ending.exclude(ending);
    control.ended(exit.reason);
    await shown;
    await control.close();
    this.#living.delete(name);
    this.#options.say(`${name} has ended (${exit.reason === 'error' ? exit.error.message : exit.reason})`);
  }

  #waitFor<T>(task: Promise<T>): Promise<T> {
    const done = task.finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
    return done;
  }
}

function givenNames(name: string, count: number | undefined): string[] {
  if (count === undefined) return [name];
  return Array.from({ length: count }, (_, i) => parseMachineName(`${name}-${i + 1}`, '--name'));
}

/** Names that nobody seems to have: web-fork1 and so on. */
function freeNames(parent: string, count: number): string[] {
  const taken = new Set(namesIn(runtimeDirectory()));
  const names: string[] = [];
  for (let number = 1; names.length < count; number++) {
    const ending = `-fork${number}`;
    const name = parent.slice(0, longestName - ending.length) + ending;
    if (!taken.has(name)) names.push(name);
  }
  return names;
}
