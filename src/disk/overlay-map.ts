/**
 * An ephemeral disk: what was written lies in a private file, everything else in the base, which is never written. The
 * I/O worker.
 *
 * One bit per sector says where it is. Guests write whole sectors, so nothing is ever copied before a write, and a disk
 * of any size starts at once: the bits are memory that the host supplies where the guest writes. They belong to the disk
 * and not to this thread, so that a guest that reboots finds what it wrote. A transfer may stop inside a sector and go on
 * there.
 *
 * A limit has bits of its own (overlay-room.ts), which are kept like these.
 */
import { DIRECT } from '../host/engine-slots.js';
import { takeShared } from '../memory/shared-pool.js';
import type { DiskMap, OpenOverlay } from './disk-map.js';
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

export class OverlayMap implements DiskMap {
  fd = -1;
  flags = 0;
  /** Nothing of it is wanted after a crash. */
  readonly syncFd = -1;
  readonly writesBriefly: boolean;
  readonly #base: number;
  readonly #overlay: number;
  /** For reading the base. */
  readonly #baseFlags: number;
  readonly #offsets: Float64Array;
  readonly #written: SectorBits;
  readonly #room: OverlayRoom | undefined;

  /** `offsets` are of requests, by their numbers. One map at a time uses a disk's `written`. */
  constructor(disk: OpenOverlay, offsets: Float64Array) {
    const { written, size, limit, givesBack = false } = disk;
    this.writesBriefly = disk.writesBriefly ?? false;
    this.#base = disk.base;
    this.#offsets = offsets;
    this.#overlay = disk.overlay;
    this.#baseFlags = disk.direct === undefined ? 0 : DIRECT;
    this.#written = writtenSectors(written, size);
    if (limit === undefined) return;
    const given = new Uint32Array(written, headerSize + sectorBitBytes(size));
    this.#room = new OverlayRoom(new Float64Array(written, 0, 1), given, limit, offsets.length, givesBack);
  }

  locateRead(request: number, length: number): number {
    const offset = this.#offsets[request]!;
    const written = this.#written.has(Math.floor(offset / sectorSize));
    this.fd = written ? this.#overlay : this.#base;
    this.flags = written ? 0 : this.#baseFlags;
    return this.#run(offset, length, written);
  }

  locateWrite(request: number, length: number): number {
    this.fd = this.#overlay;
    this.flags = 0;
    return this.#room === undefined ? length : this.#room.beginWrite(request, this.#offsets[request]!, length);
  }

  locateHole(request: number, length: number): number {
    this.fd = this.#overlay;
    this.flags = 0;
    this.#room?.beginHole(request, this.#offsets[request]!, length);
    return length;
  }

  ended(request: number, result: number): void {
    this.#room?.end(request, result >= 0);
  }

  close(): void {
    this.#room?.close();
  }

  /**
   * From now on these are read from the overlay; not before, when a read would find a hole. A sector counts when its last
   * byte is written: the bytes before it were written by the step before.
   */
  wrote(request: number, length: number): void {
    const offset = this.#offsets[request]!;
    this.#written.set(Math.floor(offset / sectorSize), Math.floor((offset + length) / sectorSize));
  }

  /** How many of `length` bytes at `offset` are in sectors that are all written, or all not, in a row. */
  #run(offset: number, length: number, written: boolean): number {
    const sector = Math.floor(offset / sectorSize);
    const count = Math.ceil((offset + length) / sectorSize) - sector;
    const end = (sector + this.#written.run(sector, count, written)) * sectorSize;
    return Math.max(0, Math.min(end - offset, length));
  }
}
