/**
 * An ephemeral disk: what was written lies in a private file, everything else in layers below it (frozen-layers.ts), of which
 * an image is one. The I/O worker.
 *
 * One bit per sector says where it is. Guests write whole sectors, so nothing is ever copied before a write, and a disk
 * of any size starts at once: the bits are memory that the host supplies where the guest writes. They belong to the disk
 * and not to this thread, so that a guest that reboots finds what it wrote. A transfer may stop inside a sector and go on
 * there.
 *
 * A limit has bits of its own (overlay-room.ts), which are kept like these.
 */
import type { DiskMap, OpenOverlay } from './disk-map.js';
import { FrozenLayers } from './frozen-layers.js';
import type { OverlayRoom } from './overlay-room.js';
import { overlayRoom, writtenSectors } from './overlay-written.js';
import { type SectorBits, sectorSize } from './sector-bits.js';

export class OverlayMap implements DiskMap {
  fd = -1;
  flags = 0;
  /** Nothing of it is wanted after a crash. */
  readonly syncFd = -1;
  readonly writesBriefly: boolean;
  readonly #overlay: number;
  readonly #below: FrozenLayers;
  readonly #offsets: Float64Array;
  readonly #written: SectorBits;
  readonly #room: OverlayRoom | undefined;

  /** `offsets` are of requests, by their numbers. One map at a time uses a disk's `written`. */
  constructor(disk: OpenOverlay, offsets: Float64Array) {
    this.writesBriefly = disk.writesBriefly ?? false;
    this.#overlay = disk.overlay;
    this.#below = new FrozenLayers(disk.layers, offsets);
    this.#offsets = offsets;
    this.#written = writtenSectors(disk.written, disk.size);
    this.#room = overlayRoom(disk, offsets.length);
  }

  locateRead(request: number, length: number): number {
    const offset = this.#offsets[request]!;
    const sector = Math.floor(offset / sectorSize);
    const there = this.#written.has(sector);
    const count = Math.ceil((offset + length) / sectorSize) - sector;
    const end = (sector + this.#written.run(sector, count, there)) * sectorSize;
    const bytes = Math.max(0, Math.min(end - offset, length));
    if (there) {
      this.#choose();
      this.#below.leaves(request);
      return bytes;
    }
    const found = this.#below.locate(request, bytes);
    this.fd = this.#below.fd;
    this.flags = this.#below.flags;
    return found;
  }

  locateWrite(request: number, length: number): number {
    this.#choose();
    return this.#room === undefined ? length : this.#room.beginWrite(request, this.#offsets[request]!, length);
  }

  locateHole(request: number, length: number): number {
    this.#choose();
    this.#room?.beginHole(request, this.#offsets[request]!, length);
    return length;
  }

  holds(request: number, length: number): boolean {
    return this.#below.holds(request, length);
  }

  get loss(): number {
    return this.#below.loss;
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

  #choose(): void {
    this.fd = this.#overlay;
    this.flags = 0;
  }
}
