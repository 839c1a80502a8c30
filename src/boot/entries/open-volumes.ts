/**
 * Opens the file systems of a disk. Main thread.
 *
 * One damaged partition does not hide the others: its error becomes what is said about that partition.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { TsvmmError } from '../../errors.js';
import { type Partition, type PartitionTable, readPartitions } from '../disk/partition-table.js';
import { slice } from '../disk/slice.js';
import type { DiskBudget } from '../disk-budget.js';
import { BlockCache, defaultCacheBytes } from '../fs/block-cache.js';
import type { FileSystem } from '../fs/file-system.js';
import { readBootImages } from '../fs/iso/el-torito.js';
import { openIso } from '../fs/iso/iso.js';
import { probeFileSystem } from '../fs/probe.js';
import { BudgetedFileSystem } from './budgeted-files.js';
import type { InspectedPartition } from './inspection.js';
import type { Volume } from './volume.js';

export interface OpenDisk {
  readonly table: PartitionTable;
  readonly partitions: readonly InspectedPartition[];
  /** In the order of `partitions`. */
  readonly volumes: readonly Volume[];
}

export async function openVolumes(reader: BlockReader, budget: DiskBudget): Promise<OpenDisk> {
  const disk = new BlockCache(reader, defaultCacheBytes, budget);
  const table = await readPartitions(disk);
  const wholeDisk = part(0, 0, reader.size, '');
  const opened: Opened[] = [];
  for (const partition of table.scheme === 'none' ? [wholeDisk] : table.partitions) {
    budget.check();
    opened.push(await openPartition({ reader, disk, budget }, partition, table.scheme));
  }
  const iso = table.scheme === 'none' ? opened[0]?.volume?.fs : await hybridIso(disk, opened);
  const all =
    iso?.type === 'iso9660' ? await withBootImages({ reader, disk, budget }, opened, wholeDisk, iso, table) : opened;
  return {
    table,
    partitions: all.map(({ inspected }) => inspected),
    volumes: all.flatMap(({ volume }) => volume ?? []),
  };
}

/** Where the file systems of a disk are read from. */
interface Source {
  /** What the user knows the disk by, for commands in hints. */
  readonly reader: BlockReader;
  readonly disk: BlockCache;
  readonly budget: DiskBudget;
}

interface Opened {
  readonly inspected: InspectedPartition;
  readonly volume?: Volume | undefined;
}

const part = (index: number, start: number, size: number, typeName: string): Partition => ({
  index,
  start,
  size,
  type: '',
  typeName,
  name: '',
  uuid: '',
  bootable: false,
});

/**
 * A CD image that can be put on a disk has a partition table beside its ISO 9660 volume, which is the whole disk. A table
 * that was made later leaves the volume's descriptors in place as well: then a file system of another kind lies on it.
 */
async function hybridIso(disk: BlockCache, opened: readonly Opened[]): Promise<FileSystem | undefined> {
  try {
    const volume = await openIso(disk);
    return volume !== undefined && !opened.some(({ inspected }) => replaces(inspected)) ? volume : undefined;
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    return undefined; // remains of a volume, or a damaged one: what the partitions hold is there in both cases
  }
}

/** What a CD image's own partitions never hold, which are the volume again and boot images (FAT; HFS+ for a Mac). */
const replaces = ({ fileSystem, contents }: InspectedPartition): boolean =>
  fileSystem !== undefined
    ? fileSystem.type !== 'iso9660' && !fileSystem.type.startsWith('fat')
    : contents !== undefined && contents !== unreadable && contents !== 'HFS+';

/** The ISO 9660 volume first, then the partitions, without those that are the volume again, then the boot images in no partition. */
async function withBootImages(
  source: Source,
  partitions: readonly Opened[],
  wholeDisk: Partition,
  iso: FileSystem,
  { scheme }: PartitionTable,
): Promise<Opened[]> {
  const whole = scheme === 'none' ? [] : [openedAs(wholeDisk, iso, scheme, source.budget)];
  const isAgain = ({ volume }: Opened): boolean =>
    volume !== undefined && volume.partition > 0 && volume.fs.type === iso.type && volume.fs.uuid === iso.uuid;
  const images: Opened[] = [];
  for (const [i, { start, size, platform }] of (await readBootImages(source.disk)).entries()) {
    if (partitions.some(({ inspected }) => inspected.index > 0 && inspected.start === start)) continue;
    const image = part(-1 - i, start, size, `${platform} boot image`);
    // Firmware reads an EFI image as a FAT volume, whose boot sector knows how large it is.
    const opened =
      platform === 'EFI'
        ? await openPartition(source, { ...image, size: source.disk.size - start }, scheme)
        : undefined;
    images.push({ inspected: { ...unknown(image), ...opened?.inspected, size }, volume: opened?.volume });
  }
  return [
    ...whole,
    ...partitions.map((opened) => (isAgain(opened) ? { inspected: opened.inspected } : opened)),
    ...images,
  ];
}

const unreadable = 'cannot be read';
const unknown = (partition: Partition): InspectedPartition => ({
  ...partition,
  fileSystem: undefined,
  contents: undefined,
  hint: undefined,
  notes: [],
});

function openedAs(partition: Partition, fs: FileSystem, scheme: PartitionTable['scheme'], budget: DiskBudget): Opened {
  const { type, label, uuid, notes } = fs;
  return {
    inspected: { ...unknown(partition), fileSystem: { type, label, uuid }, notes },
    volume: {
      partition: partition.index,
      scheme,
      partitionType: partition.type,
      partitionUuid: partition.uuid,
      fs: new BudgetedFileSystem(fs, budget),
      budget,
    },
  };
}

async function openPartition(
  { reader, disk, budget }: Source,
  partition: Partition,
  scheme: PartitionTable['scheme'],
): Promise<Opened> {
  try {
    const found = await probeFileSystem(
      slice(reader, partition.start, partition.size),
      disk.part(partition.start, partition.size),
    );
    if (found === undefined) return { inspected: unknown(partition) };
    if (!('unsupported' in found)) return openedAs(partition, found, scheme, budget);
    return { inspected: { ...unknown(partition), contents: found.unsupported, hint: found.hint } };
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    return { inspected: { ...unknown(partition), contents: unreadable, hint: error.hint, notes: [error.message] } };
  }
}
