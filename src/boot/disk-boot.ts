/**
 * Booting from a disk without firmware (design §7): what the disk offers, and the kernel, initrd and command line of what
 * is chosen. Main thread.
 *
 * What a disk offers, and in which order, is in entries/find-entries.ts. The image is only ever read.
 */
import type { BlockReader } from '../disk/block-reader.js';
import { TsvmmError } from '../errors.js';
import type { BootEntry } from './entries/boot-entry.js';
import { findEntries } from './entries/find-entries.js';
import type { DiskInspection } from './entries/inspection.js';
import { openVolumes } from './entries/open-volumes.js';
import { shortened } from './entries/printable.js';
import type { FileReference } from './entries/volume.js';
import type { FileSystem } from './fs/file-system.js';

export type { BootEntry } from './entries/boot-entry.js';
export { chooseEntry } from './entries/choose-entry.js';
export type { DiskInspection, InspectedPartition } from './entries/inspection.js';

export interface FindBootOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What `loadEntry` gives the Linux loader. */
export interface LoadedEntry {
  readonly title: string;
  readonly kernel: Buffer;
  /** All initrds of the entry, one after the other, each on a 4-byte boundary. */
  readonly initrd?: Buffer;
  /** As the image asks for it; `guestCmdline` adds the console. */
  readonly cmdline: string;
}

const MiB = 1 << 20;
/** A distribution's kernel has about 12 MiB; one with everything built in below 100. */
const kernelLimit = 256 * MiB;
/** All initrds of an entry together. */
const initrdLimit = 1024 * MiB;
/** The kernel unpacks concatenated archives that are padded to 4 bytes with zeros (Linux "initramfs buffer format"). */
const initrdAlignment = 4;

/**
 * Looks at the disk. Damage and strange configurations are among the result's problems; rejects only when the disk cannot
 * be read or `signal` aborts.
 */
export async function findBootEntries(reader: BlockReader, options: FindBootOptions = {}): Promise<DiskInspection> {
  const { table, partitions, volumes } = await openVolumes(reader, options.signal);
  const found = await findEntries(volumes, table.partitions, options.signal);
  return {
    size: reader.size,
    scheme: table.scheme,
    sectorSize: table.sectorSize,
    partitions,
    entries: found.entries,
    defaultEntry: found.defaultEntry,
    problems: [...new Set([...table.notes, ...found.problems])],
    fileSystems: new Map(volumes.map(({ partition, fs }) => [partition, fs])),
  };
}

/** Reads what `entry` of `inspection` boots. */
export async function loadEntry(inspection: DiskInspection, entry: BootEntry): Promise<LoadedEntry> {
  if (entry.kernel === undefined) {
    throw new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `the boot entry '${shortened(entry.path)}' loads no Linux kernel`);
  }
  const kernel = await readFile(inspection, entry.kernel, kernelLimit);
  const initrds: Buffer[] = [];
  let room = initrdLimit;
  for (const file of entry.initrds) {
    const content = await readFile(inspection, file, room);
    initrds.push(content);
    room -= Math.min(room, padded(content.length));
  }
  const common = { title: entry.title, kernel, cmdline: entry.cmdline };
  const [first] = initrds;
  if (first === undefined) return common;
  return { ...common, initrd: initrds.length === 1 ? first : concatenate(initrds) };
}

const padded = (length: number): number => Math.ceil(length / initrdAlignment) * initrdAlignment;

function concatenate(initrds: readonly Buffer[]): Buffer {
  const result = Buffer.alloc(initrds.reduce((total, { length }) => total + padded(length), 0));
  let at = 0;
  for (const initrd of initrds) {
    initrd.copy(result, at);
    at += padded(initrd.length);
  }
  return result;
}

function readFile(inspection: DiskInspection, file: FileReference, limit: number): Promise<Buffer> {
  const { partition, path, section } = file;
  const fs: FileSystem | undefined = inspection.fileSystems.get(partition);
  if (fs === undefined) throw new TypeError(`partition ${partition} is not of this inspection`);
  if (section === undefined) return fs.readFile(path, limit);
  if (section.size <= limit) return fs.readRange(path, section.offset, section.size);
  throw new TsvmmError(
    'ERR_TSVMM_DISK_FORMAT',
    `the section ${section.name} of ${shortened(path)} has ${section.size} bytes, more than the ${limit} that are accepted`,
  );
}
