/**
 * What the boot code needs of a guest file system: look up, list, read. Main thread.
 *
 * Images are hostile: every implementation bounds its time and memory by the image's size and by the limits below, and
 * answers damage with `ERR_TSVMM_DISK_FORMAT` naming the structure, never with a hang or a huge allocation.
 */
export type FileSystemType = 'ext2' | 'ext3' | 'ext4' | 'fat12' | 'fat16' | 'fat32' | 'iso9660' | 'xfs';

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  /** Bytes. */
  readonly size: number;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly kind: FileStat['kind'];
}

export interface FileSystem {
  readonly type: FileSystemType;
  readonly label: string;
  /** As `blkid` prints it: lower-case with dashes for ext and XFS, `XXXX-XXXX` for FAT, a date for ISO 9660. */
  readonly uuid: string;
  /** Something the user should know, e.g. that a dirty journal was replayed in memory. */
  readonly notes: readonly string[];
  /** What `path` (absolute, `/`-separated) leads to, symbolic links followed inside this file system; undefined if nothing is there. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Entries without `.` and `..`, in directory order. Rejects if `path` is no directory. */
  list(path: string): Promise<DirectoryEntry[]>;
  /** The whole file. Rejects if it is missing, no regular file, or larger than `limit` bytes. */
  readFile(path: string, limit: number): Promise<Buffer>;
  /** `length` bytes of a regular file from `offset`. Rejects if it is missing or does not have them all. */
  readRange(path: string, offset: number, length: number): Promise<Buffer>;
  /** As `readRange`, all of `into`, which is zeros. */
  readInto(path: string, offset: number, into: Uint8Array): Promise<void>;
}

/** Symbolic links followed in one look-up before it is called a loop (Linux: MAXSYMLINKS). */
export const maxSymlinks = 40;
/** Longest path accepted, bytes (Linux: PATH_MAX). */
export const maxPath = 4096;

/** One of the spellings of `path` that differ in `//` and `/./`. */
export const normalPath = (path: string): string => path.replace(/\/(?:\.?\/)+/g, '/');
