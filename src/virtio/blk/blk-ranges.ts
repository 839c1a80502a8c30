/**
 * The ranges that DISCARD and WRITE_ZEROES requests name: virtio 1.2 §5.2.6, struct virtio_blk_discard_write_zeroes. The
 * I/O worker.
 *
 * They are fetched once into private memory and all of them checked before one is performed (traps T9, T25). A request
 * under way keeps its own, which are performed one after another.
 */
import { freeArrays } from '../../host/free-arrays.js';
import type { GuestMemory } from '../../memory/guest-memory.js';
import type { Chain } from '../queue/chain.js';
import { copyFromChain } from '../queue/transfer.js';
import {
  BlkRequest,
  BlkStatus,
  headerSize,
  highSectorLimit,
  maxRangeSectors,
  maxRanges,
  sectorSize,
} from './blk-format.js';

/** sector u64, num_sectors u32, flags u32. */
const rangeSize = 16;
/** The only flag, of WRITE_ZEROES alone: the sectors may be given back to the host. */
const UNMAP = 1;
const TWO_32 = 0x1_0000_0000;

export class BlkRanges {
  /** What `read` found: bytes of all ranges together. */
  total = 0;
  /** What `next` took, and whether it was the last of its request. */
  offset = 0;
  bytes = 0;
  unmap = false;
  last = false;

  readonly #sectors: number;
  readonly #unit: number;
  readonly #copy = new Uint8Array(maxRanges * rangeSize);
  readonly #view = new DataView(this.#copy.buffer);
  /** Of each request, and behind them of the one being read: its ranges, how many, and how many are done. */
  readonly #offsets: Float64Array;
  readonly #lengths: Float64Array;
  readonly #unmaps: Uint8Array;
  readonly #count: Uint8Array;
  readonly #taken: Uint8Array;
  readonly #reading: number;

  /** For at most `requests` at a time, on a disk of so many sectors, in multiples of `unit` of them. */
  constructor(requests: number, sectors: number, unit: number) {
    this.#sectors = sectors;
    this.#unit = unit;
    this.#reading = requests;
    const places = (requests + 1) * maxRanges;
    this.#offsets = new Float64Array(places);
    this.#lengths = new Float64Array(places);
    this.#unmaps = new Uint8Array(places);
    this.#count = new Uint8Array(requests + 1);
    this.#taken = new Uint8Array(requests + 1);
  }

  /** It is not used any more. */
  close(): void {
    freeArrays(this.#copy, this.#offsets, this.#lengths, this.#unmaps, this.#count, this.#taken);
  }

  /** Reads and checks the ranges of a chain: the status to answer, or `ok` when `total` bytes are to be done. */
  read(memory: GuestMemory, chain: Chain, type: number): number {
    const length = chain.readableBytes - headerSize;
    this.total = 0;
    this.#count[this.#reading] = 0;
    if (length === 0 || length % rangeSize !== 0 || length > maxRanges * rangeSize) return BlkStatus.ioError;
    copyFromChain(memory, chain, headerSize, this.#copy);
    for (let at = 0; at < length; at += rangeSize) {
      const status = this.#readOne(at, type);
      if (status !== BlkStatus.ok) return status;
    }
    return BlkStatus.ok;
  }

  /** What was read is this request's. */
  keep(request: number): void {
    const from = this.#reading * maxRanges;
    const to = request * maxRanges;
    const count = this.#count[this.#reading]!;
    for (let i = 0; i < count; i++) {
      this.#offsets[to + i] = this.#offsets[from + i]!;
      this.#lengths[to + i] = this.#lengths[from + i]!;
      this.#unmaps[to + i] = this.#unmaps[from + i]!;
    }
    this.#count[request] = count;
    this.#taken[request] = 0;
  }

  /** Takes the request's next range; false when all are done. */
  next(request: number): boolean {
    const taken = this.#taken[request]!;
    const count = this.#count[request]!;
    if (taken === count) return false;
    const at = request * maxRanges + taken;
    this.#taken[request] = taken + 1;
    this.offset = this.#offsets[at]!;
    this.bytes = this.#lengths[at]!;
    this.unmap = this.#unmaps[at] === 1;
    this.last = taken + 1 === count;
    return true;
  }

  #readOne(at: number, type: number): number {
    const flags = this.#view.getUint32(at + 12, true);
    // §5.2.6.2: unknown flags, and unmap of a discard, are not supported.
    if ((flags & ~(type === BlkRequest.writeZeroes ? UNMAP : 0)) !== 0) return BlkStatus.unsupported;
    const high = this.#view.getUint32(at + 4, true);
    const sector = high * TWO_32 + this.#view.getUint32(at, true);
    const sectors = this.#view.getUint32(at + 8, true);
    const onDisk = high < highSectorLimit && sector <= this.#sectors - sectors;
    const isWhole = sector % this.#unit === 0 && sectors % this.#unit === 0;
    if (!onDisk || !isWhole || sectors > maxRangeSectors) return BlkStatus.ioError;
    if (sectors === 0) return BlkStatus.ok;
    const place = this.#reading * maxRanges + this.#count[this.#reading]!++;
    this.#offsets[place] = sector * sectorSize;
    this.#lengths[place] = sectors * sectorSize;
    this.#unmaps[place] = flags;
    this.total += sectors * sectorSize;
    return BlkStatus.ok;
  }
}
