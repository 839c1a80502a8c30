/**
 * Parts of a machine's program that are loaded when one is first restored or written. Main thread.
 *
 * The promises are kept: Node takes a tenth of a millisecond to find out that it has a module already.
 */
import type { Path } from './checks.js';
import type { VmConfig } from './options.js';
import type { Pauses } from './pauses.js';
import type { Restored, RestoreOptions } from './restore.js';
import type { Snapshot } from './snapshot.js';
import type { Snapshots } from './snapshots.js';

let restoring: Promise<typeof import('./restore.js')> | undefined;
let writing: Promise<typeof import('./snapshots.js')> | undefined;

export async function openRestored(from: Path | Snapshot, options: RestoreOptions): Promise<Restored> {
  restoring ??= import('./restore.js');
  return (await restoring).openRestored(from, options);
}

export async function snapshotsOf(config: VmConfig, pauses: Pauses): Promise<Snapshots> {
  writing ??= import('./snapshots.js');
  return new (await writing).Snapshots(config, pauses);
}
