/**
 * Pausing and resuming a machine, and what is done to it while it stands still; one after the other, however often and whoever
 * asks. Main thread.
 *
 * A guest that resets while it is to be paused is paused when it is back.
 */
import { TsvmmError } from '../errors.js';
import { type ClockPolicy, clockPolicies } from '../kvm/clock-save.js';
import { abortable, type Limits } from './abortable.js';
import { oneOf } from './checks.js';
import type { CallOptions } from './console.js';
import type { CopyAhead } from './copy-ahead.js';
import type { PowerCycle } from './power-cycle.js';
import type { VmState } from './states.js';
import { type Duration, parseDuration } from './units.js';

/** For what its devices have under way, whenever they are to come to rest. */
const defaultTimeout: Duration = '10s';

/** Checked before anything is begun. */
const limitsOf = ({ signal, timeout = defaultTimeout }: CallOptions): Limits => ({
  signal,
  timeout: parseDuration('timeout', timeout),
});

export interface ResumeOptions extends CallOptions {
  /**
   * `catch-up` (default): its clocks have gone on, and it finds that time has passed, as after a suspend of its host. `keep`:
   * they go on from where they were, as if nothing had been; then they are late.
   */
  clock?: ClockPolicy | undefined;
}

/** What is asked of the machine. */
export interface PausedMachine {
  state(): VmState;
  /** Resolves when neither a power-on nor a reboot is under way. */
  settled(): Promise<unknown>;
  cycle(): PowerCycle | undefined;
  moveTo(state: 'running' | 'paused'): void;
}

export class Pauses {
  readonly #machine: PausedMachine;
  #last: Promise<unknown> = Promise.resolve();

  constructor(machine: PausedMachine) {
    this.#machine = machine;
  }

  pause(options: CallOptions): Promise<void> {
    return this.#inTurn(async () => {
      const { signal, timeout } = limitsOf(options);
      signal?.throwIfAborted();
      if (this.#machine.state() === 'paused') return;
      await this.#stopRunning('paused', { signal, timeout });
      this.#machine.moveTo('paused');
    });
  }

  resume({ signal, clock = 'catch-up' }: ResumeOptions): Promise<void> {
    return this.#inTurn(async () => {
      const policy = oneOf('clock', clock, clockPolicies);
      signal?.throwIfAborted();
      if (this.#machine.state() === 'running') return;
      await this.#inState('paused', 'resumed').resume(policy);
      // Its guest may have ended it already: then `exited` says how.
      if (this.#machine.state() === 'paused') this.#machine.moveTo('running');
    });
  }

  /**
   * `task` while the machine stands still: one that runs goes on afterwards, one that is paused stays so. Resolves with what
   * `task` has made of it, when the machine is about to go on: whoever makes another of that need not wait.
   */
  async still<T>(what: string, options: CallOptions, task: (cycle: PowerCycle) => Promise<T>): Promise<T> {
    const limits = limitsOf(options);
    limits.signal?.throwIfAborted();
    // Nobody can share what is not there. It may take long, and what was there stays: whoever else asks comes first.
    await abortable(this.#machine.cycle()?.source?.complete() ?? Promise.resolve(), limits.signal);
    return new Promise((resolve, reject) => {
      const done = this.#inTurn(async () => {
        const { value, goesOn } = await this.#still(what, limits, task);
        resolve(value);
        await goesOn; // if it cannot, it has ended, and its listeners hear of that
      });
      done.catch(reject);
    });
  }

  async #still<T>(
    what: string,
    limits: Limits,
    task: (cycle: PowerCycle) => Promise<T>,
  ): Promise<{ readonly value: T; readonly goesOn: Promise<void> | undefined }> {
    limits.signal?.throwIfAborted();
    if (this.#machine.state() === 'paused') {
      const cycle = this.#inState('paused', what);
      try {
        return { value: await task(cycle), goesOn: undefined };
      } finally {
        cycle.ahead.end();
      }
    }
    const ahead = await this.#copyAhead(limits);
    try {
      const cycle = await this.#stopRunning(what, limits);
      const goOn = (): Promise<void> | undefined => (cycle.isOver ? undefined : cycle.resume('catch-up'));
      try {
        return { value: await task(cycle), goesOn: goOn() };
      } catch (error) {
        await goOn();
        throw error;
      } finally {
        cycle.ahead.end();
      }
    } finally {
      ahead?.end(); // of another power cycle, if its guest has reset
    }
  }

  /** Of a machine that runs; what ends its power cycle meanwhile is no failure. */
  async #copyAhead(limits: Limits): Promise<CopyAhead | undefined> {
    await this.#machine.settled();
    const cycle = this.#machine.state() === 'running' ? this.#machine.cycle() : undefined;
    try {
      await cycle?.ahead.run(limits);
    } catch (error) {
      if (!cycle!.isOver) throw error;
    }
    return cycle?.ahead;
  }

  /** Its power cycle, which stands still; the state is as it was. */
  async #stopRunning(what: string, limits: Limits): Promise<PowerCycle> {
    let cycle: PowerCycle;
    do {
      await this.#machine.settled();
      cycle = this.#inState('running', what);
      await this.#pauseCycle(cycle, limits);
    } while (cycle.isOver);
    if (this.#machine.state() !== 'running') await cycle.resume('catch-up'); // it is being stopped, for which it must run
    return this.#inState('running', what);
  }

  /** One that ends its power cycle meanwhile is not paused, and that is no failure. */
  async #pauseCycle(cycle: PowerCycle, limits: Limits): Promise<void> {
    try {
      await cycle.pause(limits);
    } catch (error) {
      if (!cycle.isOver) throw error;
    }
  }

  #inState(wanted: 'running' | 'paused', what: string): PowerCycle {
    const cycle = this.#machine.cycle();
    const state = this.#machine.state();
    if (state === wanted && cycle !== undefined) return cycle;
    throw new TsvmmError('ERR_TSVMM_STATE', `a machine that is ${state} cannot be ${what}`);
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => {});
    return done;
  }
}
