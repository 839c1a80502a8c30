/** What may be said of a disk: options checked. Main thread. */
import type { CacheMode } from '../disk/disk-file.js';
import type { RateLimit as RateLimitConfig } from '../virtio/rate-limit.js';
import { bad, boolean, hasOptions, integer, known, oneOf, type Path, path, text } from './checks.js';
import type { FileMediumConfig } from './file-medium.js';
import { type RateLimit, rateLimit } from './rate-limit-options.js';
import { parseSize, type Size, show } from './units.js';

/** How a machine has a disk, whatever that is made of. */
export interface DriveOptions {
  /**
   * What the host cannot read or write: `report` (default) is an I/O error for the guest and a `warning`; `stop` ends the machine with
   * `ERR_TSVMM_DISK_IO`, and the guest does not see the error.
   */
  onError?: 'report' | 'stop' | undefined;
  /** What the guest reads as the disk's serial number; at most 20 bytes. */
  serial?: string | undefined;
  /** How much the guest may read and write; `Disk.setLimit` changes it. */
  limit?: RateLimit | undefined;
  /** `Disk.swap` may exchange what is in it while the machine runs. */
  removable?: boolean | undefined;
}

export interface DiskOptions extends DriveOptions {
  path: Path;
  /** Default: raw, unless the file carries the magic of another format, which is then refused by its name. */
  format?: 'raw' | undefined;
  readOnly?: boolean | undefined;
  /**
   * Writes go to a private file in /var/tmp and are gone with the machine. `limit`: how much room that file may take at a
   * time, in blocks of 4096 bytes; then writes to other blocks fail until the guest has discarded some. Without one a guest
   * can fill the host's file system.
   */
  ephemeral?: boolean | { limit: Size } | undefined;
  /**
   * What the guest wrote is durable when it has flushed; `writeback` (default) keeps a copy in the host's page cache, `direct`
   * does not. `unsafe`: flushes do nothing, and a host that crashes can lose everything that was written (docs/disks.md).
   */
  cache?: CacheMode | undefined;
}

export interface DriveConfig {
  readonly onError: 'report' | 'stop';
  /** Undefined: by its place in the machine. */
  readonly serial: string | undefined;
  readonly limit: RateLimitConfig | undefined;
  readonly removable: boolean;
}

const driveNames = ['onError', 'serial', 'limit', 'removable'] as const;
const fileNames = ['format', 'readOnly', 'ephemeral', 'cache'] as const;
const maxSerial = 20; // VIRTIO_BLK_ID_BYTES
const minLimit = 4096; // a block of the private file

/** Of a disk with nothing else to say. */
export function driveConfig(what: string, options: DriveOptions): DriveConfig {
  if (!hasOptions(options)) throw bad(`${what}: expected options`, 'pass { serial: "data" }');
  known(what, options, driveNames);
  return checkedDrive(what, options);
}

/** Of `{ path, ... }`. */
export function diskConfig(what: string, options: DiskOptions): { medium: FileMediumConfig; drive: DriveConfig } {
  if (!hasOptions(options)) throw bad(`${what}: expected a path or options`, 'pass "disk.img" or { path: "disk.img" }');
  known(what, options, ['path', ...fileNames, ...driveNames]);
  if (options.format !== undefined) oneOf(`${what}.format`, options.format, ['raw']);
  // Only what was left out has a default: whoever passes something else means something, and it may cost them their data.
  const { readOnly = false, ephemeral: kept = false, cache = 'writeback' } = options;
  const medium = {
    path: path(`${what}.path`, options.path),
    explicitRaw: options.format === 'raw',
    readOnly: boolean(`${what}.readOnly`, readOnly),
    ephemeral: ephemeral(`${what}.ephemeral`, kept),
    cache: oneOf(`${what}.cache`, cache, ['writeback', 'direct', 'unsafe']),
  };
  return { medium, drive: checkedDrive(what, options) };
}

function checkedDrive(what: string, options: DriveOptions): DriveConfig {
  const { onError = 'report', removable = false } = options;
  const serial = options.serial === undefined ? undefined : text(`${what}.serial`, options.serial);
  if (serial !== undefined && Buffer.byteLength(serial) > maxSerial)
    throw bad(`${what}.serial: ${show(serial)} is too long`, `use at most ${maxSerial} bytes`);
  return {
    onError: oneOf(`${what}.onError`, onError, ['report', 'stop']),
    serial,
    limit: rateLimit(`${what}.limit`, options.limit),
    removable: boolean(`${what}.removable`, removable),
  };
}

function ephemeral(what: string, value: unknown): FileMediumConfig['ephemeral'] {
  if (typeof value === 'boolean') return value;
  if (!hasOptions(value)) throw bad(`${what}: ${show(value)} is not possible`, 'use true or false, or { limit: "4G" }');
  known(what, value, ['limit']);
  const limit = parseSize(`${what}.limit`, (value as { limit?: unknown }).limit);
  return { limit: integer(`${what}.limit`, limit, minLimit, Number.MAX_SAFE_INTEGER) };
}
