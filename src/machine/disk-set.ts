/** The disks of one machine, opened and locked together, closed together. Main thread. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { BlockReader } from '../disk/block-reader.js';
import { type DiskFile, openDiskFile } from '../disk/disk-file.js';
import { quote } from '../disk/range.js';
import { openRawImage } from '../disk/raw-image.js';
import { TsvmmError } from '../errors.js';
import type { BlockSize } from '../virtio/blk/blk-format.js';
import type { DiskConfig, UserDiskConfig } from './disk-options.js';
import type { Warning } from './events.js';
import { UserDiskFile } from './user-disk-file.js';

export interface OpenedDisk {
  readonly config: DiskConfig | UserDiskConfig;
  readonly file: DiskFile | UserDiskFile;
  /**
   * Bytes: what its partition table counts in, for a guest finds it only on a disk of that block size; without one, what
   * direct I/O goes by.
   */
  readonly blockSize: BlockSize;
}

export class DiskSet {
  readonly disks: readonly OpenedDisk[];

  constructor(disks: readonly OpenedDisk[]) {
    this.disks = disks;
  }

  /** The image as the boot code reads it; an ephemeral disk boots from what its image carries. Closed by the caller. */
  async openForBoot(index: number, signal: AbortSignal): Promise<BlockReader & AsyncDisposable> {
    const { file } = this.disks[index]!;
    return file instanceof UserDiskFile ? file.reader(signal) : openRawImage(file.path, { format: 'raw' });
  }

  async close(): Promise<void> {
    await Promise.all(this.disks.map(({ file }) => file.close()));
  }
}

export interface DiskHooks {
  /** What a disk of the program's did wrong; few. */
  warning(warning: Warning): void;
  /** Ends the wait for one. */
  readonly signal: AbortSignal;
}

const noHooks: DiskHooks = { warning: () => {}, signal: new AbortController().signal };

/** Opens all or none. Images of other formats are refused by their name before anything is locked. */
export async function openDisks(configs: readonly (DiskConfig | UserDiskConfig)[], hooks = noHooks): Promise<DiskSet> {
  const disks: OpenedDisk[] = [];
  try {
    for (const config of configs) {
      if ('disk' in config) {
        disks.push(await openUserDisk(config, `disk${disks.length}`, hooks));
        continue;
      }
      const { path, explicitRaw, ephemeral, cache } = config;
      await using image = await openRawImage(path, explicitRaw ? { format: 'raw' } : {});
      const layout = await layoutOf(image);
      const readOnly = config.readOnly || (ephemeral === false && (await isUnwritableCd(path)));
      const file = await openDiskFile({ path, readOnly, ephemeral, cache });
      const opened = { config, file, blockSize: layout.blockSize };
      disks.push(opened); // from here on it is closed with the others
      opened.blockSize = blockSizeFor(file, layout);
    }
    return new DiskSet(disks);
  } catch (error) {
    await new DiskSet(disks).close();
    throw error;
  }
}

async function openUserDisk(config: UserDiskConfig, device: string, hooks: DiskHooks): Promise<OpenedDisk> {
  const { signal } = hooks;
  const warn = (message: string, suppressed: number, cause: unknown): void =>
    hooks.warning({ source: 'host', device, message, suppressed, ...(cause === undefined ? {} : { cause }) });
  const file = await UserDiskFile.open(config.disk, device, warn, signal);
  try {
    await using reader = file.reader(signal);
    return { config, file, blockSize: file.blockSize ?? (await layoutOf(reader)).blockSize };
  } catch (error) {
    await file.close();
    throw error;
  }
}

const gptSignature = 'EFI PART';
/** Types of the four entries of an MBR, and that which announces a GPT (UEFI 2.10 §5.2.3). */
const mbrTypes = [450, 466, 482, 498];
const protective = 0xee;

/** How a disk's content counts its blocks. */
interface Layout {
  readonly blockSize: BlockSize;
  /** There is a table, or another boot sector: it is wrong on a disk with other blocks. */
  readonly fixed: boolean;
}

/** What the guest is told: direct I/O cannot do less than its unit, and the content cannot do with more than its own. */
function blockSizeFor({ path, open }: DiskFile, { blockSize, fixed }: Layout): BlockSize {
  const unit = open.direct?.offset ?? blockSize;
  if (unit <= blockSize) return blockSize;
  if (!fixed) return 4096; // openDirect knows one unit beyond a sector
  throw new TsvmmError(
    'ERR_TSVMM_DISK_FORMAT',
    `${quote(path)} counts in blocks of ${blockSize} bytes, and direct I/O goes by ${unit} bytes here`,
    {
      hint: "use cache: 'writeback', or keep the image on a device with 512-byte blocks",
      details: { path, blockSize: unit },
    },
  );
}

/** A disk without a GPT, or with one for 512-byte sectors as nearly all have, costs one look at its beginning. */
async function layoutOf(image: BlockReader): Promise<Layout> {
  const head = await image.read(0, Math.min(image.size, 4096 + gptSignature.length));
  const hasHeader = (at: number): boolean => head.toString('latin1', at, at + gptSignature.length) === gptSignature;
  const fixed = head[510] === 0x55 && head[511] === 0xaa;
  if (!mbrTypes.some((at) => head[at] === protective) || (hasHeader(512) && !hasHeader(4096)))
    return { blockSize: 512, fixed: fixed || hasHeader(512) };
  const { readPartitions } = await import('../boot/disk/partition-table.js');
  return { blockSize: (await readPartitions(image)).sectorSize, fixed: true };
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
