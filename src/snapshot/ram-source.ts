/** RAM as the content of a file: from the layers that a machine shows, or, compared on the way, from a snapshot's. Main thread. */
import type { PageFile } from '../memory/layer.js';
import type { Piece } from '../memory/ram.js';
import { CheckedFile } from './digested-file.js';
import { readFully } from './file-io.js';
import { chunkSize } from './manifest.js';
import type { PlannedPiece } from './memory-plan.js';
import type { OpenSnapshot, SnapshotLayer } from './open-snapshot.js';
import { inLayer, type RamPart, ramParts } from './ram-parts.js';
import { type ChunkSource, DataFinder } from './sparse-file.js';

const chunkStart = (index: number): number => index * chunkSize;

/** The parts of a chunk that are to be in the file and may not be zeroes. */
abstract class RamSource<P extends Piece> implements ChunkSource {
  readonly size: number;
  readonly #pieces: readonly P[];

  constructor(size: number, pieces: readonly P[]) {
    this.size = size;
    this.#pieces = pieces;
  }

  protected abstract hasData(part: RamPart<P>): boolean;
  protected abstract fill(part: RamPart<P>, into: Buffer): Promise<void>;

  *#parts(index: number): Generator<RamPart<P>, void> {
    const start = chunkStart(index);
    for (const part of ramParts(this.#pieces, start, Math.min(chunkSize, this.size - start)))
      if (this.hasData(part)) yield part;
  }

  isHole(index: number): boolean {
    return this.#parts(index).next().done === true;
  }

  async read(index: number, into: Buffer): Promise<void> {
    const start = chunkStart(index);
    let filled = 0;
    for (const part of this.#parts(index)) {
      const at = part.offset - start;
      into.fill(0, filled, at);
      filled = at + part.length;
      await this.fill(part, into.subarray(at, filled));
    }
    into.fill(0, filled);
  }
}

/** Those pieces of a machine's RAM that its snapshot keeps itself. */
export class LayersSource extends RamSource<Piece> {
  readonly #finders = new Map<PageFile, DataFinder>();

  constructor(size: number, pieces: readonly Piece[], planned: readonly PlannedPiece[]) {
    super(size, keptBy(pieces, planned));
  }

  protected override hasData(part: RamPart): boolean {
    const { layer } = part.piece;
    if (layer === undefined) return false;
    const finder = this.#finders.get(layer) ?? new DataFinder(layer.fd);
    this.#finders.set(layer, finder);
    const start = inLayer(part);
    return finder.hasData(start, start + part.length);
  }

  protected override fill(part: RamPart, into: Buffer): Promise<void> {
    return readFully(part.piece.layer!.fd, into, inLayer(part));
  }
}

/** RAM with nothing where the snapshot does not keep it. */
function keptBy(pieces: readonly Piece[], planned: readonly PlannedPiece[]): Piece[] {
  return planned.flatMap(({ offset, length, from }) =>
    from !== 'own'
      ? { offset, length }
      : [...ramParts(pieces, offset, length)].map((part) => {
          const { layer } = part.piece;
          const where = { offset: part.offset, length: part.length };
          return layer === undefined ? where : { ...where, layer, layerOffset: inLayer(part) };
        }),
  );
}

/** A whole snapshot: each chunk of each file is compared with its digest before a part of it is taken. */
export class SnapshotSource extends RamSource<OpenSnapshot['pieces'][number]> {
  readonly #files: ReadonlyMap<SnapshotLayer, CheckedFile>;
  readonly #scratch = Buffer.allocUnsafeSlow(chunkSize);
  /** One part at a time has the scratch buffer. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(snapshot: OpenSnapshot, files: ReadonlyMap<SnapshotLayer, CheckedFile>) {
    super(snapshot.memorySize, snapshot.pieces);
    this.#files = files;
  }

  static async open(snapshot: OpenSnapshot): Promise<SnapshotSource> {
    const files = new Map<SnapshotLayer, CheckedFile>();
    for (const layer of snapshot.layers) files.set(layer, await CheckedFile.open(layer));
    return new SnapshotSource(snapshot, files);
  }

  protected override hasData({ piece, offset }: RamPart<OpenSnapshot['pieces'][number]>): boolean {
    return piece.layer !== undefined && !this.#files.get(piece.layer)!.isHole(Math.floor(offset / chunkSize));
  }

  protected override async fill(part: RamPart<OpenSnapshot['pieces'][number]>, into: Buffer): Promise<void> {
    const file = this.#files.get(part.piece.layer!)!;
    const index = Math.floor(part.offset / chunkSize);
    const whole = Math.min(chunkSize, this.size - chunkStart(index));
    if (into.length === whole) return file.read(index, into);
    const mine = this.#turn.then(async () => {
      const chunk = this.#scratch.subarray(0, whole);
      await file.read(index, chunk);
      const from = part.offset - chunkStart(index);
      into.set(chunk.subarray(from, from + part.length));
    });
    this.#turn = mine.catch(() => {}); // who waits for it is told
    return mine;
  }
}
