/**
 * Booting from a disk without firmware (design §7): what the disk offers, and the kernel, initrd and command line of what
 * is chosen. Main thread.
 *
 * What a disk offers, and in which order, is in entries/find-entries.ts. The image is only ever read.
 */
import type { BlockReader } from '../disk/block-reader.js';
import { TsvmmError } from '../errors.js';
import { splitInit } from './cmdline.js';
import { DiskBudget } from './disk-budget.js';
import type { BootEntry } from './entries/boot-entry.js';
import { findEntries } from './entries/find-entries.js';
import type { DiskInspection } from './entries/inspection.js';
import { openVolumes } from './entries/open-volumes.js';
import { shortened } from './entries/printable.js';
import type { FileReference } from './entries/volume.js';
import type { FileSystem } from './fs/file-system.js';
import { paddedSize } from './linux/initrds.js';

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
/** What is worth telling of one disk. */
const maxProblems = 256;
/** A distribution's kernel has about 12 MiB; one with everything built in below 100. */
const kernelLimit = 256 * MiB;
/** All initrds of an entry together. */
const initrdLimit = 1024 * MiB;
const otherwise = 'Choose another entry with boot.entry. Or pass a kernel with boot: { kernel, initrd, cmdline }.';

/**
 * Looks at the disk. Damage and strange configurations are among the result's problems; rejects only when the disk cannot
 * be read, looking at it costs more than `DiskBudget` gives, or `signal` aborts. Both hold for `loadEntry` as well.
 */
export async function findBootEntries(reader: BlockReader, options: FindBootOptions = {}): Promise<DiskInspection> {
  const budget = new DiskBudget(reader, options.signal);
  budget.check();
  const { table, partitions, volumes } = await openVolumes(reader, budget);
  const found = await findEntries(volumes, table.partitions, budget);
  const problems = [...new Set([...table.notes, ...found.problems])].slice(0, maxProblems);
  budget.spend(
    'kept',
    problems.reduce((sum, { length }) => sum + length, 0),
  );
  budget.check(); // what was caught on the way
  return {
    size: reader.size,
    scheme: table.scheme,
    sectorSize: table.sectorSize,
    partitions,
    entries: table.backupOnly === true ? found.entries.map(withGpt) : found.entries,
    defaultEntry: found.defaultEntry,
    problems,
    fileSystems: new Map(volumes.map(({ partition, fs }) => [partition, fs])),
  };
}

/** Without the parameter, Linux finds no partitions by the backup of a GPT alone. */
function withGpt(entry: BootEntry): BootEntry {
  const { kernel, init } = splitInit(entry.cmdline);
  if (entry.kernel === undefined || kernel.includes('gpt')) return entry;
  return { ...entry, cmdline: [...kernel, 'gpt', ...(init.length > 0 ? ['--', ...init] : [])].join(' ') };
}

/**
 * Where `loadEntry` reads to: memory of exactly that many bytes, all zeros. Memory that is the guest's already saves
 * copying what is most of a boot's preparation.
 */
export interface LoadTarget {
  /** `head` is what the kernel begins with, at most `kernelHeadSize` bytes. */
  kernel(size: number, head: Buffer): Buffer;
  initrd(size: number): Buffer;
}

const heap: LoadTarget = { kernel: (size) => Buffer.alloc(size), initrd: (size) => Buffer.alloc(size) };
const kernelHeadSize = 4096;

/** Reads what `entry` of `inspection` boots. */
export async function loadEntry(
  inspection: DiskInspection,
  entry: BootEntry,
  target: LoadTarget = heap,
): Promise<LoadedEntry> {
  if (entry.kernel === undefined) {
    throw new TsvmmError(
      'ERR_TSVMM_BOOT_NOT_FOUND',
      `the boot entry '${shortened(entry.path)}' loads no Linux kernel`,
      {
        hint: otherwise,
      },
    );
  }
  const file = await locate(inspection, entry.kernel, kernelLimit);
  const head = Buffer.alloc(Math.min(file.size, kernelHeadSize));
  await file.readInto(head);
  const kernel = target.kernel(file.size, head);
  await file.readInto(kernel);
  const loaded = { title: entry.title, kernel, cmdline: entry.cmdline };
  return entry.initrds.length === 0 ? loaded : { ...loaded, initrd: await loadInitrds(inspection, entry, target) };
}

async function loadInitrds(inspection: DiskInspection, entry: BootEntry, target: LoadTarget): Promise<Buffer> {
  const files: LocatedFile[] = [];
  let size = 0;
  for (const reference of entry.initrds) {
    const start = paddedSize(size);
    const file = await locate(inspection, reference, Math.max(0, initrdLimit - start));
    files.push(file);
    size = start + file.size;
  }
  const initrd = target.initrd(files.length === 1 ? size : paddedSize(size));
  let at = 0;
  for (const file of files) {
    await file.readInto(initrd.subarray(at, at + file.size));
    at = paddedSize(at + file.size);
  }
  return initrd;
}

interface LocatedFile {
  readonly size: number;
  /** From its beginning on. */
  readInto(into: Uint8Array): Promise<void>;
}

async function locate(inspection: DiskInspection, file: FileReference, limit: number): Promise<LocatedFile> {
  const { partition, path, section } = file;
  const fs: FileSystem | undefined = inspection.fileSystems.get(partition);
  if (fs === undefined) throw new TypeError(`partition ${partition} is not of this inspection`);
  // What is no file at all is said by reading it.
  const size = section === undefined ? ((await fs.stat(path))?.size ?? 0) : section.size;
  if (size > limit) {
    const name = section === undefined ? shortened(path) : `the section ${section.name} of ${shortened(path)}`;
    throw new TsvmmError(
      'ERR_TSVMM_DISK_FORMAT',
      `${name} has ${size} bytes, more than the ${limit} that are accepted`,
      { hint: `It is damaged, or no kernel or initrd. ${otherwise}`, details: { partition, path, size, limit } },
    );
  }
  return { size, readInto: (into) => fs.readInto(path, section?.offset ?? 0, into) };
}
