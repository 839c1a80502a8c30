/** The disks of one machine, opened and locked together, closed together. Main thread. */
import type { BlockReader } from '../disk/block-reader.js';
import { type DiskFile, openDiskFile } from '../disk/disk-file.js';
import { openRawImage } from '../disk/raw-image.js';
import type { DiskConfig } from './options.js';

export interface OpenedDisk {
  readonly config: DiskConfig;
  readonly file: DiskFile;
}

export class DiskSet {
  readonly disks: readonly OpenedDisk[];

  constructor(disks: readonly OpenedDisk[]) {
    this.disks = disks;
  }

  /** The image as the boot code reads it; an ephemeral disk boots from what its image carries. Closed by the caller. */
  openForBoot(index: number): Promise<BlockReader & AsyncDisposable> {
    return openRawImage(this.disks[index]!.config.path, { format: 'raw' });
  }

  async close(): Promise<void> {
    await Promise.all(this.disks.map(({ file }) => file.close()));
  }
}

/** Opens all or none. Images of other formats are refused by their name before anything is locked. */
export async function openDisks(configs: readonly DiskConfig[]): Promise<DiskSet> {
  const disks: OpenedDisk[] = [];
  try {
    for (const config of configs) {
      if (!config.explicitRaw) await (await openRawImage(config.path)).close();
      const { path, readOnly, ephemeral } = config;
      disks.push({ config, file: await openDiskFile({ path, readOnly, ephemeral }) });
    }
    return new DiskSet(disks);
  } catch (error) {
    await new DiskSet(disks).close();
    throw error;
  }
}
