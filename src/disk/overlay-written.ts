/**
 * What an ephemeral disk remembers of its private file, in shared memory: which sectors are in it and, with a limit, which
 * blocks have been given out (overlay-room.ts). Main makes it, the I/O worker writes it.
 */
import { takeShared } from '../memory/shared-pool.js';
import type { OpenOverlay } from './disk-map.js';
import { OverlayRoom, roomBytes } from './overlay-room.js';
import { SectorBits, sectorBitBytes, sectorSize } from './sector-bits.js';

/** Blocks that a limit has given out, as a double; the bits of the sectors follow, and with a limit those of the blocks. */
const headerSize = 8;

/**
 * What an overlay of a disk of `size` bytes knows: nothing is written yet. Throws RangeError if it cannot be had. For
 * `giveShared` when nobody uses it any more.
 */
export const allocateWritten = (size: number, limit?: number): SharedArrayBuffer =>
  takeShared(headerSize + sectorBitBytes(size) + (limit === undefined ? 0 : roomBytes(size)));

/** Which sectors it has. */
export const writtenSectors = (written: SharedArrayBuffer, size: number): SectorBits =>
  new SectorBits(written, headerSize, size);

/** The same for a disk that has grown: what is beyond its old end is in no base, and reads as the hole that is there. */
export function extendWritten(
  written: SharedArrayBuffer,
  { from, to, limit }: { readonly from: number; readonly to: number; readonly limit?: number | undefined },
): SharedArrayBuffer {
  const extended = allocateWritten(to, limit);
  const sectors = writtenSectors(extended, to);
  writtenSectors(written, from).copyTo(sectors);
  sectors.set(from / sectorSize, to / sectorSize);
  const bytes = new Uint8Array(extended);
  bytes.set(new Uint8Array(written, 0, headerSize));
  bytes.set(new Uint8Array(written, headerSize + sectorBitBytes(from)), headerSize + sectorBitBytes(to));
  return extended;
}

/** What is there, for a disk that is frozen: a copy that says nothing of blocks. */
export function copyWritten(written: SharedArrayBuffer, size: number): SharedArrayBuffer {
  const copy = allocateWritten(size);
  writtenSectors(written, size).copyTo(writtenSectors(copy, size));
  return copy;
}

/** The room that an overlay has, if that is limited, for so many requests at a time. */
export function overlayRoom(overlay: OpenOverlay, requests: number): OverlayRoom | undefined {
  const { written, size, limit, givesBack = false } = overlay;
  if (limit === undefined) return undefined;
  const given = new Uint32Array(written, headerSize + sectorBitBytes(size));
  return new OverlayRoom(new Float64Array(written, 0, 1), given, limit, requests, givesBack);
}
