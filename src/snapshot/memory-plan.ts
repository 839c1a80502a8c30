/**
 * Which parts of RAM a snapshot keeps in its own file, which it leaves to snapshots that have them already, and which are
 * zeroes. Any thread; pure.
 *
 * A difference needs no log of what was written: layers never change, so wherever RAM shows the same part of the same layer
 * as when the parent was written, the parent has these bytes (contract §4.5).
 */
import type { PageFile } from '../memory/layer.js';
import type { Piece } from '../memory/ram.js';
import { chunkSize, digestSize } from './manifest.js';
import type { OpenSnapshot, SnapshotLayer } from './open-snapshot.js';
import { inLayer, ramParts } from './ram-parts.js';

/** A range of RAM, and whose file has it. */
export interface PlannedPiece {
  readonly offset: number;
  readonly length: number;
  readonly from: 'own' | 'zeroes' | SnapshotLayer;
}

/** What a snapshot is to be a difference to. */
export interface Parent {
  readonly snapshot: OpenSnapshot;
  /** What RAM was made of when that was written, or mapped from it: the layers as the same objects. */
  readonly pieces: readonly Piece[];
}

/** At most `most` pieces: small ones are kept in the own file, so that they join their neighbours there. */
export function planMemory(pieces: readonly Piece[], parent: Parent | undefined, most: number): PlannedPiece[] {
  const planned: PlannedPiece[] = [];
  for (const piece of pieces) {
    if (piece.layer === undefined) planned.push({ offset: piece.offset, length: piece.length, from: 'zeroes' });
    else if (parent === undefined) planned.push({ offset: piece.offset, length: piece.length, from: 'own' });
    else planned.push(...sharedParts(piece, piece.layer, parent));
  }
  let plan = joined(planned);
  while (plan.length > most) {
    const smallest = plan.reduce((best, piece) => (cost(piece) < cost(best) ? piece : best));
    plan = joined(plan.map((piece) => (piece === smallest ? { ...piece, from: 'own' } : piece)));
  }
  return plan;
}

/** What the own file would have to take. */
const cost = ({ from, length }: PlannedPiece): number => (from === 'own' ? Number.POSITIVE_INFINITY : length);

/** A piece by what the parent has of it. */
function* sharedParts(piece: Piece, layer: PageFile, { snapshot, pieces }: Parent): Generator<PlannedPiece, void> {
  for (const then of ramParts(pieces, piece.offset, piece.length)) {
    const { offset, length } = then;
    const now = inLayer({ piece, offset, length });
    if (then.piece.layer !== layer || inLayer(then) !== now) yield { offset, length, from: 'own' };
    else
      for (const part of ramParts(snapshot.pieces, offset, length))
        yield { offset: part.offset, length: part.length, from: part.piece.layer ?? 'zeroes' };
  }
}

/** Neighbours of one kind as one piece. */
export function joined(pieces: readonly PlannedPiece[]): PlannedPiece[] {
  const result: PlannedPiece[] = [];
  for (const piece of pieces) {
    const last = result.at(-1);
    if (last?.from === piece.from) result[result.length - 1] = { ...last, length: last.length + piece.length };
    else result.push(piece);
  }
  return result;
}

/**
 * The same once the own file is written: its long holes are pieces of zeroes, which a machine maps as memory of its own, with
 * huge pages and no file behind. The longest first, while there are no more than `most` pieces.
 */
export function withHoles(planned: readonly PlannedPiece[], hashes: Uint8Array, most: number): PlannedPiece[] {
  const holes = planned.flatMap((piece) => (piece.from === 'own' ? holesOf(piece, hashes) : []));
  holes.sort((a, b) => b.length - a.length);
  let pieces = [...planned];
  for (const hole of holes) {
    if (pieces.length + 2 > most) break;
    pieces = joined(pieces.flatMap((piece) => (contains(piece, hole) ? around(piece, hole) : piece)));
  }
  return pieces;
}

const contains = (piece: PlannedPiece, { offset }: PlannedPiece): boolean =>
  offset >= piece.offset && offset < piece.offset + piece.length;

function around(piece: PlannedPiece, hole: PlannedPiece): PlannedPiece[] {
  const end = hole.offset + hole.length;
  const before = { ...piece, length: hole.offset - piece.offset };
  const after = { ...piece, offset: end, length: piece.offset + piece.length - end };
  return [before, hole, after].filter(({ length }) => length > 0);
}

/** Runs of whole chunks without a digest. */
function holesOf({ offset, length }: PlannedPiece, hashes: Uint8Array): PlannedPiece[] {
  const holes: PlannedPiece[] = [];
  const words = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length / 4);
  const last = Math.floor((offset + length) / chunkSize);
  for (let index = Math.ceil(offset / chunkSize); index < last; index++) {
    if (!isHole(words, index)) continue;
    const first = index;
    while (index + 1 < last && isHole(words, index + 1)) index++;
    holes.push({ offset: first * chunkSize, length: (index + 1 - first) * chunkSize, from: 'zeroes' });
  }
  return holes;
}

/** RAM may have half a million chunks. */
function isHole(words: Uint32Array, index: number): boolean {
  const digestWords = digestSize / 4;
  for (let at = index * digestWords; at < (index + 1) * digestWords; at++) if (words[at] !== 0) return false;
  return true;
}
