/** The disks of one machine, opened and locked together, closed together. Main thread. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { BlockReader } from '../disk/block-reader.js';
import { type DiskFile, openDiskFile } from '../disk/disk-file.js';
import { openRawImage } from '../disk/raw-image.js';
import type { BlockSize } from '../virtio/blk/blk-format.js';
import type { DiskConfig } from './disk-options.js';

export interface OpenedDisk {
  readonly config: DiskConfig;
  readonly file: DiskFile;
  /** Bytes: what its partition table counts in, for a guest finds it only on a disk of that block size. */
  readonly blockSize: BlockSize;
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
      await using image = await openRawImage(path, explicitRaw ? { format: 'raw' } : {});
      const blockSize = await blockSizeOf(image);
      const readOnly = config.readOnly || (ephemeral === false && (await isUnwritableCd(path)));
      disks.push({ config, file: await openDiskFile({ path, readOnly, ephemeral }), blockSize });
    }
    return new DiskSet(disks);
  } catch (error) {
    await new DiskSet(disks).close();
    throw error;
  }
}

const gptSignature = 'EFI PART';
/** Types of the four entries of an MBR, and that which announces a GPT (UEFI 2.10 §5.2.3). */
const mbrTypes = [450, 466, 482, 498];
const protective = 0xee;

/** A disk without a GPT, or with one for 512-byte sectors as nearly all have, costs one look at its beginning. */
async function blockSizeOf(image: BlockReader): Promise<BlockSize> {
  const head = await image.read(0, Math.min(image.size, 4096 + gptSignature.length));
  const hasHeader = (at: number): boolean => head.toString('latin1', at, at + gptSignature.length) === gptSignature;
  if (!mbrTypes.some((at) => head[at] === protective) || (hasHeader(512) && !hasHeader(4096))) return 512;
  const { readPartitions } = await import('../boot/disk/partition-table.js');
  return (await readPartitions(image)).sectorSize;
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
