/**
 * Forking a machine: what a fork may differ in, and how many there are. Main thread.
 *
 * A fork has the parent's memory by copy-on-write, its registers and its clocks, and is a machine of its own from then on: it
 * may fork, reboot and outlive its parent.
 */
import { setMaxListeners } from 'node:events';
import { type ClockPolicy, clockPolicies } from '../kvm/clock-save.js';
import { allOrNone } from './all-settled.js';
import { bad, hasOptions, integer, known, oneOf, type Path } from './checks.js';
import type { CallOptions } from './console.js';
import type { Disk } from './disk.js';
import { diskList } from './disk-list.js';
import type { DiskOptions } from './disk-options.js';
import { FrozenDisks, freezeMachine, type OtherDisks } from './frozen-disks.js';
import type { Origin } from './hardware.js';
import {
  type ConsoleReaderOptions,
  changedConsole,
  type Logger,
  logger,
  machineName,
  type VmConfig,
} from './options.js';
import type { Pauses } from './pauses.js';

export interface ReviveOptions {
  /** Default: that of the machine that it goes on from, in a fork with its number behind it. */
  name?: string | undefined;
  /** `catch-up` (default): the guest finds that time has passed. `keep`: its clocks go on from where they were. */
  clock?: ClockPolicy | undefined;
  /** Other disks than those it had, by their number. They must be as a driver that knows the old ones expects. */
  disks?: Record<number, Path | DiskOptions | Disk> | undefined;
  /** Who reads what the guest prints from now on. Default: as it was. The device stays. */
  console?: ConsoleReaderOptions | undefined;
  logger?: Logger | undefined;
}

export interface ForkOptions extends CallOptions, ReviveOptions {
  /** How many; then the result is a list. */
  count?: number | undefined;
  /** With `count`: the name of each. */
  names?: readonly string[] | undefined;
}

/** `ReviveOptions`, checked. */
export interface ReviveConfig {
  readonly name: string | undefined;
  readonly clock: ClockPolicy;
  readonly disks: OtherDisks;
  readonly console: VmConfig['console'];
  readonly logger: Logger | undefined;
}

const maxForks = 1000;
const maxName = 64;

export const reviveOptionNames = ['name', 'clock', 'disks', 'console', 'logger'] as const;

/** Of a machine that had so many disks, and this console. */
export function reviveConfig(options: ReviveOptions, disks: number, console: VmConfig['console']): ReviveConfig {
  return {
    name: options.name === undefined ? undefined : machineName(options.name),
    clock: oneOf('clock', options.clock ?? 'catch-up', clockPolicies),
    disks: otherDisks(options.disks ?? {}, disks),
    console: changedConsole(options.console ?? {}, console),
    logger: logger(options.logger),
  };
}

export class Forks<M extends AsyncDisposable> {
  readonly #parent: VmConfig;
  readonly #pauses: Pauses;
  readonly #launch: (config: VmConfig, origin: Origin) => Promise<M>;
  #made = 0;

  constructor(parent: VmConfig, pauses: Pauses, launch: (config: VmConfig, origin: Origin) => Promise<M>) {
    this.#parent = parent;
    this.#pauses = pauses;
    this.#launch = launch;
  }

  async make(options: ForkOptions = {}): Promise<M | M[]> {
    if (!hasOptions(options)) throw bad('fork: expected options', 'pass { count }, or nothing');
    known('fork', options, ['count', 'names', 'signal', 'timeout', ...reviveOptionNames]);
    const count = integer('fork: count', options.count ?? 1, 1, maxForks);
    const config = reviveConfig(options, this.#parent.disks.length, this.#parent.console);
    if (options.count !== undefined && config.name !== undefined)
      throw bad('fork: one name for a list of machines', 'leave out name, or pass { count, names }');
    const names = forkNames(options.names, options.count);
    const { disks } = this.#parent;
    await FrozenDisks.prepare(disks, config.disks);
    const { image, frozen } = await this.#pauses.still('forked', options, (cycle) =>
      freezeMachine(cycle, disks, config.disks, options),
    );
    try {
      const origin = { image, clock: config.clock };
      const made = await this.#start(count, options.signal, (i, signal) => {
        const own = { ...config, name: names?.[i] ?? config.name };
        return frozen.forOne(config.disks, (copies) => this.#launch(this.#config(own, copies, signal), origin));
      });
      return options.count === undefined ? made[0]! : made;
    } finally {
      image.release();
      await frozen.release();
    }
  }

  /** `signal` is for the call: forks that it has made do not end with it. */
  async #start(
    count: number,
    signal: AbortSignal | undefined,
    launch: (index: number, signal: AbortSignal) => Promise<M>,
  ): Promise<M[]> {
    const starting = new AbortController();
    setMaxListeners(0, starting.signal); // each machine is one
    const onAbort = (): void => starting.abort(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      const made = await allOrNone(Array.from({ length: count }, async (_, i) => launch(i, starting.signal)));
      if (!starting.signal.aborted) return made;
      await Promise.allSettled(made.map((one) => one[Symbol.asyncDispose]()));
      throw starting.signal.reason;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** As its parent, but for its name, its disks and who reads it; memory is there when it is touched. */
  #config({ name: given, console, logger }: ReviveConfig, disks: readonly Disk[], signal: AbortSignal): VmConfig {
    const parent = this.#parent;
    const ending = `-fork${++this.#made}`;
    const name = given ?? parent.name.slice(0, maxName - ending.length) + ending;
    const memory = { ...parent.memory, prefault: false }; // it would share none of it
    return { ...parent, name, memory, disks, console, logger: logger ?? parent.logger, signal };
  }
}

function forkNames(value: unknown, count: number | undefined): string[] | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.length === count) return value.map((name) => machineName(name));
  throw bad('fork: names: expected a name for each fork', "pass { count: 2, names: ['one', 'two'] }");
}

function otherDisks(value: object, disks: number): Map<number, () => Disk> {
  if (!hasOptions(value)) throw bad('disks: expected disks by their number', 'pass { 0: "other.img" }');
  return new Map(
    Object.entries(value).map(([key, disk]) => {
      const index = integer('disks', /^\d+$/.test(key) ? Number(key) : key, 0, disks - 1);
      const make = (): Disk => diskList([disk])[0]!;
      make(); // a mistake is one before anything is done
      return [index, make];
    }),
  );
}
