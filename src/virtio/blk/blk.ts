/**
 * The block device: virtio 1.2 §5.2. The I/O worker.
 *
 * A request is checked whole, gets one of a fixed number of places, and is performed by the disk's backend. When all places
 * are taken or too many bytes are under way, chains stay in the queue.
 */
import type { OpenDisk } from '../../disk/disk-map.js';
import { errnoName } from '../../host/errno.js';
import { freeArrays } from '../../host/free-arrays.js';
import type { DataPath, DataPathHost } from '../device.js';
import { countLatency } from '../device-counters.js';
import { type FeatureWords, hasFeature } from '../features.js';
import type { Chain } from '../queue/chain.js';
import type { SplitQueue } from '../queue/split-queue.js';
import { copyFromChain, copyToChain } from '../queue/transfer.js';
import { allocateBuckets, type RateLimit, RateLimiter } from '../rate-limit.js';
import type { BlkBackend, BlkRequests } from './blk-backend.js';
import { clears, countRequest, latencyKind } from './blk-counting.js';
import {
  BlkCounter,
  BlkFeature,
  BlkRequest,
  BlkStatus,
  headerSize,
  highSectorLimit,
  idSize,
  requestNames,
  sectorSize,
  writebackOffset,
} from './blk-format.js';
import type { BlkDeviceOptions } from './blk-options.js';
import { BlkRanges } from './blk-ranges.js';
import { maxOperationBytes } from './file-backend.js';
import { openBackend } from './open-backend.js';

/** Requests that the kernel may have of one disk. */
const maxInFlight = 128;
/** A driver that keeps to SIZE_MAX and SEG_MAX asks for less at once. */
export const maxRequestBytes = 256 * 2 ** 20;
/** What the operations of one disk may move at a time; a chain beyond it waits in its queue. */
const maxBytesInFlight = 8 * 2 ** 20;
const TWO_32 = 0x1_0000_0000;
/** The queue of a request that is not a driver's. */
const nobody = 0xffff;

export class BlkDevice implements DataPath, BlkRequests {
  readonly slotCount: number;
  #backend: BlkBackend;
  #sectors = 0;
  /** Requests are of whole ones, in sectors. */
  #unit = 1;
  #readOnly = false;
  #ranges: BlkRanges;
  /** What the limiter is made from when a clock is there. */
  readonly #limit: RateLimit | undefined;
  #limiter: RateLimiter | undefined;
  readonly #buckets: SharedArrayBuffer;
  readonly #toldReadOnly: boolean;
  readonly #id: Uint8Array;
  readonly #header = new Uint8Array(headerSize);
  readonly #headerView = new DataView(this.#header.buffer);
  #host!: DataPathHost;
  /** Empty while no driver is there. */
  #queues: readonly (SplitQueue | undefined)[] = [];
  #flushes = false;
  #choosesCache = false;
  #discards = false;
  #writesZeroes = false;
  #stalled = false;
  /** The host has failed it and the machine is to end: nothing is answered any more. */
  #failed = false;
  readonly #stopOnError: boolean;

  // One request each.
  readonly #free = new Uint8Array(maxInFlight);
  #freeCount = 0;
  #bytesInFlight = 0;
  readonly #type = new Uint8Array(maxInFlight);
  readonly #queue = new Uint16Array(maxInFlight);
  readonly #head = new Uint16Array(maxInFlight);
  readonly #statusAt = new Float64Array(maxInFlight);
  readonly #total = new Float64Array(maxInFlight);
  readonly #begun = new Float64Array(maxInFlight);
  readonly #offset = new Float64Array(maxInFlight);

  // The request being parsed.
  #requestType = 0;
  #sector = 0;

  constructor(options: BlkDeviceOptions) {
    const { disk, id, stopOnError = false, removable = false, limit } = options;
    this.#buckets = options.buckets ?? allocateBuckets();
    this.#toldReadOnly = options.readOnly ?? false;
    this.#stopOnError = stopOnError;
    this.#limit = limit;
    this.#backend = openBackend(disk, this.#offset);
    this.#ranges = this.#measure(disk);
    this.slotCount = removable ? maxInFlight : this.#backend.slotCount; // no backend needs more
    const bytes = Buffer.alloc(idSize);
    bytes.write(id, 'latin1'); // what is longer is cut
    this.#id = bytes;
    for (let slot = 0; slot < maxInFlight; slot++) this.#free[this.#freeCount++] = slot;
  }

  attach(host: DataPathHost): void {
    this.#host = host;
    this.#backend.attach(host, this);
    this.setLimit(this.#limit);
  }

  /** What fails has been told by the backend: the medium may be exchanged for that very reason. */
  sync(): void {
    const request = this.#free[--this.#freeCount]!;
    this.#type[request] = BlkRequest.flush;
    this.#queue[request] = nobody;
    this.#total[request] = 0;
    this.#backend.flush(request);
  }

  /** `disk` says nothing of what the driver was told: that is for who exchanges it to see to. */
  exchange(disk: OpenDisk | undefined): void {
    const next = openBackend(disk, this.#offset);
    try {
      next.attach(this.#host, this); // the host may have no room for it: then all is as it was
    } catch (error) {
      next.close();
      throw error;
    }
    const [before, rangesBefore] = [this.#backend, this.#ranges];
    this.#ranges = this.#measure(disk);
    this.#backend = next;
    before.close();
    rangesBefore.close();
    if (this.#queues.length > 0) next.activate();
  }

  setLimit(limit: RateLimit | undefined): void {
    this.#limiter = limit && new RateLimiter(limit, this.#host, this.#buckets);
    this.#serveAll();
  }

  onAlarm(): void {
    const left = this.#limiter?.left() ?? -1;
    if (left > 0) this.#host.wakeIn(left);
    else if (left === 0) this.#serveAll();
  }

  activate(queues: readonly (SplitQueue | undefined)[], features: FeatureWords): void {
    this.#queues = queues;
    this.#flushes = hasFeature(features, BlkFeature.flush);
    this.#choosesCache = hasFeature(features, BlkFeature.configWce);
    this.#discards = hasFeature(features, BlkFeature.discard);
    this.#writesZeroes = hasFeature(features, BlkFeature.writeZeroes);
    this.#backend.activate();
    // §5.2.6.2: with CONFIG_WCE and without FLUSH the cache starts as writethrough.
    if (this.#choosesCache && !this.#flushes) this.#host.config[writebackOffset] = 0;
  }

  onChain(queue: SplitQueue, index: number): boolean {
    const { chain } = queue;
    if (chain.readableBytes < headerSize || chain.writableBytes === 0) {
      queue.violate('a block request has no header or no status byte (virtio 1.2 §5.2.6)');
      return true;
    }
    if (this.#failed) return false; // for good
    if (this.#freeCount === 0) {
      this.#stalled = true;
      return false;
    }
    if (this.#limiter !== undefined && !this.#mayBegin(this.#limiter)) return false;
    this.#readHeader(chain);
    switch (this.#requestType) {
      case BlkRequest.in:
      case BlkRequest.out:
        return this.#transfer(queue, index);
      case BlkRequest.discard:
      case BlkRequest.writeZeroes:
        return this.#clear(queue, index);
      case BlkRequest.flush:
        this.#backend.flush(this.#occupy(queue, index, 0));
        break;
      case BlkRequest.getId:
        this.#getId(queue);
        break;
      default:
        this.#answer(queue, BlkStatus.unsupported, 0);
    }
    return true;
  }

  onCompletion(slot: number, result: number): void {
    this.#backend.onCompletion(slot, result);
  }

  done(request: number, result: number): void {
    if (this.#queues.length === 0 || this.#queue[request] === nobody)
      this.#release(request); // reset meanwhile, or our own: there is nobody to tell
    else if (result < 0) this.#refuse(request, result);
    else if (!clears(this.#type[request]!) || !this.#clearNext(request)) this.#finish(request, BlkStatus.ok);
  }

  moves(bytes: number): void {
    this.#limiter?.takeBytes(bytes);
  }

  stop(): void {
    this.#queues = [];
    this.#stalled = false;
    this.#backend.stop();
    // For the next driver: the cache is on until it says otherwise.
    this.#host.config[writebackOffset] = 1;
  }

  close(): void {
    this.#backend.close();
    this.#ranges.close();
    freeArrays(this.#free, this.#type, this.#queue, this.#head, this.#statusAt, this.#total, this.#begun, this.#offset);
  }

  /** Takes over what is known of a disk; the ranges of requests that clear it. */
  #measure(disk: OpenDisk | undefined): BlkRanges {
    this.#sectors = Math.floor((disk?.size ?? 0) / sectorSize);
    this.#unit = (disk?.direct?.offset ?? sectorSize) / sectorSize;
    this.#readOnly = this.#toldReadOnly || disk?.readOnly === true;
    return new BlkRanges(maxInFlight, this.#sectors, this.#unit);
  }

  /** False: the rate limit has been reached; the queues are served again when it is not any more. */
  #mayBegin(limiter: RateLimiter): boolean {
    const delay = limiter.delay();
    if (delay === 0) return true;
    this.#host.counters[BlkCounter.throttled]! += 1;
    this.#host.wakeIn(delay);
    return false;
  }

  /** Each field is fetched once (trap T9); a header cut into pieces is put together first. */
  #readHeader(chain: Chain): void {
    const { memory } = this.#host;
    let high: number;
    let low: number;
    if (chain.length[0]! >= headerSize) {
      this.#requestType = memory.u32At(chain.guest, 0, 0);
      low = memory.u32At(chain.guest, 0, 8);
      high = memory.u32At(chain.guest, 0, 12);
    } else {
      copyFromChain(memory, chain, 0, this.#header);
      this.#requestType = this.#headerView.getUint32(0, true);
      low = this.#headerView.getUint32(8, true);
      high = this.#headerView.getUint32(12, true);
    }
    this.#sector = high < highSectorLimit ? high * TWO_32 + low : Number.MAX_SAFE_INTEGER;
  }

  /** False: too much is under way already. */
  #transfer(queue: SplitQueue, index: number): boolean {
    const { chain } = queue;
    const writes = this.#requestType === BlkRequest.out;
    const bytes = writes ? chain.readableBytes - headerSize : chain.writableBytes - 1;
    if ((writes && this.#readOnly) || !this.#inRange(bytes)) {
      this.#answer(queue, BlkStatus.ioError, 0);
      return true;
    }
    if (bytes === 0) {
      this.#answer(queue, BlkStatus.ok, 0);
      return true;
    }
    if (this.#bytesInFlight + inFlightOf(bytes) > maxBytesInFlight) {
      this.#stalled = true;
      return false;
    }
    const request = this.#occupy(queue, index, bytes);
    this.#offset[request] = this.#sector * sectorSize;
    if (writes) this.#backend.write(request, bytes, chain, !this.#cached());
    else this.#backend.read(request, bytes, chain);
    return true;
  }

  /** DISCARD and WRITE_ZEROES. False: too much is under way already. */
  #clear(queue: SplitQueue, index: number): boolean {
    const ranges = this.#ranges;
    const status = this.#readRanges(queue.chain);
    if (status !== BlkStatus.ok || ranges.total === 0) {
      this.#answer(queue, status, 0);
      return true;
    }
    if (this.#bytesInFlight + inFlightOf(ranges.total) > maxBytesInFlight) {
      this.#stalled = true;
      return false;
    }
    const request = this.#occupy(queue, index, ranges.total);
    ranges.keep(request);
    this.#clearNext(request);
    return true;
  }

  /** The status to answer, or ok when there are ranges to clear, or none. */
  #readRanges(chain: Chain): number {
    if (this.#readOnly) return BlkStatus.ioError;
    const negotiated = this.#requestType === BlkRequest.discard ? this.#discards : this.#writesZeroes;
    if (!negotiated) return BlkStatus.unsupported; // trap T15
    return this.#ranges.read(this.#host.memory, chain, this.#requestType);
  }

  /** Begins the next range of a request; false when all are done. */
  #clearNext(request: number): boolean {
    const ranges = this.#ranges;
    if (!ranges.next(request)) return false;
    const { bytes } = ranges;
    this.#offset[request] = ranges.offset;
    if (this.#type[request] === BlkRequest.discard) this.#backend.discard(request, bytes);
    // The last one makes all of them durable; nothing is answered before.
    else this.#backend.writeZeroes(request, bytes, ranges.unmap, ranges.last && !this.#cached());
    return true;
  }

  /** Whole sectors, or blocks of direct I/O, all of them on the disk (trap T11); sums stay exact below 2^53. */
  #inRange(bytes: number): boolean {
    if (bytes % sectorSize !== 0 || bytes > maxRequestBytes) return false;
    const sectors = bytes / sectorSize;
    if (this.#unit > 1 && (this.#sector % this.#unit !== 0 || sectors % this.#unit !== 0)) return false;
    return this.#sector <= this.#sectors - sectors;
  }

  #getId(queue: SplitQueue): void {
    const { chain } = queue;
    const count = Math.min(idSize, chain.writableBytes - 1);
    copyToChain(this.#host.memory, chain, 0, this.#id.subarray(0, count));
    this.#answer(queue, BlkStatus.ok, count);
  }

  /** A place for the request in `queue.chain`; there is one. */
  #occupy(queue: SplitQueue, index: number, bytes: number): number {
    const slot = this.#free[--this.#freeCount]!;
    this.#type[slot] = this.#requestType;
    this.#queue[slot] = index;
    this.#head[slot] = queue.chain.head;
    this.#statusAt[slot] = statusAddress(queue.chain);
    this.#total[slot] = bytes;
    this.#host.stamp(this.#begun, slot);
    this.#bytesInFlight += inFlightOf(bytes);
    this.#limiter?.take(clears(this.#requestType) ? 0 : bytes); // what is cleared is not moved
    return slot;
  }

  #release(slot: number): void {
    this.#bytesInFlight -= inFlightOf(this.#total[slot]!);
    this.#free[this.#freeCount++] = slot;
  }

  /** Writes may complete before they are durable: the driver flushes, and has not turned the cache off (contract §5.3). */
  #cached(): boolean {
    return this.#flushes && (!this.#choosesCache || this.#host.config[writebackOffset] !== 0);
  }

  /** The host could not do it. */
  #refuse(request: number, result: number): void {
    if (!this.#stopOnError) {
      this.#finish(request, BlkStatus.ioError);
      return;
    }
    // The guest waits for an answer that does not come: it must not act upon an error that its owner wants to mend.
    this.#queues = [];
    this.#failed = true;
    this.#release(request);
    this.#host.counters[BlkCounter.errors]! += 1;
    this.#host.endMachine(`a disk ${requestNames[this.#type[request]!]} failed: ${errnoName(result)}`);
  }

  #finish(slot: number, status: number): void {
    const { memory, counters, latencies } = this.#host;
    const queue = this.#queues[this.#queue[slot]!]!;
    const type = this.#type[slot]!;
    const total = this.#total[slot]!;
    memory.setU8At(this.#statusAt, slot, status);
    queue.push(this.#head[slot]!, status === BlkStatus.ok && type === BlkRequest.in ? total + 1 : 1);
    this.#release(slot);
    countLatency(latencies, latencyKind(type), this.#host.since(this.#begun, slot));
    countRequest(counters, type, total, status);
    if (this.#stalled) this.#serveAll();
  }

  #serveAll(): void {
    this.#stalled = false;
    for (let index = 0; index < this.#queues.length; index++) this.#host.serve(index);
  }

  /** Gives the chain in `queue.chain` back at once. */
  #answer(queue: SplitQueue, status: number, written: number): void {
    this.#host.memory.setU8(statusAddress(queue.chain), status);
    queue.push(queue.chain.head, written + 1);
    if (status === BlkStatus.ioError) this.#host.counters[BlkCounter.errors]! += 1;
  }
}

/** Of a request, what is under way at any time. */
const inFlightOf = (bytes: number): number => Math.min(bytes, maxOperationBytes);

/** The status is the last byte that the device may write. */
const statusAddress = (chain: Chain): number => chain.guest[chain.count - 1]! + chain.length[chain.count - 1]! - 1;
