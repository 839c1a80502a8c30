/** Which backend a disk has. The I/O worker. */
import { type OpenDisk, openDiskMap } from '../../disk/disk-map.js';
import type { BlkBackend } from './blk-backend.js';
import { EmptyBackend } from './empty-backend.js';
import { FileBackend } from './file-backend.js';
import { UserBackend } from './user-backend.js';

/** For at most `requests` at a time. */
export function openBackend(disk: OpenDisk | undefined, requests: number): BlkBackend {
  if (disk === undefined) return new EmptyBackend();
  if (disk.kind === 'user') return new UserBackend(disk, requests);
  return new FileBackend(openDiskMap(disk, requests), requests, disk.direct);
}
