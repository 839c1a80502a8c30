/** The disks of one machine, opened and locked together, closed together. Main thread. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { BlockReader } from '../disk/block-reader.js';
import { type DiskFile, openDiskFile } from '../disk/disk-file.js';
import { openRawImage } from '../disk/raw-image.js';
import type { DiskConfig } from './disk-options.js';

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
      const { path, explicitRaw, ephemeral } = config;
      if (!explicitRaw) await (await openRawImage(path)).close();
      const readOnly = config.readOnly || (ephemeral === false && (await isUnwritableCd(path)));
      disks.push({ config, file: await openDiskFile({ path, readOnly, ephemeral }) });
    }
    return new DiskSet(disks);
  } catch (error) {
    await new DiskSet(disks).close();
    throw error;
  }
}

/** A CD image that may not be written is read-only without being told so: nobody writes to one. */
async function isUnwritableCd(path: string): Promise<boolean> {
  const isWritable = await access(path, constants.W_OK).then(
    () => true,
    () => false, // whatever is wrong is said when the file is opened
  );
  if (isWritable) return false;
  const { isCdImage } = await import('../boot/fs/iso/iso.js');
  await using image = await openRawImage(path, { format: 'raw' });
  return await isCdImage(image);
}
