/** RAM as pieces of files: which part of which piece a range is. Any thread; pure. */
import type { Piece } from '../memory/ram.js';

/** A range of RAM that lies in one piece. */
export interface RamPart<P extends Piece = Piece> {
  readonly piece: P;
  readonly offset: number;
  readonly length: number;
}

/** The parts of a range, in order; `pieces` cover it. */
export function* ramParts<P extends Piece>(
  pieces: readonly P[],
  offset: number,
  length: number,
): Generator<RamPart<P>, void> {
  const end = offset + length;
  for (let index = firstAt(pieces, offset); index < pieces.length; index++) {
    const piece = pieces[index]!;
    if (piece.offset >= end) return;
    const from = Math.max(offset, piece.offset);
    const to = Math.min(end, piece.offset + piece.length);
    if (to > from) yield { piece, offset: from, length: to - from };
  }
}

/** Where in its layer a part begins. */
export const inLayer = ({ piece, offset }: RamPart): number => (piece.layerOffset ?? 0) + offset - piece.offset;

/** The index of the piece that `offset` lies in. */
function firstAt(pieces: readonly Piece[], offset: number): number {
  const index = pieces.findIndex((piece) => piece.offset + piece.length > offset);
  return index < 0 ? pieces.length : index;
}
