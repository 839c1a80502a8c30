/**
 * Changes of a machine's disks: in a power cycle while its guest's requests wait, between two of them at once, and the next
 * one waits. Main thread.
 */
import { TsvmmError } from '../errors.js';
import { abortable } from './abortable.js';
import type { Disk } from './disk.js';
import type { DiskHost, MediumChange } from './disk-host.js';
import type { PowerCycle } from './power-cycle.js';

/** What is asked of the machine. */
export interface ChangingMachine {
  /** A power-on under way: resolves, however it ends. */
  poweringOn(): Promise<unknown> | undefined;
  cycle(): PowerCycle | undefined;
  /** For messages, of one that ends; undefined while it does not. */
  ending(): string | undefined;
}

export class DiskChanges {
  readonly #machine: ChangingMachine;
  #settled: Promise<unknown> = Promise.resolve();

  constructor(machine: ChangingMachine) {
    this.#machine = machine;
  }

  /** Resolves when nothing is done to a medium any more, outside of a power cycle or in one that has been closed. */
  get settled(): Promise<unknown> {
    return this.#settled;
  }

  /** The machine, as its disk at `index` sees it. */
  host(index: number, disk: Disk): DiskHost {
    return {
      change: (change) => this.#change(index, change),
      limit: () => void this.#limit(index, disk),
    };
  }

  /** A start under way may have read the limit before: what holds is what it is then. */
  async #limit(index: number, disk: Disk): Promise<void> {
    await this.#machine.poweringOn();
    this.#machine.cycle()?.limitDisk(index, disk.drive.limit);
  }

  async #change(index: number, change: MediumChange): Promise<void> {
    for (;;) {
      change.signal?.throwIfAborted();
      this.#refuseEnding();
      const powering = this.#machine.poweringOn();
      if (powering !== undefined) {
        await abortable(powering, change.signal);
        continue;
      }
      // From the look above on without a pause: what powers on next waits for this.
      const cycle = this.#machine.cycle();
      const changing =
        cycle === undefined
          ? change.prepare().then((medium) => change.commit(medium))
          : cycle.changeDisk(index, change);
      this.#settled = Promise.allSettled([this.#settled, changing]).then(() => {}); // of many no more than the last is kept
      try {
        return await changing;
      } catch (error) {
        // A guest that resets meanwhile has the change when it is back.
        if (cycle?.isClosing !== true || this.#machine.ending() !== undefined) throw error;
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
