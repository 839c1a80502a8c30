/**
 * A disk of files, by the kernel: data moves between them and guest pages without a copy here. The I/O worker.
 *
 * A request is performed in one operation after another until all its bytes are done: a long one in parts, a short
 * transfer goes on where it stopped, and a disk made of two files changes between them. The slot of an operation is its
 * request's number.
 *
 * What is to be discarded becomes a hole, and zeroes a hole or an extent without content, so that sparse stays sparse;
 * where the file system can do neither, zeroes are written.
 *
 * With direct I/O, buffers that the device cannot reach are copied (bounce.ts); offsets always fit, as the device checks.
 *
 * While copies of the disk as it was are in use, what it changes is kept before (copy-before-write.ts). A disk that is such a
 * copy reads again what its owner has changed meanwhile.
 */
import type { DirectIo } from '../../disk/direct-io.js';
import { type DiskMap, type OpenFileDisk, openDiskMap } from '../../disk/disk-map.js';
import { FallocateMode, Operation } from '../../host/engine-slots.js';
import { Errno, errnoName } from '../../host/errno.js';
import { freeArrays } from '../../host/free-arrays.js';
import { HostBlock } from '../../host/host-block.js';
import type { DataPathHost } from '../device.js';
import type { Chain } from '../queue/chain.js';
import type { BlkBackend, BlkRequests } from './blk-backend.js';
import { headerSize, maxChain } from './blk-format.js';
import { BounceBuffers, bounceBytes } from './bounce.js';
import { CopyBeforeWrite } from './copy-before-write.js';
import { IoVectors } from './io-vectors.js';

/** A longer request is performed in parts, between which others have their turn. */
export const maxOperationBytes = 2 ** 20;
/** Likewise: so much of a file is given back in a few milliseconds, however full of extents and cached pages it is. */
const maxAllocationBytes = 32 * 2 ** 20;
const RWF_DSYNC = 2;

/** What its operations are. `hole` and `zero` go over to the kind that follows where the file system cannot. */
const Kind = {
  read: 0,
  write: 1,
  durableWrite: 2,
  flush: 3,
  /** PUNCH_HOLE, or nothing. */
  discard: 4,
  /** PUNCH_HOLE. */
  hole: 5,
  /** ZERO_RANGE: keeps its room. */
  zero: 6,
  /** Writes from the block of zeroes. */
  zeroWrite: 7,
} as const;
const kindNames = ['read', 'write', 'write', 'flush', 'discard', 'zeroing', 'zeroing', 'zeroing'] as const;

const page = 4096;
/** A page that is written in part is read first, and that may take long. */
const areWholePages = (offset: number, bytes: number): boolean => offset % page === 0 && bytes % page === 0;

export class FileBackend implements BlkBackend {
  readonly slotCount: number;
  readonly #open: OpenFileDisk;
  readonly #disk: DiskMap;
  /** Who keeps what the disk was; mostly nobody. */
  readonly #keepers: CopyBeforeWrite[] = [];
  readonly #vectors: IoVectors;
  readonly #direct: DirectIo | undefined;
  readonly #bounce: BounceBuffers | undefined;
  #host!: DataPathHost;
  #requests!: BlkRequests;
  #stopped = false;
  /** What fallocate(2) can do with this disk, as far as it has said. */
  #holes = true;
  #zeroRanges = true;
  /** Read by the kernel, never written: its pages are the one page of zeroes. */
  readonly #zeroes = new HostBlock(maxOperationBytes);

  // One request each.
  readonly #kind: Uint8Array;
  /** Where on the disk the next operation goes, and how many bytes are left. */
  readonly #offset: Float64Array;
  readonly #left: Int32Array;
  /** Bytes of the allocation under way. */
  readonly #part: Int32Array;
  /** 1: its data goes through its bounce buffer. */
  readonly #bounced: Uint8Array;
  /** 1: what it did must be made durable before it ends. */
  readonly #syncs: Uint8Array;

  /** `offsets` as `openBackend` has them. */
  constructor(disk: OpenFileDisk, offsets: Float64Array) {
    const requests = offsets.length;
    const { direct } = disk;
    this.#open = disk;
    this.#disk = openDiskMap(disk, offsets);
    this.#offset = offsets;
    this.#direct = direct;
    if (direct !== undefined) this.#bounce = new BounceBuffers(requests);
    this.slotCount = requests;
    this.#vectors = new IoVectors(requests, maxChain);
    this.#kind = new Uint8Array(requests);
    this.#left = new Int32Array(requests);
    this.#part = new Int32Array(requests);
    this.#bounced = new Uint8Array(requests);
    this.#syncs = new Uint8Array(requests);
  }

  attach(host: DataPathHost, requests: BlkRequests): void {
    this.#host = host;
    this.#requests = requests;
    const { histories = [] } = this.#open.kind === 'frozen' ? {} : this.#open;
    for (const history of histories)
      this.#keepers.push(new CopyBeforeWrite(history, this.#open, this.#offset, host, this));
  }

  activate(): void {
    this.#stopped = false;
  }

  read(request: number, bytes: number, chain: Chain): void {
    this.#vectors.fill(request, chain, chain.readableCount, chain.count, 0, bytes);
    this.#begin(request, Kind.read, bytes);
  }

  write(request: number, bytes: number, chain: Chain, durable: boolean): void {
    this.#vectors.fill(request, chain, 0, chain.readableCount, headerSize, bytes);
    this.#begin(request, durable && this.#disk.syncFd >= 0 ? Kind.durableWrite : Kind.write, bytes);
  }

  discard(request: number, bytes: number): void {
    if (this.#holes) this.#begin(request, Kind.discard, bytes);
    else this.#requests.done(request, 0);
  }

  writeZeroes(request: number, bytes: number, unmap: boolean, durable: boolean): void {
    const kind = unmap && this.#holes ? Kind.hole : this.#zeroRanges ? Kind.zero : Kind.zeroWrite;
    this.#begin(request, kind, bytes, durable && this.#disk.syncFd >= 0 ? 1 : 0);
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
    if (this.#keepers.length > 0 && this.#hasCopied(slot, result)) return;
    const kind = this.#kind[slot]!;
    this.#disk.ended(slot, result);
    if (this.#stopped) this.#requests.done(slot, 0);
    else if (allocates(kind)) this.#allocated(slot, result);
    else if (result < 0) this.#fail(slot, result);
    else if (kind === Kind.flush) this.#requests.done(slot, 0);
    else if (result === 0) this.#fail(slot, -Errno.EIO);
    else this.#moved(slot, result);
  }

  stop(): void {
    this.#stopped = true;
    for (const keeper of this.#keepers)
      for (let request = keeper.takeWaiting(); request >= 0; request = keeper.takeWaiting())
        this.#requests.done(request, 0);
  }

  close(): void {
    for (const keeper of this.#keepers) keeper.close();
    this.#vectors.close();
    this.#zeroes.close();
    this.#bounce?.close();
    this.#disk.close();
    freeArrays(this.#kind, this.#left, this.#part, this.#bounced, this.#syncs);
  }

  #begin(request: number, kind: number, bytes: number, syncs = 0): void {
    this.#kind[request] = kind;
    this.#syncs[request] = syncs;
    this.#left[request] = bytes;
    if (this.#direct !== undefined) this.#bounced[request] = this.#reaches(request, kind, this.#direct) ? 0 : 1;
    this.#operate(request);
  }

  /** What the request changes has been kept, or somebody else has done so: another look. */
  goOn(request: number): void {
    this.#operate(request);
  }

  /** The next operation of a request: as much of the rest as lies in one file and is done at a time. */
  #operate(request: number): void {
    const { slots } = this.#host;
    const kind = this.#kind[request]!;
    if (allocates(kind)) {
      this.#allocate(request, kind);
      return;
    }
    const offset = this.#offset[request]!;
    const bounced = this.#bounced[request] === 1;
    const left = Math.min(this.#left[request]!, bounced ? bounceBytes : maxOperationBytes);
    if (this.#keepers.length > 0 && kind !== Kind.read && this.#mustKeep(request, left)) return;
    const bytes = kind === Kind.read ? this.#disk.locateRead(request, left) : this.#disk.locateWrite(request, left);
    if (bytes === 0) {
      if (kind === Kind.read) this.#fail(request, -Errno.EIO, `what was there is lost (${errnoName(this.#disk.loss)})`);
      else this.#fail(request, -Errno.ENOSPC);
      return;
    }
    const { fd } = this.#disk;
    const flags = kind === Kind.durableWrite ? this.#disk.flags | RWF_DSYNC : this.#disk.flags;
    if (kind === Kind.zeroWrite) {
      this.#requests.moves(bytes);
      slots.write(request, fd, this.#zeroes.address, bytes, offset, flags);
      return;
    }
    if (bounced) {
      this.#operateBounced(request, kind, bytes, flags);
      return;
    }
    const count = this.#vectors.take(request, bytes);
    const brief = kind === Kind.write && this.#disk.writesBriefly && areWholePages(offset, bytes);
    this.#vectors.place(request, count, slots.address);
    slots.offset[request] = offset;
    if (count > 1) {
      const write = brief ? Operation.briefWriteVector : Operation.writeVector;
      slots.begin(request, kind === Kind.read ? Operation.readVector : write, fd, count, flags, bytes);
    } else {
      const write = brief ? Operation.briefWrite : Operation.write;
      slots.begin(request, kind === Kind.read ? Operation.read : write, fd, bytes, flags, bytes);
    }
  }

  /** Whether the device can reach the request's memory, as far as it is the guest's. */
  #reaches(request: number, kind: number, { memory, offset }: DirectIo): boolean {
    return kind > Kind.durableWrite || this.#vectors.isAligned(request, memory, offset);
  }

  #operateBounced(request: number, kind: number, bytes: number, flags: number): void {
    const bounce = this.#bounce!;
    const { slots } = this.#host;
    const { fd } = this.#disk;
    const buffer = bounce.address(request);
    const offset = this.#offset[request]!;
    if (kind === Kind.read) {
      slots.read(request, fd, buffer, bytes, offset, flags);
      return;
    }
    bounce.gather(request, this.#vectors, bytes);
    if (this.#host.memory.isLost)
      this.#fail(request, -Errno.EIO); // never zeroes in the place of what was to be written
    else slots.write(request, fd, buffer, bytes, offset, flags);
  }

  #allocate(request: number, kind: number): void {
    const disk = this.#disk;
    const offset = this.#offset[request]!;
    const left = Math.min(this.#left[request]!, maxAllocationBytes);
    if (this.#keepers.length > 0 && this.#mustKeep(request, left)) return;
    const bytes = kind === Kind.zero ? disk.locateWrite(request, left) : disk.locateHole(request, left);
    if (bytes === 0) {
      this.#fail(request, -Errno.ENOSPC);
      return;
    }
    this.#part[request] = bytes;
    const mode = kind === Kind.zero ? FallocateMode.zeroRange : FallocateMode.punchHole;
    this.#host.slots.allocate(request, disk.fd, mode, offset, bytes);
  }

  #allocated(slot: number, result: number): void {
    if (result === 0) this.#moved(slot, this.#part[slot]!);
    else if (isUnable(result)) this.#doOtherwise(slot, result);
    else this.#fail(slot, result);
  }

  /** The file system cannot do it: another way, which is remembered unless it may be this range alone. */
  #doOtherwise(slot: number, result: number): void {
    const kind = this.#kind[slot]!;
    if (result !== -Errno.EINVAL) {
      if (kind === Kind.zero) this.#zeroRanges = false;
      else this.#holes = false;
    }
    if (kind === Kind.discard) {
      this.#requests.done(slot, 0); // a hint, and nobody took it
      return;
    }
    this.#kind[slot] = kind === Kind.hole && this.#zeroRanges ? Kind.zero : Kind.zeroWrite;
    this.#operate(slot);
  }

  /** Whether what a request is about to change has to be kept before, which has begun then. */
  #mustKeep(request: number, bytes: number): boolean {
    for (let i = 0; i < this.#keepers.length; i++) if (this.#keepers[i]!.holdsBack(request, bytes)) return true;
    return false;
  }

  /** Whether what has ended was not the request's own operation. */
  #hasCopied(slot: number, result: number): boolean {
    for (let i = 0; i < this.#keepers.length; i++) {
      const keeper = this.#keepers[i]!;
      if (!keeper.copies(slot)) continue;
      if (this.#stopped) {
        keeper.drop(slot);
        this.#requests.done(slot, 0);
      } else keeper.onCompletion(slot, result);
      return true;
    }
    return false;
  }

  /** An operation has done so many bytes of its request. */
  #moved(slot: number, bytes: number): void {
    const kind = this.#kind[slot]!;
    if (kind !== Kind.read) this.#disk.wrote(slot, bytes);
    else if (!this.#disk.holds(slot, bytes)) {
      if (this.#bounced[slot] === 0) this.#vectors.advance(slot, 0);
      this.#operate(slot);
      return;
    } else if (this.#bounced[slot] === 1) this.#bounce!.scatter(slot, this.#vectors, bytes);
    this.#left[slot]! -= bytes;
    if (this.#left[slot]! === 0) {
      if (this.#syncs[slot] === 1) this.flush(slot);
      else this.#requests.done(slot, 0);
      return;
    }
    if (kind <= Kind.durableWrite) this.#vectors.advance(slot, bytes);
    this.#offset[slot]! += bytes;
    this.#operate(slot);
  }

  #fail(request: number, result: number, why = errnoName(result)): void {
    const what = kindNames[this.#kind[request]!]!;
    const where = what === 'flush' ? '' : ` at byte ${this.#offset[request]}`;
    this.#host.warn('host', `disk ${what}${where} failed: ${why}`);
    this.#requests.done(request, result);
  }
}

const allocates = (kind: number): boolean => kind >= Kind.discard && kind <= Kind.zero;

/** No such operation on this file; EINVAL: a block device whose blocks are larger than a sector. */
const isUnable = (result: number): boolean =>
  result === -Errno.EOPNOTSUPP || result === -Errno.ENODEV || result === -Errno.ENOSYS || result === -Errno.EINVAL;
