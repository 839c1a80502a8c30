/** Which backend a disk has. The I/O worker. */
import type { OpenDisk } from '../../disk/disk-map.js';
import type { BlkBackend } from './blk-backend.js';
import { EmptyBackend } from './empty-backend.js';
import { FileBackend } from './file-backend.js';
import { UserBackend } from './user-backend.js';

/**
 * For as many requests as there are `offsets`: where on the disk each begins, by its number. As an argument such a number
 * would be an allocation. A request's offset is the backend's to move on until the request is done.
 */
export function openBackend(disk: OpenDisk | undefined, offsets: Float64Array): BlkBackend {
  if (disk === undefined) return new EmptyBackend();
  if (disk.kind === 'user') return new UserBackend(disk, offsets);
  return new FileBackend(disk, offsets);
}
