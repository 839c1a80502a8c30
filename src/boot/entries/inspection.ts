/**
 * What was found on a disk: its partitions, their file systems, and what they offer to boot. Main thread.
 */
import type { Partition, PartitionTable } from '../disk/partition-table.js';
import type { FileSystem, FileSystemType } from '../fs/file-system.js';
import type { EntryList } from './boot-entry.js';

export interface InspectedPartition extends Partition {
  /** A file system that is read here. */
  readonly fileSystem: { readonly type: FileSystemType; readonly label: string; readonly uuid: string } | undefined;
  /** What else is in it, by name ("btrfs", "LVM2 physical volume"), or that its file system is damaged; undefined if unknown. */
  readonly contents: string | undefined;
  /** What to do about `contents`. */
  readonly hint: string | undefined;
  /** What the user should know, e.g. that a dirty journal was replayed in memory. */
  readonly notes: readonly string[];
}

export interface DiskInspection extends EntryList {
  /** Bytes. */
  readonly size: number;
  readonly scheme: PartitionTable['scheme'];
  /** Bytes; what the partition table counts in. The guest is given a disk of that block size. */
  readonly sectorSize: PartitionTable['sectorSize'];
  /**
   * Without a partition table: one, with index 0, that is the whole disk; first when an ISO 9660 image has a partition
   * table too. The boot images of such an image come last, with the indexes -1, -2 and so on.
   */
  readonly partitions: readonly InspectedPartition[];
  /** The file systems that are read here, by the index of their partition. */
  readonly fileSystems: ReadonlyMap<number, FileSystem>;
  /** What the user should know about the partition table and the boot configuration. */
  readonly problems: readonly string[];
}
