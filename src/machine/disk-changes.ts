/**
 * Changes of a machine's disks: in a power cycle while its guest's requests wait, between two of them at once, and the next
 * one waits. Main thread.
 */
import { TsvmmError } from '../errors.js';
import type { Disk, DiskHost, MediumChange } from './disk.js';
import type { PowerCycle } from './power-cycle.js';

/** What is asked of the machine. */
export interface ChangingMachine {
  /** Resolves when no power-on is under way. */
  powered(): Promise<void>;
  cycle(): PowerCycle | undefined;
  /** For messages, of one that ends; undefined while it does not. */
  ending(): string | undefined;
}

export class DiskChanges {
  readonly #machine: ChangingMachine;
  #between: Promise<unknown> = Promise.resolve();

  constructor(machine: ChangingMachine) {
    this.#machine = machine;
  }

  /** Resolves when none is under way outside of a power cycle. */
  get settled(): Promise<unknown> {
    return this.#between;
  }

  /** The machine, as its disk at `index` sees it. */
  host(index: number, disk: Disk): DiskHost {
    return {
      change: (change) => this.#change(index, change),
      limit: () => {
        // A start under way may have read the limit before: what holds is what it is then.
        const limitNow = (): void => this.#machine.cycle()?.limitDisk(index, disk.drive.limit);
        this.#machine.powered().then(limitNow, limitNow);
      },
    };
  }

  async #change(index: number, change: MediumChange): Promise<void> {
    for (;;) {
      await this.#machine.powered();
      this.#refuseEnding();
      const cycle = this.#machine.cycle();
      if (cycle === undefined) {
        const changing = change.prepare().then((medium) => change.commit(medium));
        this.#between = Promise.allSettled([this.#between, changing]);
        return changing;
      }
      try {
        return await cycle.changeDisk(index, change);
      } catch (error) {
        // A guest that resets meanwhile has the change when it is back.
        if (!cycle.isClosing || this.#machine.ending() !== undefined) throw error;
      }
      await cycle.close();
    }
  }

  #refuseEnding(): void {
    const ending = this.#machine.ending();
    if (ending !== undefined)
      throw new TsvmmError('ERR_TSVMM_STATE', `the machine is ${ending}: its disks cannot be changed`);
  }
}
