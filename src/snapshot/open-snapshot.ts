/**
 * A snapshot that is open and checked: its sections, its memory ready to be mapped (load-snapshot.ts made it). Main thread.
 */
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import type { PageFile } from '../memory/layer.js';
import type { RamRange } from '../memory/page-blocks.js';
import type { Piece } from '../memory/ram.js';
import { readFullySync } from './file-io.js';
import { type Manifest, memorySize } from './manifest.js';
import { inLayer, ramParts } from './ram-parts.js';
import { regsSection, sregsSection, VcpuRegisters } from './registers.js';
import type { Check } from './schema.js';
import { checked, damaged, unusable } from './snapshot-error.js';
import { type OpenedFile, type SnapshotFiles, unreadable } from './snapshot-folder.js';

/** A file with digests of its chunks beside it. */
export interface DigestedFile extends OpenedFile {
  /** The directory of the snapshot that it is part of. */
  readonly directory: string;
  readonly name: string;
  /** Absent: nobody made any. */
  readonly hashes?: { readonly fd: number; readonly name: string; readonly sha256: string };
}

/** Memory of a snapshot: as large as all of RAM, at the same offsets. */
export type SnapshotLayer = PageFile & DigestedFile;

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
  /** Its own memory, then that of its parents in the manifest's order; none where memory is elsewhere. */
  readonly layers: readonly SnapshotLayer[];
  /** The files of those disks that are in it. */
  readonly disks: readonly (DigestedFile | undefined)[];
  readonly #files: SnapshotFiles;
  readonly #pieces: readonly SnapshotPiece[];
  readonly #work = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;
  /** What was made of it and goes with it. */
  readonly #leftovers: (() => void)[] = [];

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
    const isElsewhere = manifest.memory.pieces.some(({ layer = -1 }) => layer >= layers.length);
    const pieces = isElsewhere ? [] : manifest.memory.pieces;
    this.#pieces = pieces.map(({ length, layer }) => {
      const at = offset;
      offset += length;
      return layer === undefined
        ? { offset: at, length }
        : { offset: at, length, layer: layers[layer]!, layerOffset: at };
    });
  }

  /** All of RAM, as `GuestRam.map` takes it: what is mapped stays when the snapshot is disposed of. None without memory. */
  get pieces(): readonly SnapshotPiece[] {
    this.assertOpen();
    return this.#pieces;
  }

  /** The parts of RAM that are not zeroes throughout, wherever they are. */
  get ranges(): RamRange[] {
    let end = 0;
    return this.manifest.memory.pieces.flatMap(({ length, layer }) => {
      end += length;
      return layer === undefined ? [] : [{ offset: end - length, length }];
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

  get vcpus(): number {
    let count = 0;
    while (this.sections.has(regsSection(count))) count++;
    return count;
  }

  /** Throws `ERR_TSVMM_SNAPSHOT` when the sections of that vCPU are missing, or are not what KVM's structures are. */
  registers(cpu: number): VcpuRegisters {
    const registers = VcpuRegisters.of(this.section(regsSection(cpu)), this.section(sregsSection(cpu)));
    if (registers !== undefined) return registers;
    throw damaged(this.directory, `the registers of vCPU ${cpu} are of another size than KVM's`);
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

  /** Does what reads its files, which stay open until that is done. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.assertOpen();
    const result = work();
    this.#work.add(result);
    try {
      return await result;
    } finally {
      this.#work.delete(result);
    }
  }

  /** Calls `release` when it is disposed of. */
  onClose(release: () => void): void {
    this.assertOpen();
    this.#leftovers.push(release);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const release of this.#leftovers) release();
    await Promise.allSettled(this.#work);
    await this.#files.close();
  }

  /** Throws when it has been disposed: the numbers of its descriptors may be those of other files by now. */
  assertOpen(): void {
    if (this.#closing === undefined) return;
    throw new TsvmmError('ERR_TSVMM_STATE', `the snapshot ${quote(this.directory)} has been disposed`);
  }
}

function readChecked(layer: SnapshotLayer, into: Uint8Array, offset: number): void {
  try {
    readFullySync(layer.fd, into, offset);
  } catch (error) {
    throw unreadable(layer.directory, layer.name, error);
  }
}
