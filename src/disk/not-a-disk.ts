/** What can be no raw disk, whether a machine or its boot opens it. Main thread. */
import type { Stats } from 'node:fs';
import { TsvmmError } from '../errors.js';
import { quote } from './range.js';
import { sectorSize } from './sector-bits.js';

export function notADisk(path: string, says: string, hint: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_DISK_FORMAT', `${quote(path)} ${says}`, { hint, details: { path } });
}

export function refuseOtherKinds(path: string, stats: Stats): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  const kind = stats.isDirectory()
    ? 'a directory'
    : stats.isCharacterDevice()
      ? 'a character device'
      : stats.isFIFO()
        ? 'a pipe'
        : 'a socket';
  throw notADisk(path, `is ${kind}, not a disk image`, 'Give an image file or a block device.');
}

export function refusePartOfSector(path: string, size: number): void {
  if (size % sectorSize === 0) return;
  const says = `has ${size} bytes, which is no multiple of ${sectorSize}: it is truncated or no disk image`;
  throw notADisk(path, says, `Copy or download it again; if it is complete, pad it: truncate -s %${sectorSize} FILE.`);
}
