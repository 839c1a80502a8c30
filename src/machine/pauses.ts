/**
 * Pausing and resuming a machine, one after the other, however often and whoever asks. Main thread.
 *
 * A guest that resets while it is to be paused is paused when it is back. Its clocks go on: when it is resumed it finds that time
 * has passed, as after a suspend of its host.
 */
import { TsvmmError } from '../errors.js';
import type { CallOptions } from './console.js';
import type { PowerCycle } from './power-cycle.js';
import type { VmState } from './states.js';
import type { Duration } from './units.js';

/** For what its devices have under way. */
const defaultTimeout: Duration = '10s';

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

  pause({ signal, timeout = defaultTimeout }: CallOptions): Promise<void> {
    return this.#inTurn(async () => {
      signal?.throwIfAborted();
      if (this.#machine.state() === 'paused') return;
      let cycle: PowerCycle;
      do {
        await this.#machine.settled();
        cycle = this.#running('paused');
        await this.#pauseCycle(cycle, { signal, timeout });
      } while (cycle.isOver);
      if (this.#machine.state() !== 'running') await cycle.resume(); // it is being stopped, for which it must run
      this.#running('paused');
      this.#machine.moveTo('paused');
    });
  }

  resume({ signal }: CallOptions): Promise<void> {
    return this.#inTurn(async () => {
      signal?.throwIfAborted();
      if (this.#machine.state() === 'running') return;
      await this.#running('resumed', 'paused').resume();
      this.#machine.moveTo('running');
    });
  }

  /** One that ends its power cycle meanwhile is not paused, and that is no failure. */
  async #pauseCycle(cycle: PowerCycle, limits: Parameters<PowerCycle['pause']>[0]): Promise<void> {
    try {
      await cycle.pause(limits);
    } catch (error) {
      if (!cycle.isOver) throw error;
    }
  }

  #running(what: string, wanted: VmState = 'running'): PowerCycle {
    const cycle = this.#machine.cycle();
    const state = this.#machine.state();
    if (state === wanted && cycle !== undefined) return cycle;
    throw new TsvmmError('ERR_TSVMM_STATE', `a machine that is ${state} cannot be ${what}`);
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => {});
    return done;
  }
}
