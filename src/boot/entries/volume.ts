/**
 * A file system on the disk that the boot code can read. Main thread.
 */
import type { PartitionTable } from '../disk/partition-table.js';
import type { DiskBudget } from '../disk-budget.js';
import type { FileSystem } from '../fs/file-system.js';

export interface Volume {
  /** As Linux numbers it, from 1; 0 is the whole disk; -1, -2 ... are the boot images of a CD (El Torito). */
  readonly partition: number;
  readonly scheme: PartitionTable['scheme'];
  /** The partition's type: a GUID in lower case, or `mbr:83`; empty if there is none. */
  readonly partitionType: string;
  /** PARTUUID as Linux prints it; empty if there is none. */
  readonly partitionUuid: string;
  readonly fs: FileSystem;
  /** What looking at its disk may still cost; the same for all volumes of a disk. */
  readonly budget: DiskBudget;
}

/** A file of one partition, or a part of one. */
export interface FileReference {
  /** As `Volume.partition`. */
  readonly partition: number;
  /** Absolute in that partition's file system. */
  readonly path: string;
  /** Only this part of the file counts: a section of a unified kernel image. */
  readonly section?: FileSection;
}

export interface FileSection {
  /** `.linux`, `.initrd`. */
  readonly name: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly size: number;
}

/** For messages: "partition 2", "the disk" or "boot image 1". */
export const volumeName = (partition: number): string =>
  partition === 0 ? 'the disk' : partition < 0 ? `boot image ${-partition}` : `partition ${partition}`;
