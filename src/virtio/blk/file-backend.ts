/**
 * A disk of files, by the kernel: data moves between them and guest pages without a copy here. The I/O worker.
 *
 * A request is performed in one operation after another until all its bytes are done: a long one in parts, a short
 * transfer goes on where it stopped, and a disk made of two files changes between them. The slot of an operation is its
 * request's number.
 */
import type { DiskMap } from '../../disk/disk-map.js';
import { Errno, errnoName } from '../../host/errno.js';
import type { DataPathHost } from '../device.js';
import type { Chain } from '../queue/chain.js';
import type { BlkBackend, BlkRequests } from './blk-backend.js';
import { headerSize, maxChain } from './blk-format.js';
import { IoVectors } from './io-vectors.js';

/** A longer request is performed in parts, between which others have their turn. */
export const maxOperationBytes = 2 ** 20;
const RWF_DSYNC = 2;

const Kind = { read: 0, write: 1, durableWrite: 2, flush: 3 } as const;
const kindNames = ['read', 'write', 'write', 'flush'] as const;

const page = 4096;
/** A page that is written in part is read first, and that may take long. */
const areWholePages = (offset: number, bytes: number): boolean => offset % page === 0 && bytes % page === 0;

export class FileBackend implements BlkBackend {
  readonly slotCount: number;
  readonly #disk: DiskMap;
  readonly #vectors: IoVectors;
  #host!: DataPathHost;
  #requests!: BlkRequests;
  #stopped = false;

  // One request each.
  readonly #kind: Uint8Array;
  /** Where on the disk the next operation goes, and how many bytes are left. */
  readonly #offset: Float64Array;
  readonly #left: Float64Array;

  constructor(disk: DiskMap, requests: number) {
    this.#disk = disk;
    this.slotCount = requests;
    this.#vectors = new IoVectors(requests, maxChain);
    this.#kind = new Uint8Array(requests);
    this.#offset = new Float64Array(requests);
    this.#left = new Float64Array(requests);
  }

  attach(host: DataPathHost, requests: BlkRequests): void {
    this.#host = host;
    this.#requests = requests;
  }

  activate(): void {
    this.#stopped = false;
  }

  read(request: number, offset: number, bytes: number, chain: Chain): void {
    this.#vectors.fill(request, chain, chain.readableCount, chain.count, 0, bytes);
    this.#begin(request, Kind.read, offset, bytes);
  }

  write(request: number, offset: number, bytes: number, chain: Chain, durable: boolean): void {
    this.#vectors.fill(request, chain, 0, chain.readableCount, headerSize, bytes);
    this.#begin(request, durable && this.#disk.syncFd >= 0 ? Kind.durableWrite : Kind.write, offset, bytes);
  }

  flush(request: number): void {
    if (this.#disk.syncFd < 0) {
      this.#requests.done(request, 0); // nothing of it outlives the machine
      return;
    }
    this.#kind[request] = Kind.flush;
    this.#host.slots.dataSync(request, this.#disk.syncFd);
  }

  onCompletion(slot: number, result: number): void {
    const kind = this.#kind[slot]!;
    if (this.#stopped) this.#requests.done(slot, 0);
    else if (result < 0) this.#fail(slot, result);
    else if (kind === Kind.flush) this.#requests.done(slot, 0);
    else if (result === 0) this.#fail(slot, -Errno.EIO);
    else {
      if (kind !== Kind.read) this.#disk.wrote(this.#offset[slot]!, result);
      this.#left[slot]! -= result;
      if (this.#left[slot]! === 0) {
        this.#requests.done(slot, 0);
        return;
      }
      this.#vectors.advance(slot, result);
      this.#offset[slot]! += result;
      this.#operate(slot);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  close(): void {
    this.#vectors.close();
  }

  #begin(request: number, kind: number, offset: number, bytes: number): void {
    this.#kind[request] = kind;
    this.#offset[request] = offset;
    this.#left[request] = bytes;
    this.#operate(request);
  }

  /** The next operation of a request: as much of the rest as lies in one file and is done at a time. */
  #operate(request: number): void {
    const { slots } = this.#host;
    const kind = this.#kind[request]!;
    const offset = this.#offset[request]!;
    const left = Math.min(this.#left[request]!, maxOperationBytes);
    const bytes = kind === Kind.read ? this.#disk.locateRead(offset, left) : this.#disk.locateWrite(offset, left);
    if (bytes === 0) {
      this.#fail(request, -Errno.ENOSPC);
      return;
    }
    const count = this.#vectors.take(request, bytes);
    const { fd } = this.#disk;
    const flags = kind === Kind.durableWrite ? RWF_DSYNC : 0;
    const brief = kind === Kind.write && this.#disk.writesBriefly && areWholePages(offset, bytes);
    if (count > 1) {
      const vectors = this.#vectors.address(request);
      if (kind === Kind.read) slots.readv(request, fd, vectors, count, bytes, offset);
      else if (brief) slots.writevBriefly(request, fd, vectors, count, bytes, offset);
      else slots.writev(request, fd, vectors, count, bytes, offset, flags);
    } else {
      const buffer = this.#vectors.firstBuffer(request);
      if (kind === Kind.read) slots.read(request, fd, buffer, bytes, offset);
      else if (brief) slots.writeBriefly(request, fd, buffer, bytes, offset);
      else slots.write(request, fd, buffer, bytes, offset, flags);
    }
  }

  #fail(request: number, result: number): void {
    const what = kindNames[this.#kind[request]!]!;
    const where = what === 'flush' ? '' : ` at byte ${this.#offset[request]}`;
    this.#host.warn('host', `disk ${what}${where} failed: ${errnoName(result)}`);
    this.#requests.done(request, result);
  }
}
