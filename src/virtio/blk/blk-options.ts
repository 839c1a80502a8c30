/** What a block device is made from. Plain data: posted to the I/O worker. */
import type { OpenDisk } from '../../disk/disk-map.js';
import type { RateLimit } from '../rate-limit.js';

export interface BlkDeviceOptions {
  /** What it is made of; undefined: there is nothing in it. */
  readonly disk: OpenDisk | undefined;
  /** Answer to GET_ID. */
  readonly id: string;
  /** The machine ends where the guest would get an I/O error of the host's. */
  readonly stopOnError?: boolean;
  /** `exchange` may be called with any disk. */
  readonly removable?: boolean;
  readonly limit?: RateLimit | undefined;
  /** Of `limit`, kept while machines come and go. */
  readonly buckets?: SharedArrayBuffer;
  /** What the driver was told, whatever is in it. */
  readonly readOnly?: boolean;
}
