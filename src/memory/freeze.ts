/**
 * Freezing guest RAM: what a machine has written since it was last frozen becomes an immutable layer, and the machine goes on
 * over it by copy-on-write, at the same addresses (contract §4.3-4.5). Main thread, the machine quiet from begin to end.
 *
 * Private pages are found in the page tables, so it does not matter who wrote them. They are copied to a new file, pages of
 * zeroes left out, in steps, so that the program's event loop turns meanwhile. What this program itself writes to guest memory
 * between two steps is copied again at the end. Of what was copied while the machine went on (copied-ahead.ts), only what was
 * written since is copied again.
 */
import type { CopiedAhead } from './copied-ahead.js';
import { type CopyJob, chunkSize, copyJob, copyPages, copySome } from './copy-job.js';
import { type Layer, LayerFile } from './layer.js';
import { privateRuns } from './pagemap.js';
import type { RamPiece } from './ram.js';
import { lengthOf, type Run, union, within, without } from './runs.js';

const pageSize = 4096;
/** More mappings would soon reach vm.max_map_count (contract §4.4). */
export const maxPieces = 256;

export class RamFreeze {
  /** For other threads: what they copy, and this one need not. */
  readonly job: CopyJob;
  readonly #address: number;
  readonly #pieces: readonly RamPiece[];
  readonly #written: readonly Run[];
  readonly #plan: FreezePlan;
  readonly #file: LayerFile;
  readonly #ahead: CopiedAhead | undefined;
  readonly #chunk = Buffer.allocUnsafeSlow(chunkSize);
  /** Written by this program since it began. */
  readonly #touched: Run[] = [];

  /** Takes over what was copied ahead. */
  constructor(address: number, size: number, pieces: readonly RamPiece[], ahead?: CopiedAhead) {
    this.#address = address;
    this.#pieces = pieces;
    const { written, same } = privateTo(address, size, pieces);
    this.#written = written;
    this.#plan = planFreeze(written, pieces);
    // What was copied and is not private any more has become zeroes.
    const copy = ahead === undefined ? this.#plan.copy : without(union([...this.#plan.copy, ...ahead.copied]), same);
    this.#ahead = ahead;
    this.#file = ahead?.file ?? new LayerFile(size);
    this.job = copyJob(address, this.#file.fd, copy, ahead !== undefined);
  }

  /** Copies up to `bytes`; true when there is no more to begin: whoever helps may still be at it. */
  copy(bytes: number): boolean {
    return copySome(this.job, this.#chunk, bytes);
  }

  /** This program has written to guest memory meanwhile. */
  touch(offset: number, length: number): void {
    const start = Math.floor(offset / pageSize) * pageSize;
    this.#touched.push({ start, end: Math.ceil((offset + length) / pageSize) * pageSize });
  }

  /** Everything is copied, by everybody: the layer, and what RAM is made of from now on. */
  finish(): { readonly layer: Layer; readonly pieces: readonly RamPiece[] } {
    let { cover } = this.#plan;
    if (this.#touched.length > 0) {
      const plan = planFreeze([...this.#written, ...this.#touched], this.#pieces);
      cover = plan.cover;
      for (const { start, end } of [...this.#touched, ...plan.gaps])
        for (let at = start; at < end; at += chunkSize)
          copyPages(this.#address, this.#file.fd, at, this.#chunk.subarray(0, Math.min(chunkSize, end - at)), true);
    }
    const layer = this.#file.seal();
    return { layer, pieces: overlaid(this.#pieces, cover, layer) };
  }

  /** What `finish` gave is mapped, or will not be. */
  close(): void {
    this.#ahead?.close();
  }

  /** Nobody copies any more. */
  abandon(): void {
    this.close();
    this.#file.discard();
  }
}

/** What is private to the machine, in any order, and what of it was not written while it was watched. */
function privateTo(address: number, size: number, pieces: readonly RamPiece[]): { written: Run[]; same: Run[] } {
  const written: Run[] = [];
  const same: Run[] = [];
  const zeroes: Run[] = [];
  privateRuns(address, size, (start, end, isZero, isWritten) => {
    (isZero ? zeroes : written).push({ start, end });
    if (!isZero && !isWritten) same.push({ start, end });
  });
  const layers = pieces.flatMap(({ offset, length, layer }) =>
    layer === undefined ? [] : [{ start: offset, end: offset + length }],
  );
  return { written: [...written, ...within(zeroes, layers)], same };
}

/** Runs are in order and apart from each other. */
export interface FreezePlan {
  /** What the new layer shows. */
  readonly cover: readonly Run[];
  /** Of that, what must be copied; the rest was never written and is zeroes, as a hole is. */
  readonly copy: readonly Run[];
  /** Of that, what was not written. */
  readonly gaps: readonly Run[];
}

/**
 * A piece of zeroes that was written to is covered as a whole, which costs nothing; of other pieces what was written. If RAM
 * would be made of more than `most` pieces, the smallest gaps between the written runs are copied as well.
 */
export function planFreeze(written: readonly Run[], pieces: readonly RamPiece[], most = maxPieces): FreezePlan {
  const runs = union(written);
  let cover = union(pieces.flatMap((piece) => covered(piece, runs)));
  const gaps: Run[] = [];
  while (cover.length > 1 && countPieces(pieces, cover) > most) {
    const between = cover.slice(1).map(({ start }, i) => ({ start: cover[i]!.end, end: start }));
    const lengths = between.map(lengthOf).sort((a, b) => a - b);
    const limit = lengths[Math.floor(lengths.length / 4)]!;
    const closed = between.filter((gap) => lengthOf(gap) <= limit);
    gaps.push(...closed);
    cover = union([...cover, ...closed]);
  }
  return { cover, copy: union([...runs, ...gaps]), gaps: union(gaps) };
}

function covered({ offset, length, layer }: RamPiece, runs: readonly Run[]): Run[] {
  const end = offset + length;
  const inside = runs.filter((run) => run.start < end && run.end > offset);
  if (layer === undefined) return inside.length === 0 ? [] : [{ start: offset, end }];
  return inside.map((run) => ({ start: Math.max(run.start, offset), end: Math.min(run.end, end) }));
}

const countPieces = (pieces: readonly RamPiece[], cover: readonly Run[]): number =>
  overlaid(pieces, cover, undefined).length;

/** `pieces` under those of a new layer whose offsets are those of RAM. */
function overlaid(pieces: readonly RamPiece[], cover: readonly Run[], layer: Layer | undefined): RamPiece[] {
  const made: RamPiece[] = [];
  const rest = (from: number, to: number): void => {
    for (const piece of pieces) {
      const start = Math.max(from, piece.offset);
      const end = Math.min(to, piece.offset + piece.length);
      if (start >= end) continue;
      const inside = { offset: start, length: end - start };
      made.push(
        piece.layer === undefined
          ? inside
          : { ...inside, layer: piece.layer, layerOffset: (piece.layerOffset ?? 0) + start - piece.offset },
      );
    }
  };
  let at = 0;
  for (const { start, end } of cover) {
    rest(at, start);
    made.push({ offset: start, length: end - start, ...(layer === undefined ? {} : { layer, layerOffset: start }) });
    at = end;
  }
  const last = pieces.at(-1)!;
  rest(at, last.offset + last.length);
  return made;
}
