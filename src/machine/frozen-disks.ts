/** All disks of a machine at one instant, and those of the machines that go on from there. Main thread. */
import type { CallOptions } from './console.js';
import { Disk } from './disk.js';
import type { FrozenDisk } from './frozen-disk.js';
import type { MachineImage } from './machine-image.js';
import type { PowerCycle } from './power-cycle.js';

/** Another disk than the machine had: made for each machine that has it. */
export type OtherDisks = ReadonlyMap<number, () => Disk>;

export class FrozenDisks {
  readonly #disks: readonly Disk[];
  /** Undefined for one that nobody needs. */
  readonly frozen: readonly (FrozenDisk | undefined)[];

  private constructor(disks: readonly Disk[], frozen: readonly (FrozenDisk | undefined)[]) {
    this.#disks = disks;
    this.frozen = frozen;
  }

  /** Does beforehand what may take long. */
  static async prepare(disks: readonly Disk[], others?: OtherDisks): Promise<void> {
    await Promise.all(disks.map((disk, index) => (others?.has(index) ? undefined : disk.prepareFreeze())));
  }

  /** The machine stands still, and its disks are held. All or none. */
  static async freeze(
    disks: readonly Disk[],
    others: OtherDisks | undefined,
    options: CallOptions,
  ): Promise<FrozenDisks> {
    const results = await Promise.allSettled(
      disks.map(async (disk, index) => (others?.has(index) ? undefined : disk.freeze(options))),
    );
    const frozen = results.map((result) => (result.status === 'fulfilled' ? result.value : undefined));
    const made = new FrozenDisks(disks, frozen);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) return made;
    await made.release();
    throw failed.reason;
  }

  /** Calls `use` with the disks of one machine: copies of its own, which go with it or if it fails to start; and others. */
  async forOne<T>(others: OtherDisks, use: (disks: readonly Disk[]) => Promise<T>): Promise<T> {
    const own: FrozenDisk[] = [];
    try {
      const disks = this.#disks.map((disk, index) => {
        const other = others.get(index)?.();
        if (other === undefined) {
          const frozen = this.frozen[index]!.hold();
          own.push(frozen);
          return Disk.ofFrozen(frozen);
        }
        if (disk.told !== undefined) other.assume(disk.told);
        return other;
      });
      return await use(disks);
    } catch (error) {
      await Promise.all(own.map((frozen) => frozen.release()));
      throw error;
    }
  }

  /** Of a machine whose disks are all frozen. */
  get all(): FrozenDisk[] {
    return this.frozen.map((disk) => disk!);
  }

  async release(): Promise<void> {
    await Promise.all(this.frozen.map((disk) => disk?.release()));
  }
}

/**
 * A machine that stands still: all of it at this instant. What its driver knows of a disk is in memory, too: none is changed.
 * `options` are for what a disk waits for.
 */
export async function freezeMachine(
  cycle: PowerCycle,
  disks: readonly Disk[],
  others: OtherDisks | undefined,
  { signal, timeout }: CallOptions,
): Promise<{ readonly image: MachineImage; readonly frozen: FrozenDisks }> {
  cycle.checkCapture();
  const holds = await Promise.allSettled(disks.map((disk) => disk.hold()));
  try {
    for (const hold of holds) if (hold.status === 'rejected') throw hold.reason;
    const frozen = await FrozenDisks.freeze(disks, others, { signal, timeout });
    try {
      return { frozen, image: await cycle.capture() };
    } catch (error) {
      await frozen.release();
      throw error;
    }
  } finally {
    for (const hold of holds) if (hold.status === 'fulfilled') hold.value();
  }
}
