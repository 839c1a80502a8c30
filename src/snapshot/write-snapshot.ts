/**
 * Writes a snapshot of a machine: the sections that its caller gives, RAM by the layers of it that do not change any more,
 * disks by those who know them. Main thread, which only looks for zeroes; the machine may run meanwhile.
 */
import { constants } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { closeFd, fileStatus, openFd } from '../disk/file-calls.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import type { Piece } from '../memory/ram.js';
import { hashFile } from './digested-file.js';
import { type DraftDisk, writeDraft } from './draft.js';
import { syncFd } from './file-io.js';
import { type DiskReference, limits, type Manifest, type MemoryRegion, sizeOf } from './manifest.js';
import { type Parent, planMemory } from './memory-plan.js';
import type { OpenSnapshot, SnapshotLayer } from './open-snapshot.js';
import type { Progress, WorkOptions } from './progress.js';
import { LayersSource } from './ram-source.js';
import type { JsonValue } from './schema.js';
import { unwritten } from './snapshot-error.js';

/** What becomes of a machine's disk, in the order of its disks. */
export type SnapshotDisk =
  | { readonly kind: 'empty' }
  | DiskReference
  | {
      readonly kind: 'copy';
      /** Makes the file `path`, which is not there yet: what it is afterwards is the disk. */
      write(path: string, options: { readonly signal: AbortSignal | undefined }): Promise<void>;
      /** Whether digests are made of it, for which it is read. */
      readonly digests: boolean;
    };

export interface SnapshotContent {
  /** What its maker wants to know again, and checks when it reads it (`OpenSnapshot.machine`). */
  readonly machine: JsonValue;
  /** Copied before anything is awaited. */
  readonly sections: ReadonlyMap<string, Uint8Array>;
  /** RAM: where the guest sees it, and its layers, which nobody writes to or closes until this is done. */
  readonly memory: { readonly regions: readonly MemoryRegion[]; readonly pieces: readonly Piece[] };
  /** What is in there already is not written again. It lies in the directory that the new one is to lie in. */
  readonly parent?: Parent | undefined;
  readonly disks: readonly SnapshotDisk[];
}

/**
 * Makes the directory `path`, which must not exist. Rejects with `ERR_TSVMM_SNAPSHOT`, or with the reason of `signal`, and
 * nothing is left of it.
 */
export async function writeSnapshot(path: string, content: SnapshotContent, options: WorkOptions = {}): Promise<void> {
  const { machine, memory, parent, disks } = content;
  const { regions, pieces } = memory;
  const createdAt = new Date().toISOString();
  const sections = new Map(Array.from(content.sections, ([name, bytes]) => [name, new Uint8Array(bytes)]));
  const size = sizeOf(regions);
  if (parent !== undefined) await checkParent(path, parent.snapshot, size);
  const planned = planMemory(pieces, parent, limits.pieces);
  await writeDraft(
    path,
    {
      createdAt,
      machine,
      sections,
      regions,
      ram: new LayersSource(size, pieces, planned),
      planned,
      parents: parent === undefined ? new Map() : entriesOf(parent.snapshot),
      disks: disks.map(draftOf),
    },
    options,
  );
}

async function checkParent(path: string, parent: OpenSnapshot, size: number): Promise<void> {
  const beside = dirname(parent.directory);
  const place = dirname(resolve(path));
  const real = await realpath(place).catch((cause) => Promise.reject(unwritten(resolve(path), cause)));
  if (real !== beside)
    throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `a difference to ${quote(parent.directory)} has to lie beside it`, {
      hint: `write it to ${quote(`${beside}/${basename(path)}`)}, or make a whole snapshot`,
    });
  if (parent.memorySize !== size)
    throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `${quote(parent.directory)} has memory of another size`, {
      hint: 'make a whole snapshot',
    });
}

/** How a difference to a snapshot names those that its layers are of. */
function entriesOf(snapshot: OpenSnapshot): ReadonlyMap<SnapshotLayer, Manifest['parents'][number]> {
  const { directory, manifest, sha256, layers } = snapshot;
  const itself = { directory: `../${basename(directory)}`, id: manifest.id, sha256 };
  return new Map([itself, ...manifest.parents].map((entry, index) => [layers[index]!, entry]));
}

function draftOf(disk: SnapshotDisk): DraftDisk {
  if (disk.kind !== 'copy') return disk;
  return {
    kind: disk.kind,
    async write(path: string, progress: Progress) {
      await disk.write(path, { signal: progress.signal });
      const fd = await openFd(path, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        await syncFd(fd);
        const { size } = await fileStatus(fd);
        if (!disk.digests) return { size };
        progress.expect(size);
        return { size, hashes: await hashFile(fd, size, progress) };
      } finally {
        await closeFd(fd);
      }
    },
  };
}

/** What a file is like now, for a snapshot that leaves it where it is. */
export async function diskReference(path: string): Promise<DiskReference> {
  const real = await realpath(path);
  const { size, dev, ino, mtimeNs } = await stat(real, { bigint: true });
  return { kind: 'reference', path: real, size: Number(size), dev: `${dev}`, ino: `${ino}`, mtimeNs: `${mtimeNs}` };
}
