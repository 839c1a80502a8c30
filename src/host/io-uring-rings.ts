/**
 * The rings of one io_uring, mapped into JavaScript: submission entries are written by typed array stores, completions
 * read by loads, ring indices crossed by `Atomics`. The thread that opened them, alone. See io_uring(7).
 *
 * Slots of the submission array are filled once with the identity, so entry i of the ring is always SQE i.
 */
import { native } from './addon.js';
import type { SlotTable } from './engine-slots.js';
import { Errno } from './errno.js';
import {
  ENTER_GETEVENTS,
  Feature,
  ioCqringOffsets,
  ioSqringOffsets,
  ioUringCqe,
  ioUringParams,
  ioUringSqe,
  OFFSET_SQ_RING,
  OFFSET_SQES,
  Opcode,
  REGISTER_IOWQ_MAX_WORKERS,
  Setup,
  SqRing,
} from './io-uring-layout.js';
import { closeFd, Sys } from './system.js';

/** The second word of user_data tells what a completion is about; the first is the slot. */
export const UserKind = { operation: 0, cancel: 1 } as const;

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_POPULATE = 0x8000;
const TWO_32 = 0x1_0000_0000;

const sqeWords = ioUringSqe.size / 4;
const cqeWords = ioUringCqe.size / 4;
/** Word indices within an SQE; opcode, flags and ioprio share the first. */
const sqe = {
  fd: ioUringSqe.offset.fd / 4,
  offset: ioUringSqe.offset.off / 4,
  address: ioUringSqe.offset.addr / 4,
  length: ioUringSqe.offset.len / 4,
  flags: ioUringSqe.offset.rw_flags / 4,
  userData: ioUringSqe.offset.user_data / 4,
} as const;
const resultWord = ioUringCqe.offset.res / 4;

/** Tried in this order; an older kernel answers EINVAL to a flag it does not know (6.1, 5.19, 5.18, 5.5). */
const setupFlags: readonly number[] = [
  Setup.cqSize | Setup.submitAll | Setup.coopTaskrun | Setup.taskrunFlag | Setup.singleIssuer | Setup.deferTaskrun,
  Setup.cqSize | Setup.submitAll | Setup.coopTaskrun | Setup.taskrunFlag,
  Setup.cqSize | Setup.submitAll,
  Setup.cqSize,
];
/** Without these (kernel 5.7) the rules of the engine do not hold: lost completions, a thread for each waiting read. */
const requiredFeatures = Feature.singleMmap | Feature.noDrop | Feature.submitStable | Feature.fastPoll;
/** Kernel threads that may block on files, and on anything else, for this ring on each NUMA node. */
const maxWorkers = [16, 4] as const;

export class Rings {
  readonly fd: number;
  /** As the kernel accepted them. */
  readonly setupFlags: number;
  readonly submissionEntries: number;
  readonly completionEntries: number;
  /** The completion that `next` took: both words of user_data, and the result. */
  userLow = 0;
  userHigh = 0;
  result = 0;

  readonly #mappings: readonly [number, number];
  readonly #ring: Uint32Array;
  readonly #sqes: Uint32Array;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #sqFlags: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqes: number;
  #tail: number;
  #head: number;

  /** Opens rings of these sizes (powers of two), or answers -errno: -ENOSYS and -EPERM where io_uring is forbidden. */
  static open(submissionEntries: number, completionEntries: number): Rings | number {
    const words = new Uint32Array(ioUringParams.size / 4);
    for (const flags of setupFlags) {
      words.fill(0);
      words[ioUringParams.offset.flags / 4] = flags;
      words[ioUringParams.offset.cq_entries / 4] = completionEntries;
      const fd = native().openFd(Sys.ioUringSetup, submissionEntries, words);
      if (fd === -Errno.EINVAL) continue;
      if (fd < 0) return fd;
      const features = words[ioUringParams.offset.features / 4]!;
      if ((features & requiredFeatures) !== requiredFeatures) {
        closeFd(fd);
        return -Errno.ENOSYS;
      }
      const mappings = map(fd, words);
      if (typeof mappings === 'number') {
        closeFd(fd);
        return mappings;
      }
      return new Rings(fd, words, mappings);
    }
    return -Errno.EINVAL;
  }

  private constructor(fd: number, params: Uint32Array, mappings: readonly [number, number]) {
    const sq = (field: keyof typeof ioSqringOffsets.offset) =>
      params[(ioUringParams.offset.sq_off + ioSqringOffsets.offset[field]) / 4]!;
    const cq = (field: keyof typeof ioCqringOffsets.offset) =>
      params[(ioUringParams.offset.cq_off + ioCqringOffsets.offset[field]) / 4]!;
    this.fd = fd;
    this.setupFlags = params[ioUringParams.offset.flags / 4]!;
    this.submissionEntries = params[ioUringParams.offset.sq_entries / 4]!;
    this.completionEntries = params[ioUringParams.offset.cq_entries / 4]!;
    this.#mappings = mappings;
    this.#ring = new Uint32Array(wrap(mappings[0], ringBytes(params)));
    this.#sqes = new Uint32Array(wrap(mappings[1], this.submissionEntries * ioUringSqe.size));
    this.#sqHead = sq('head') / 4;
    this.#sqTail = sq('tail') / 4;
    this.#sqFlags = sq('flags') / 4;
    this.#cqHead = cq('head') / 4;
    this.#cqTail = cq('tail') / 4;
    this.#cqes = cq('cqes') / 4;
    this.#tail = this.#ring[this.#sqTail]!;
    this.#head = this.#ring[this.#cqHead]!;
    const array = sq('array') / 4;
    for (let i = 0; i < this.submissionEntries; i++) this.#ring[array + i] = i;
    // Best effort: kernels before 5.15 have no such limit.
    native().syscall(
      Sys.ioUringRegister,
      fd,
      REGISTER_IOWQ_MAX_WORKERS,
      new Uint32Array(maxWorkers),
      maxWorkers.length,
    );
  }

  /** Prepared and not yet taken by the kernel. */
  get prepared(): number {
    return (this.#tail - Atomics.load(this.#ring, this.#sqHead)) >>> 0;
  }

  get full(): boolean {
    return this.prepared >= this.submissionEntries;
  }

  /**
   * Writes one submission entry for an operation in `slots`, with its descriptor, offset, address and length; there must be
   * room. `enter` shows it to the kernel. Fields that are not written stay zero, as the kernel made them: nobody else
   * writes these entries.
   */
  prepare(slots: SlotTable, slot: number, opcode: number, sqeFlags: number, flags: number): void {
    const offset = slots.offset[slot]!;
    const address = slots.address[slot]!;
    const at = this.#nextEntry(opcode, sqeFlags, slots.fd[slot]!, slot);
    const sqes = this.#sqes;
    sqes[at + sqe.offset] = offset;
    sqes[at + sqe.offset + 1] = offset / TWO_32;
    sqes[at + sqe.address] = address;
    sqes[at + sqe.address + 1] = address / TWO_32;
    sqes[at + sqe.length] = slots.length[slot]!;
    sqes[at + sqe.flags] = flags;
    sqes[at + sqe.userData + 1] = UserKind.operation;
  }

  /** The same for an operation on a descriptor alone. */
  prepareBare(slots: SlotTable, slot: number, opcode: number, sqeFlags: number, flags: number): void {
    const at = this.#nextEntry(opcode, sqeFlags, slots.fd[slot]!, slot);
    this.#clear(at, 0);
    this.#sqes[at + sqe.flags] = flags;
    this.#sqes[at + sqe.userData + 1] = UserKind.operation;
  }

  /** The same for the end of the operation in `slot`. */
  prepareCancel(slot: number): void {
    const at = this.#nextEntry(Opcode.asyncCancel, 0, -1, slot);
    this.#clear(at, slot); // the user_data of what is to end
    this.#sqes[at + sqe.flags] = 0;
    this.#sqes[at + sqe.userData + 1] = UserKind.cancel;
  }

  #nextEntry(opcode: number, sqeFlags: number, fd: number, slot: number): number {
    const at = (this.#tail & (this.submissionEntries - 1)) * sqeWords;
    this.#sqes[at] = opcode | (sqeFlags << 8);
    this.#sqes[at + sqe.fd] = fd;
    this.#sqes[at + sqe.userData] = slot;
    this.#tail = (this.#tail + 1) >>> 0;
    return at;
  }

  #clear(at: number, address: number): void {
    const sqes = this.#sqes;
    sqes[at + sqe.offset] = 0;
    sqes[at + sqe.offset + 1] = 0;
    sqes[at + sqe.address] = address;
    sqes[at + sqe.address + 1] = 0;
    sqes[at + sqe.length] = 0;
  }

  /** One io_uring_enter: submits what is prepared, waits for `wanted` completions. How many were submitted, or -errno. */
  enter(wanted: number): number {
    if (wanted === 0 && this.prepared === 0 && !this.hasDeferred) return 0; // nothing would come of it
    Atomics.store(this.#ring, this.#sqTail, this.#tail); // release: the kernel sees whole entries
    return native().syscall(Sys.ioUringEnter, this.fd, this.prepared, wanted, ENTER_GETEVENTS, 0, 0);
  }

  /** The kernel makes completions at the next `enter`: it does that work on this thread (5.19), or had no room for them. */
  get hasDeferred(): boolean {
    return (Atomics.load(this.#ring, this.#sqFlags) & (SqRing.taskrun | SqRing.overflow)) !== 0;
  }

  /** Completions that wait to be taken. */
  get ready(): number {
    return (Atomics.load(this.#ring, this.#cqTail) - this.#head) >>> 0;
  }

  /** Takes the oldest completion into `userLow`, `userHigh` and `result`; `ready` has said that there is one. */
  next(): void {
    const at = this.#cqes + (this.#head & (this.completionEntries - 1)) * cqeWords;
    this.userLow = this.#ring[at]!;
    this.userHigh = this.#ring[at + 1]!;
    this.result = this.#ring[at + resultWord]! | 0;
    this.#head = (this.#head + 1) >>> 0;
  }

  /** Gives the entries taken by `next` back to the kernel. */
  giveBack(): void {
    Atomics.store(this.#ring, this.#cqHead, this.#head);
  }

  close(): void {
    native().detach(this.#ring.buffer as ArrayBuffer);
    native().detach(this.#sqes.buffer as ArrayBuffer);
    for (const address of this.#mappings) native().releaseMemory(address);
    closeFd(this.fd);
  }
}

function ringBytes(params: Uint32Array): number {
  const array = params[(ioUringParams.offset.sq_off + ioSqringOffsets.offset.array) / 4]!;
  const cqes = params[(ioUringParams.offset.cq_off + ioCqringOffsets.offset.cqes) / 4]!;
  const submission = array + params[ioUringParams.offset.sq_entries / 4]! * 4;
  const completion = cqes + params[ioUringParams.offset.cq_entries / 4]! * ioUringCqe.size;
  return Math.max(submission, completion);
}

/** Both rings in one mapping (FEAT_SINGLE_MMAP) and the submission entries in another, or -errno. */
function map(fd: number, params: Uint32Array): readonly [number, number] | number {
  const share = (length: number, offset: number) =>
    native().mapMemory(length, PROT_READ_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset, 0);
  const rings = share(ringBytes(params), OFFSET_SQ_RING);
  if (rings < 0) return rings;
  const entries = share(params[ioUringParams.offset.sq_entries / 4]! * ioUringSqe.size, OFFSET_SQES);
  if (entries < 0) {
    native().releaseMemory(rings);
    return entries;
  }
  return [rings, entries];
}

function wrap(address: number, length: number): ArrayBuffer {
  const buffer = native().wrapMemory(address, length);
  if (buffer === undefined) throw new Error('the rings of io_uring are not mapped');
  return buffer;
}
