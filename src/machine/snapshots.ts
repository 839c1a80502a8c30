/**
 * Snapshots of one machine: taken while it stands still for a moment, written while it goes on. Main thread.
 *
 * What a snapshot shows of memory is remembered by the identity of its manifest, so that the next one can be a difference to it.
 */
import type { RamPiece } from '../memory/ram.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import { bad, hasOptions, known, oneOf, type Path, path } from './checks.js';
import type { CallOptions } from './console.js';
import type { FrozenDisk } from './frozen-disk.js';
import { FrozenDisks, freezeMachine } from './frozen-disks.js';
import type { MachineImage } from './machine-image.js';
import type { VmConfig } from './options.js';
import type { Pauses } from './pauses.js';
import { contentOf, type DiskPolicy, diskPolicies, driveOf } from './saved-disks.js';
import { describe, sectionsOf } from './saved-machine.js';
import { Snapshot } from './snapshot.js';

export interface SnapshotOptions extends CallOptions {
  /** Write only what has changed since this one, which was taken of this machine, or from which it was restored. */
  diffFrom?: Snapshot | undefined;
  /**
   * `copy` (default): the snapshot has what is in its disks, but for those that cannot be written. `reference`: it says which
   * images they are, and the machine can be restored for as long as nobody has written to them since.
   */
  disks?: DiskPolicy | undefined;
  /** Bytes of memory and disks that are done with, of how many. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Of so many snapshots a machine knows what they show of its memory. */
const mostKnown = 256;

export class Snapshots {
  readonly #config: VmConfig;
  readonly #pauses: Pauses;
  /** By the identity of a manifest. */
  readonly #known = new Map<string, readonly RamPiece[]>();

  constructor(config: VmConfig, pauses: Pauses) {
    this.#config = config;
    this.#pauses = pauses;
  }

  /** Its memory is what this snapshot shows. */
  note({ sha256 }: OpenSnapshot, pieces: readonly RamPiece[]): void {
    this.#known.set(sha256, pieces);
    if (this.#known.size > mostKnown) this.#known.delete(this.#known.keys().next().value!);
  }

  async take(directory: Path, options: SnapshotOptions = {}): Promise<Snapshot> {
    const place = path('snapshot', directory);
    if (!hasOptions(options)) throw bad('snapshot: expected options', 'pass { diffFrom }, or nothing');
    known('snapshot', options, ['diffFrom', 'disks', 'onProgress', 'signal', 'timeout']);
    const policy = oneOf('snapshot: disks', options.disks ?? 'copy', diskPolicies);
    const { diffFrom, signal, onProgress } = options;
    const parent = diffFrom === undefined ? undefined : this.#parent(diffFrom);
    const { disks } = this.#config;
    await FrozenDisks.prepare(disks);
    const { image, frozen } = await this.#pauses.still('snapshotted', options, (cycle) =>
      freezeMachine(cycle, disks, undefined, options),
    );
    try {
      await this.#write(place, image, frozen.all, policy, parent, { signal, onProgress });
      const snapshot = await Snapshot.open(place);
      this.note(snapshot.opened, image.parts.memory);
      return snapshot;
    } finally {
      image.release();
      await frozen.release();
    }
  }

  #parent(from: unknown): { readonly snapshot: OpenSnapshot; readonly pieces: readonly RamPiece[] } {
    if (!(from instanceof Snapshot))
      throw bad('snapshot: diffFrom is no snapshot', 'pass what vm.snapshot() gave, or Snapshot.open(directory)');
    const pieces = this.#known.get(from.opened.sha256);
    if (pieces !== undefined) return { snapshot: from.opened, pieces };
    throw bad(
      `snapshot: ${from.directory} was not taken of this machine, nor was it restored from it`,
      'leave out diffFrom: the first snapshot of a machine is a whole one',
    );
  }

  async #write(
    place: string,
    image: MachineImage,
    frozen: readonly FrozenDisk[],
    policy: DiskPolicy,
    parent: { readonly snapshot: OpenSnapshot; readonly pieces: readonly RamPiece[] } | undefined,
    options: { readonly signal: AbortSignal | undefined; readonly onProgress: SnapshotOptions['onProgress'] },
  ): Promise<void> {
    const { writeSnapshot } = await import('../snapshot/write-snapshot.js');
    const content = {
      machine: describe(this.#config, image, frozen.map(driveOf)),
      sections: sectionsOf(image),
      memory: { regions: image.parts.regions, pieces: image.parts.memory },
      parent,
      disks: frozen.map((disk, index) => contentOf(disk, index, policy)),
    };
    await writeSnapshot(place, content, options);
  }
}
