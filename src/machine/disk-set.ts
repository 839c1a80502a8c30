/** The disks of one machine: taken together, given back together. Main thread. */
import type { BlockReader } from '../disk/block-reader.js';
import { TsvmmError } from '../errors.js';
import type { DiskWarning } from '../threads/user-disk-requests.js';
import type { Disk } from './disk.js';
import type { DiskHost } from './disk-host.js';
import type { Warning } from './events.js';

export interface DiskHooks {
  /** The machine, as the disk at `index` sees it. */
  host(index: number): DiskHost;
  /** What a disk of the program's did wrong; few. */
  warning(warning: Warning): void;
  /** Ends the wait for one. */
  readonly signal: AbortSignal;
}

export class DiskSet {
  readonly disks: readonly Disk[];

  /** Takes all or none. */
  static async take(disks: readonly Disk[], hooks: DiskHooks): Promise<DiskSet> {
    const { signal } = hooks;
    const taken: Disk[] = [];
    try {
      for (const [index, disk] of disks.entries()) {
        const device = `disk${index}`;
        await disk.attach(hooks.host(index), { what: device, warn: warner(device, hooks), signal });
        taken.push(disk);
      }
      return new DiskSet(disks);
    } catch (error) {
      await new DiskSet(taken).close();
      throw error;
    }
  }

  private constructor(disks: readonly Disk[]) {
    this.disks = disks;
  }

  /** For the boot; closed by the caller. */
  async openForBoot(index: number, signal: AbortSignal): Promise<BlockReader & AsyncDisposable> {
    const { medium } = this.disks[index]!;
    if (medium !== undefined) return medium.reader(signal);
    throw new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `there is nothing to boot from in disk${index}`, {
      hint: 'put a disk into it before the guest restarts, or boot from another',
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.disks.map((disk) => disk.detach()));
  }
}

const warner =
  (device: string, hooks: DiskHooks): DiskWarning =>
  (message, suppressed, cause) =>
    hooks.warning({ source: 'host', device, message, suppressed, ...(cause === undefined ? {} : { cause }) });
