/**
 * What an entry of a directory says, in whatever form the directory is. Main thread.
 */
import type { FileStat } from '../file-system.js';
import type { Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

export interface DirectoryRecord {
  /** Undefined when it is no number that an inode can have. */
  readonly inode: number | undefined;
  readonly name: Buffer;
  /** As the entry says; undefined where the file system keeps no types in entries. */
  readonly kind: FileStat['kind'] | undefined;
}

/** XFS_DIR3_FT_*; 0 is "unknown". */
const kinds: Readonly<Record<number, FileStat['kind']>> = {
  1: 'file',
  2: 'directory',
  3: 'other',
  4: 'other',
  5: 'other',
  6: 'other',
  7: 'symlink',
  8: 'other',
};

export const kindOf = (fileType: number): FileStat['kind'] | undefined => kinds[fileType];

export function checkedName(volume: XfsVolume, directory: Inode, name: Buffer): Buffer {
  if (name.length === 0 || name.includes(0) || name.includes(0x2f))
    throw volume.damaged(`directory ${directory.number}: an entry whose name is not one`);
  return name;
}
