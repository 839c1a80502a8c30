/**
 * Writes what a snapshot is to be, file by file, the manifest last. Main thread.
 *
 * What the manifest will say is checked before the first byte is written, so that nothing is written that could not be read
 * again, or gigabytes for nothing.
 */
import { join } from 'node:path';
import { TsvmmError } from '../errors.js';
import { sha256, sha256Later } from '../host/digest.js';
import { packageVersion } from '../host/package-version.js';
import { randomUUID } from '../host/random.js';
import { NewFiles, writeFully } from './file-io.js';
import {
  chunksIn,
  type DiskEntry,
  digestSize,
  format,
  limits,
  type Manifest,
  type MemoryRegion,
  version,
} from './manifest.js';
import { manifestText } from './manifest-text.js';
import { type PlannedPiece, withHoles } from './memory-plan.js';
import { diskHashesName, diskName, manifestName, memoryHashesName, memoryName, stateName } from './names.js';
import { newDirectory } from './new-directory.js';
import type { SnapshotLayer } from './open-snapshot.js';
import { Progress, type WorkOptions } from './progress.js';
import { type JsonValue, Mismatch } from './schema.js';
import { type ChunkSource, writeSparse } from './sparse-file.js';

type ParentEntry = Manifest['parents'][number];

export type DraftDisk =
  | Exclude<DiskEntry, { kind: 'copy' }>
  | {
      readonly kind: 'copy';
      /** Makes the file and makes it durable; answers its size, and the digests of its chunks if it has any. */
      write(path: string, progress: Progress): Promise<{ readonly size: number; readonly hashes?: Uint8Array }>;
    };

export interface Draft {
  readonly createdAt: string;
  readonly machine: JsonValue;
  /** Nobody else's. */
  readonly sections: ReadonlyMap<string, Uint8Array>;
  readonly regions: readonly MemoryRegion[];
  /** What memory.bin is to be. */
  readonly ram: ChunkSource;
  readonly planned: readonly PlannedPiece[];
  /** The snapshot that a layer of `planned` is of. */
  readonly parents: ReadonlyMap<SnapshotLayer, ParentEntry>;
  readonly disks: readonly DraftDisk[];
}

/** With room for the layers that a machine adds before it has to merge some. */
const mostWithHoles = limits.pieces / 4;

/** Rejects with everything as it was: `ERR_TSVMM_SNAPSHOT`, or the reason of `signal`. */
export async function writeDraft(path: string, draft: Draft, options: WorkOptions): Promise<void> {
  const progress = new Progress(options);
  const facts = { id: randomUUID(), tsvmm: packageVersion(), state: await describeState(draft.sections) };
  const unknown = '0'.repeat(64);
  const disks = draft.disks.map((disk, index) =>
    disk.kind === 'copy' ? { kind: disk.kind, file: diskName(index), size: 0, sha256: unknown } : disk,
  );
  textOf(manifestOf(draft, facts, { sha256: unknown, pieces: draft.planned, disks }));
  await newDirectory(
    path,
    async (directory) => {
      const files = new NewFiles();
      const write = (name: string, bytes: Uint8Array): Promise<void> =>
        files.write(join(directory, name), (fd) => writeFully(fd, bytes, 0));
      try {
        progress.expect(draft.ram.size);
        const hashes = new Uint8Array(chunksIn(draft.ram.size) * digestSize);
        await files.write(join(directory, memoryName), (fd) => writeSparse({ fd, hashes }, draft.ram, progress));
        await write(memoryHashesName, hashes);
        await write(stateName, Buffer.concat([...draft.sections.values()]));
        const written = { sha256: hex(sha256(hashes)), pieces: withHoles(draft.planned, hashes, mostWithHoles) };
        const entries: DiskEntry[] = [];
        for (const [index, disk] of draft.disks.entries())
          entries.push(disk.kind === 'copy' ? await writeDisk(directory, index, disk, progress, write) : disk);
        await write(manifestName, Buffer.from(textOf(manifestOf(draft, facts, { ...written, disks: entries }))));
        await files.sync();
      } finally {
        await files.close();
      }
    },
    options.signal,
  );
}

const hex = (digest: Buffer): string => digest.toString('hex');

const describeState = (sections: Draft['sections']): Promise<Manifest['state']> =>
  Promise.all(
    Array.from(sections, async ([name, bytes]) => ({
      name,
      length: bytes.length,
      sha256: hex(await sha256Later(bytes)),
    })),
  );

interface Facts {
  readonly id: string;
  readonly tsvmm: string;
  readonly state: Manifest['state'];
}

interface Written {
  /** Of the digests of memory. */
  readonly sha256: string;
  readonly pieces: readonly PlannedPiece[];
  readonly disks: readonly DiskEntry[];
}

function manifestOf(draft: Draft, { id, tsvmm, state }: Facts, written: Written): Manifest {
  const { createdAt, machine, regions, parents } = draft;
  const layers: SnapshotLayer[] = [];
  const pieces = written.pieces.map(({ length, from }) => {
    if (from === 'zeroes') return { length };
    if (from === 'own') return { length, layer: 0 };
    if (!layers.includes(from)) layers.push(from);
    return { length, layer: layers.indexOf(from) + 1 };
  });
  return {
    format,
    version,
    id,
    createdAt,
    tsvmm,
    machine,
    state,
    memory: { regions, pieces, sha256: written.sha256 },
    parents: layers.map((layer) => parents.get(layer)!),
    disks: written.disks,
  };
}

function textOf(manifest: Manifest): string {
  try {
    return manifestText(manifest);
  } catch (cause) {
    if (!(cause instanceof Mismatch)) throw cause;
    throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `no snapshot can hold this machine: ${cause.message}`, {
      hint:
        manifest.parents.length > limits.parents
          ? 'merge the snapshot that this is to be a difference to: tsvmm snapshot merge'
          : 'report it: this is a bug',
      cause,
    });
  }
}

async function writeDisk(
  directory: string,
  index: number,
  { write }: Extract<DraftDisk, { kind: 'copy' }>,
  progress: Progress,
  writeFile: (name: string, bytes: Uint8Array) => Promise<void>,
): Promise<DiskEntry> {
  const file = diskName(index);
  const { size, hashes } = await write(join(directory, file), progress);
  if (hashes === undefined) return { kind: 'copy', file, size };
  await writeFile(diskHashesName(index), hashes);
  return { kind: 'copy', file, size, sha256: hex(sha256(hashes)) };
}
