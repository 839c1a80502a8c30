/**
 * The content of a disk at an instant, as layers of files: a sector is in the first layer that has it, and the last has all.
 * I/O workers; main and the thread that copies disks read by it, too.
 *
 * What never changes is simply read. What its owner goes on writing has a history (history.ts): what was read from the file
 * itself counts only if `holds` says so afterwards, and is read again otherwise.
 */
import { DIRECT } from '../host/engine-slots.js';
import { History, inPlace, lost, type OpenHistory, unitBytes } from './history.js';
import { writtenSectors } from './overlay-written.js';
import { type SectorBits, sectorSize } from './sector-bits.js';

/** Plain data: posted to I/O workers. */
export interface OpenLayer {
  /** Offsets in it are those of the disk. */
  readonly fd: number;
  /** Which sectors it has, of a disk of that size (overlay-written.ts); undefined: all. */
  readonly written?: { readonly bits: SharedArrayBuffer; readonly size: number } | undefined;
  /** It is open for direct I/O. */
  readonly direct?: boolean;
  /** It is what it was at that instant; undefined: it never changes. */
  readonly past?: { readonly history: OpenHistory; readonly instant: number } | undefined;
}

interface Layer {
  readonly fd: number;
  readonly flags: number;
  readonly sectors: SectorBits | undefined;
  readonly history: History | undefined;
  readonly instant: number;
}

/** Of a request that reads nothing that may change. */
const fixed = -1;

export class FrozenLayers {
  /** The file chosen by the last `locate`, and the engine's flags for reading it. */
  fd = -1;
  flags = 0;
  /** Why the last `locate` found nothing: an errno. */
  loss = 0;
  readonly #layers: readonly Layer[];
  readonly #offsets: Float64Array;
  /** Of each request: the layer that it reads in place. */
  readonly #reads: Int16Array;

  /** `offsets` are of requests, by their numbers. */
  constructor(layers: readonly OpenLayer[], offsets: Float64Array) {
    this.#layers = layers.map(({ fd, written, direct, past }) => ({
      fd,
      flags: direct === true ? DIRECT : 0,
      sectors: written && writtenSectors(written.bits, written.size),
      history: past && new History(past.history),
      instant: past?.instant ?? 0,
    }));
    this.#offsets = offsets;
    this.#reads = new Int16Array(offsets.length).fill(fixed);
  }

  /** How many of the `length` bytes of a request are in `fd` in a row; 0 when they are lost. */
  locate(request: number, length: number): number {
    const offset = this.#offsets[request]!;
    const sector = Math.floor(offset / sectorSize);
    let end = offset + length;
    for (let i = 0; i < this.#layers.length; i++) {
      const { sectors } = this.#layers[i]!;
      if (sectors === undefined) return this.#inLayer(request, i, end);
      const there = sectors.has(sector);
      const count = Math.ceil(end / sectorSize) - sector;
      end = Math.min(end, (sector + sectors.run(sector, count, there)) * sectorSize);
      if (there) return this.#inLayer(request, i, end);
    }
    throw new RangeError('a frozen disk ends in no layer that has everything');
  }

  /** Whether what a request has read, as the last `locate` of it said, from its offset on, is what was there at the instant. */
  holds(request: number, length: number): boolean {
    const index = this.#reads[request]!;
    if (index === fixed) return true;
    const { history, instant } = this.#layers[index]!;
    const offset = this.#offsets[request]!;
    const end = Math.ceil((offset + length) / unitBytes);
    for (let unit = Math.floor(offset / unitBytes); unit < end; unit++)
      if (history!.find(instant, unit) !== inPlace) return false;
    return true;
  }

  /** A request reads something else. */
  leaves(request: number): void {
    this.#reads[request] = fixed;
  }

  #inLayer(request: number, index: number, end: number): number {
    const { fd, flags, history, instant } = this.#layers[index]!;
    const offset = this.#offsets[request]!;
    this.fd = fd;
    this.flags = flags;
    this.#reads[request] = fixed;
    if (history === undefined) return end - offset;
    let unit = Math.floor(offset / unitBytes);
    const place = history.find(instant, unit);
    if (place === lost) {
      this.loss = history.lossOf(instant);
      return 0;
    }
    do unit++;
    while (unit * unitBytes < end && history.find(instant, unit) === place);
    if (place === inPlace) this.#reads[request] = index;
    else {
      this.fd = place;
      this.flags = 0;
    }
    return Math.min(end, unit * unitBytes) - offset;
  }
}
