/**
 * What `manifest.json` says: the form of version 1 (docs/decisions/0016-what-a-snapshot-is.md). Any thread; pure.
 *
 * It says nothing twice: what follows from something else (where a section or a piece begins, how large a file of memory is)
 * is not in it, so that it cannot be wrong.
 */
import { diskName, siblingName } from './names.js';
import {
  type Checked,
  integer,
  json,
  list,
  Mismatch,
  multipleOf,
  object,
  oneOf,
  optional,
  text,
  variant,
  where,
} from './schema.js';

export const format = 'tsvmm-snapshot';
export const version = 1;

export const pageSize = 4096;
/** A digest is of so many bytes of a file. */
export const chunkSize = 0x20_0000;
export const digestSize = 32;

/** Bounds of everything that a stranger's manifest could ask for. */
export const limits = {
  memory: 2 ** 40,
  regions: 16,
  /** As many as a machine may map (contract §4.4). */
  pieces: 256,
  parents: 64,
  sections: 4096,
  /** All of them together. */
  state: 64 * 1024 ** 2,
  disks: 64,
  disk: 2 ** 50,
} as const;

const hexDigest = text(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal digits');
const id = text(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID');
const decimal = text(/^-?\d{1,20}$/, 'a number in decimal digits');
const absolutePath = text(/^\/[^\0]{0,4095}$/, 'an absolute path');
/** ISO 8601, as Date writes it. */
const time = where(
  text(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'a time as 2026-01-31T12:00:00.000Z'),
  'is not a time',
  (value) => !Number.isNaN(Date.parse(value)),
);

const memory = object({
  /** Guest-physical ranges that are RAM: they lie in it one after the other. */
  regions: list(
    object({
      start: multipleOf(pageSize, 0, 2 ** 52 - pageSize),
      size: multipleOf(pageSize, pageSize, limits.memory),
    }),
    limits.regions,
    1,
  ),
  /** From offset 0 on, without gaps. */
  pieces: list(
    object({
      length: multipleOf(pageSize, pageSize, limits.memory),
      /** Where its bytes are, at the same offset: 0 in this snapshot's memory.bin, n in that of `parents[n - 1]`. Else zeroes. */
      layer: optional(integer(0, limits.parents)),
    }),
    limits.pieces,
    1,
  ),
  /** Of memory.hashes. */
  sha256: hexDigest,
});

const disk = variant({
  /** Nothing is in the drive. */
  empty: {},
  /** A file that stays where it is, and what it was like: numbers that a double may not hold are text. */
  reference: {
    path: absolutePath,
    size: integer(0, limits.disk),
    dev: decimal,
    ino: decimal,
    mtimeNs: decimal,
  },
  /** A file of the snapshot. */
  copy: {
    file: text(/^disk\d{1,2}\.raw$/, 'the name of a disk of a snapshot'),
    size: integer(0, limits.disk),
    /** Of disk<N>.hashes, if that was made. */
    sha256: optional(hexDigest),
  },
});

const content = object({
  format: oneOf(format),
  version: oneOf(version),
  id,
  createdAt: time,
  /** The version of tsvmm that wrote it. */
  tsvmm: text(/^[\w.+-]{1,64}$/, 'a version of tsvmm'),
  /** Of whoever made the snapshot, who checks it too. */
  machine: json,
  /** The parts of state.bin, from its beginning on, without gaps. */
  state: list(
    object({
      name: text(/^[a-z][a-z0-9]*([.-][a-z0-9]+){0,4}$/, 'the name of a section'),
      length: integer(0, limits.state),
      sha256: hexDigest,
    }),
    limits.sections,
  ),
  memory,
  /** The snapshots that this one is only a difference to; they lie beside it. */
  parents: list(
    object({
      directory: where(
        text(/^\.\.\/[^/]+$/, 'the path of a neighbour, as ../name'),
        'is not the path of a snapshot',
        (path) => siblingName(path) !== undefined,
      ),
      id,
      /** The `sha256` of its manifest. */
      sha256: hexDigest,
    }),
    limits.parents,
  ),
  disks: list(disk, limits.disks),
});

export type Manifest = Checked<typeof content>;
export type DiskEntry = Checked<typeof disk>;
export type DiskReference = Extract<DiskEntry, { kind: 'reference' }>;
export type MemoryRegion = Manifest['memory']['regions'][number];

/** Bytes of the regions that RAM is. */
export const sizeOf = (regions: readonly MemoryRegion[]): number => sum(regions.map(({ size }) => size));

export const memorySize = ({ memory }: Manifest): number => sizeOf(memory.regions);

/** How many digests a file of so many bytes has. */
export const chunksIn = (size: number): number => Math.ceil(size / chunkSize);

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** The manifest that a parsed text is, without its digest. Throws `Mismatch`. */
export function checkManifest(value: unknown): Manifest {
  const manifest = content(value, '');
  const { memory, state, parents, disks } = manifest;
  checkRegions(memory.regions);
  const size = memorySize(manifest);
  const covered = sum(memory.pieces.map(({ length }) => length));
  if (covered !== size) refuse('memory.pieces', `they are of ${covered} bytes, and memory has ${size}`);
  memory.pieces.forEach(({ layer = 0 }, index) => {
    if (layer > parents.length) refuse(`memory.pieces[${index}].layer`, `there is no parent ${layer}`);
  });
  if (sum(state.map(({ length }) => length)) > limits.state) refuse('state', `more than ${limits.state} bytes`);
  distinct(state, 'state', 'name');
  distinct(parents, 'parents', 'directory');
  disks.forEach((entry, index) => {
    if (entry.kind === 'copy' && entry.file !== diskName(index))
      refuse(`disks[${index}].file`, `it is not ${diskName(index)}`);
  });
  return manifest;
}

function checkRegions(regions: readonly MemoryRegion[]): void {
  let end = 0;
  regions.forEach(({ start, size }, index) => {
    if (start < end) refuse(`memory.regions[${index}]`, 'it does not lie behind the one before');
    end = start + size;
  });
  if (end > 2 ** 52) refuse('memory.regions', 'they end beyond what an x86-64 processor can address');
  if (sizeOf(regions) > limits.memory) refuse('memory.regions', `more than ${limits.memory} bytes`);
}

function distinct<K extends string>(entries: readonly { readonly [F in K]: string }[], list: string, field: K): void {
  const seen = new Set<string>();
  entries.forEach((entry, index) => {
    if (seen.has(entry[field])) refuse(`${list}[${index}].${field}`, 'it is there twice');
    seen.add(entry[field]);
  });
}

function refuse(at: string, says: string): never {
  throw new Mismatch(`${at}: ${says}`);
}
