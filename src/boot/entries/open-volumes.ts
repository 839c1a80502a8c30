/**
 * Opens the file systems of a disk. Main thread.
 *
 * One damaged partition does not hide the others: its error becomes what is said about that partition.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { TsvmmError } from '../../errors.js';
import { type Partition, type PartitionTable, readPartitions } from '../disk/partition-table.js';
import { slice } from '../disk/slice.js';
import { probeFileSystem } from '../fs/probe.js';
import type { InspectedPartition } from './inspection.js';
import type { Volume } from './volume.js';

export interface OpenDisk {
  readonly table: PartitionTable;
  readonly partitions: readonly InspectedPartition[];
  /** In the order of `partitions`. */
  readonly volumes: readonly Volume[];
}

export async function openVolumes(reader: BlockReader, signal?: AbortSignal): Promise<OpenDisk> {
  const table = await readPartitions(reader);
  const wholeDisk: Partition = {
    index: 0,
    start: 0,
    size: reader.size,
    type: '',
    typeName: '',
    name: '',
    uuid: '',
    bootable: false,
  };
  const partitions: InspectedPartition[] = [];
  const volumes: Volume[] = [];
  for (const partition of table.scheme === 'none' ? [wholeDisk] : table.partitions) {
    signal?.throwIfAborted();
    const { inspected, volume } = await openPartition(reader, partition, table.scheme);
    partitions.push(inspected);
    if (volume !== undefined) volumes.push(volume);
  }
  return { table, partitions, volumes };
}

async function openPartition(
  reader: BlockReader,
  partition: Partition,
  scheme: PartitionTable['scheme'],
): Promise<{ inspected: InspectedPartition; volume?: Volume }> {
  const unknown = { ...partition, fileSystem: undefined, contents: undefined, hint: undefined, notes: [] };
  try {
    const found = await probeFileSystem(slice(reader, partition.start, partition.size));
    if (found === undefined) return { inspected: unknown };
    if ('unsupported' in found) return { inspected: { ...unknown, contents: found.unsupported, hint: found.hint } };
    const { type, label, uuid, notes } = found;
    return {
      inspected: { ...unknown, fileSystem: { type, label, uuid }, notes },
      volume: {
        partition: partition.index,
        scheme,
        partitionUuid: partition.uuid,
        fs: found,
      },
    };
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    return { inspected: { ...unknown, contents: 'cannot be read', hint: error.hint, notes: [error.message] } };
  }
}
