/**
 * A snapshot that is open: its manifest checked, its sections read and checked, its memory ready to be mapped. Main thread.
 *
 * Everything in a snapshot is hostile until it is checked (trap T49): nothing is allocated that the size of a file does not
 * cover. The content of memory and disks is the guest's, whoever wrote it, and is compared with its digests by verify.ts.
 */
import { dirname, join } from 'node:path';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { sha256, sha256Later } from '../host/digest.js';
import type { Layer, Piece } from '../memory/ram.js';
import { readFullySync } from './file-io.js';
import { chunksIn, type DiskEntry, digestSize, type Manifest, memorySize, sum } from './manifest.js';
import { largestManifest, OtherVersion, parseManifest, type ReadManifest } from './manifest-text.js';
import { diskHashesName, manifestName, memoryHashesName, memoryName, siblingName, stateName } from './names.js';
import { inLayer, ramParts } from './ram-parts.js';
import { type Check, Mismatch } from './schema.js';
import { damaged, unusable } from './snapshot-error.js';
import { type OpenedFile, SnapshotFiles, type SnapshotFolder, unreadable } from './snapshot-folder.js';

/** A file with digests of its chunks beside it. */
export interface DigestedFile extends OpenedFile {
  /** The directory of the snapshot that it is part of. */
  readonly directory: string;
  readonly name: string;
  /** Absent: nobody made any. */
  readonly hashes?: { readonly fd: number; readonly name: string; readonly sha256: string };
}

/** Memory of a snapshot: as large as all of RAM, at the same offsets. */
export type SnapshotLayer = Layer & DigestedFile;

/** As `GuestRam.map` takes it. */
export interface SnapshotPiece extends Piece {
  readonly layer?: SnapshotLayer;
}

interface Parts {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly sha256: string;
  readonly sections: ReadonlyMap<string, Uint8Array>;
  readonly layers: readonly SnapshotLayer[];
  readonly disks: readonly (DigestedFile | undefined)[];
  readonly files: SnapshotFiles;
}

export class OpenSnapshot implements AsyncDisposable {
  /** Its real path. */
  readonly directory: string;
  readonly manifest: Manifest;
  /** The identity of the manifest, by which differences to this snapshot know it. */
  readonly sha256: string;
  readonly sections: ReadonlyMap<string, Uint8Array>;
  /** Its own memory, then that of its parents in the manifest's order. */
  readonly layers: readonly SnapshotLayer[];
  /** All of RAM; the layers stay open until the snapshot is disposed of, and mappings of them stay beyond that. */
  readonly pieces: readonly SnapshotPiece[];
  /** The files of those disks that are in it. */
  readonly disks: readonly (DigestedFile | undefined)[];
  readonly #files: SnapshotFiles;

  /** @internal By `openSnapshot`. */
  constructor({ directory, manifest, sha256, sections, layers, disks, files }: Parts) {
    this.directory = directory;
    this.manifest = manifest;
    this.sha256 = sha256;
    this.sections = sections;
    this.layers = layers;
    this.disks = disks;
    this.#files = files;
    let offset = 0;
    this.pieces = manifest.memory.pieces.map(({ length, layer }) => {
      const at = offset;
      offset += length;
      return layer === undefined
        ? { offset: at, length }
        : { offset: at, length, layer: layers[layer]!, layerOffset: at };
    });
  }

  get memorySize(): number {
    return memorySize(this.manifest);
  }

  /** A section, not to be written to. Throws `ERR_TSVMM_SNAPSHOT` when the snapshot has none of that name. */
  section(name: string): Uint8Array {
    const bytes = this.sections.get(name);
    if (bytes !== undefined) return bytes;
    throw unusable(
      this.directory,
      `it has no section ${quote(name)}`,
      'it was made for something else: take another one',
    );
  }

  /** What its maker said of the machine, in the form that `check` wants. Throws `ERR_TSVMM_SNAPSHOT`. */
  machine<T>(check: Check<T>): T {
    return checked(this.directory, () => check(this.manifest.machine, 'machine'));
  }

  /** Fills `into` with RAM from `offset` on, which lies in it; waits for the disk. */
  readMemory(offset: number, into: Uint8Array): void {
    for (const part of ramParts(this.pieces, offset, into.length)) {
      const target = into.subarray(part.offset - offset, part.offset - offset + part.length);
      const { layer } = part.piece;
      if (layer === undefined) target.fill(0);
      else readChecked(layer, target, inLayer(part));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files.close();
  }
}

function readChecked(layer: SnapshotLayer, into: Uint8Array, offset: number): void {
  try {
    readFullySync(layer.fd, into, offset);
  } catch (error) {
    throw unreadable(layer.directory, layer.name, error);
  }
}

/**
 * Opens the snapshot in a directory. Rejects with `ERR_TSVMM_SNAPSHOT` when there is none, or one that is damaged, of another
 * version, or a difference to one that is not there any more.
 */
export async function openSnapshot(path: string): Promise<OpenSnapshot> {
  const files = new SnapshotFiles();
  try {
    const folder = await files.openGiven(path);
    const { manifest, sha256 } = await readManifest(folder);
    const sections = await readState(folder, manifest);
    const layers = [await openLayer(folder, manifest)];
    for (const parent of manifest.parents) layers.push(await openParent(files, folder.directory, parent, manifest));
    const disks: (DigestedFile | undefined)[] = [];
    for (const [index, entry] of manifest.disks.entries()) disks.push(await openDisk(folder, index, entry));
    return new OpenSnapshot({ directory: folder.directory, manifest, sha256, sections, layers, disks, files });
  } catch (error) {
    await files.close();
    throw error;
  }
}

/** What `read` answers; a mismatch is the manifest's. */
function checked<T>(directory: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof OtherVersion)
      throw unusable(directory, `${manifestName}: ${error.message}`, 'use the version of tsvmm that wrote it', error);
    if (error instanceof Mismatch) throw damaged(directory, `${manifestName}: ${error.message}`, error);
    throw error;
  }
}

async function readManifest(folder: SnapshotFolder): Promise<ReadManifest> {
  const bytes = await folder.read(manifestName, { most: largestManifest });
  return checked(folder.directory, () => parseManifest(bytes));
}

async function readState(folder: SnapshotFolder, { state }: Manifest): Promise<Map<string, Uint8Array>> {
  const bytes = await folder.read(stateName, { size: sum(state.map(({ length }) => length)) });
  const sections = new Map<string, Uint8Array>();
  let offset = 0;
  for (const { name, length, sha256: digest } of state) {
    // A copy each: it begins where every kind of view can begin.
    const section = Uint8Array.prototype.slice.call(bytes, offset, offset + length);
    const found = length > quick ? await sha256Later(section) : sha256(section);
    if (found.toString('hex') !== digest)
      throw damaged(folder.directory, `${stateName}: the section ${name} is not what was written`);
    sections.set(name, section);
    offset += length;
  }
  return sections;
}

/** Hashed at once: a fraction of a millisecond. */
const quick = 64 * 1024;

async function openLayer(folder: SnapshotFolder, manifest: Manifest): Promise<SnapshotLayer> {
  const size = memorySize(manifest);
  const { fd } = await folder.open(memoryName, size);
  const hashes = await folder.open(memoryHashesName, chunksIn(size) * digestSize);
  const { sha256 } = manifest.memory;
  return {
    fd,
    size,
    directory: folder.directory,
    name: memoryName,
    hashes: { fd: hashes.fd, name: memoryHashesName, sha256 },
  };
}

async function openParent(
  files: SnapshotFiles,
  child: string,
  { directory, id, sha256 }: Manifest['parents'][number],
  manifest: Manifest,
): Promise<SnapshotLayer> {
  const path = join(dirname(child), siblingName(directory)!);
  try {
    const folder = await files.openNeighbour(path, path);
    const parent = await readManifest(folder);
    if (parent.manifest.id !== id) throw unusable(path, 'it is another snapshot', 'put the right one back there');
    if (parent.sha256 !== sha256) throw damaged(path, 'it is not as it was then');
    if (memorySize(parent.manifest) !== memorySize(manifest)) throw damaged(path, 'its memory is of another size');
    return await openLayer(folder, parent.manifest);
  } catch (cause) {
    if (!(cause instanceof TsvmmError)) throw cause;
    throw unusable(
      child,
      `it is only the difference to ${quote(directory)}: ${cause.message}`,
      cause.hint ?? '',
      cause,
    );
  }
}

async function openDisk(folder: SnapshotFolder, index: number, entry: DiskEntry): Promise<DigestedFile | undefined> {
  if (entry.kind !== 'copy') return undefined;
  const { file, size, sha256 } = entry;
  const { fd } = await folder.open(file, size);
  const { directory } = folder;
  if (sha256 === undefined) return { fd, size, directory, name: file };
  const name = diskHashesName(index);
  const hashes = await folder.open(name, chunksIn(size) * digestSize);
  return { fd, size, directory, name: file, hashes: { fd: hashes.fd, name, sha256 } };
}
