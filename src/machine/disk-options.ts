/** Which disks a machine has: options checked. Main thread. */
import type { CacheMode } from '../disk/disk-file.js';
import { bad, boolean, hasOptions, integer, known, oneOf, type Path, path, text } from './checks.js';
import { Disk } from './disk.js';
import { parseSize, type Size, show } from './units.js';

export interface DiskOptions {
  path: Path;
  /** Default: raw, unless the file carries the magic of another format, which is then refused by its name. */
  format?: 'raw' | undefined;
  readOnly?: boolean | undefined;
  /**
   * Writes go to a private file in /var/tmp and are gone with the machine. `limit`: how much room that file may take, in
   * blocks of 4096 bytes; then writes to other blocks fail. Without one a guest can fill the host's file system.
   */
  ephemeral?: boolean | { limit: Size } | undefined;
  /**
   * What the guest wrote is durable when it has flushed; `writeback` (default) keeps a copy in the host's page cache, `direct`
   * does not. `unsafe`: flushes do nothing, and a host that crashes can lose everything that was written (docs/disks.md).
   */
  cache?: CacheMode | undefined;
  /**
   * What the host cannot read or write: `report` (default) is an I/O error for the guest and a `warning`; `stop` ends the machine with
   * `ERR_TSVMM_DISK_IO`, and the guest does not see the error.
   */
  onError?: 'report' | 'stop' | undefined;
  /** What the guest reads as the disk's serial number; at most 20 bytes. */
  serial?: string | undefined;
}

export interface DiskConfig {
  readonly path: string;
  readonly explicitRaw: boolean;
  readonly readOnly: boolean;
  readonly ephemeral: boolean | { readonly limit: number };
  readonly cache: CacheMode;
  readonly onError: 'report' | 'stop';
  readonly serial: string;
}

/** One that the program supplies. */
export interface UserDiskConfig {
  readonly disk: Disk;
  readonly serial: string;
}

/** PCI slots 1-31 hold the disks, the console and the entropy device. */
const maxDisks = 24;
const maxSerial = 20; // VIRTIO_BLK_ID_BYTES
const minLimit = 4096; // a block of the private file

export function diskConfigs(value: unknown): (DiskConfig | UserDiskConfig)[] {
  if (!Array.isArray(value)) throw bad('disks: expected a list', 'pass ["disk.img"]');
  if (value.length > maxDisks) throw bad(`disks: ${value.length} are too many`, `a machine has at most ${maxDisks}`);
  // And not map, which leaves holes out.
  return Array.from(value, (disk, index) =>
    disk instanceof Disk ? { disk, serial: defaultSerial(index) } : diskConfig(disk, index),
  );
}

const defaultSerial = (index: number): string => `tsvmm-disk${index}`;

function diskConfig(value: Path | DiskOptions, index: number): DiskConfig {
  const what = `disks[${index}]`;
  const options: DiskOptions = typeof value === 'string' || value instanceof URL ? { path: value } : value;
  if (!hasOptions(options)) throw bad(`${what}: expected a path or options`, 'pass "disk.img" or { path: "disk.img" }');
  known(what, options, ['path', 'format', 'readOnly', 'ephemeral', 'cache', 'onError', 'serial']);
  const serial = options.serial === undefined ? defaultSerial(index) : text(`${what}.serial`, options.serial);
  if (Buffer.byteLength(serial) > maxSerial)
    throw bad(`${what}.serial: ${show(serial)} is too long`, `use at most ${maxSerial} bytes`);
  if (options.format !== undefined) oneOf(`${what}.format`, options.format, ['raw']);
  // Only what was left out has a default: whoever passes something else means something, and it may cost them their data.
  const { readOnly = false, ephemeral: kept = false, cache = 'writeback', onError = 'report' } = options;
  return {
    path: path(`${what}.path`, options.path),
    explicitRaw: options.format === 'raw',
    readOnly: boolean(`${what}.readOnly`, readOnly),
    ephemeral: ephemeral(`${what}.ephemeral`, kept),
    cache: oneOf(`${what}.cache`, cache, ['writeback', 'direct', 'unsafe']),
    onError: oneOf(`${what}.onError`, onError, ['report', 'stop']),
    serial,
  };
}

function ephemeral(what: string, value: unknown): DiskConfig['ephemeral'] {
  if (typeof value === 'boolean') return value;
  if (!hasOptions(value)) throw bad(`${what}: ${show(value)} is not possible`, 'use true or false, or { limit: "4G" }');
  known(what, value, ['limit']);
  const limit = parseSize(`${what}.limit`, (value as { limit?: unknown }).limit);
  return { limit: integer(`${what}.limit`, limit, minLimit, Number.MAX_SAFE_INTEGER) };
}
