/**
 * Guest RAM: one contiguous host range that never moves, layers under a private head (contract §4.1-4.2). Main thread.
 *
 * The range is made of pieces in order: each shows part of an immutable layer (a file nobody writes any more) or nothing
 * (zeroes). What the guest writes is private to this machine: over layers by copy-on-write, elsewhere in anonymous
 * memory, which has huge pages by default where shmem does not. KVM slots and every view keep their address for life.
 */
import { fstatSync } from 'node:fs';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { hugePagePool } from '../host/memory-facts.js';
import { Sys, syscall } from '../host/system.js';
import { CopiedAhead } from './copied-ahead.js';
import type { CopyJob } from './copy-job.js';
import { RamFreeze } from './freeze.js';
import type { RamRegion } from './guest-memory.js';
import type { Layer, PageFile } from './layer.js';
import { hasPrivate } from './pagemap.js';
import { PagesAside } from './pages-aside.js';
import { type Run, within } from './runs.js';
import { canWatch } from './write-watch.js';

/** `length` bytes at `offset` of RAM; all multiples of 4 KiB, in order, without gaps. */
export interface Piece<L extends PageFile = PageFile> {
  readonly offset: number;
  readonly length: number;
  /** Absent: zeroes until written. */
  readonly layer?: L;
  readonly layerOffset?: number;
}

/** Of memory that is mapped. */
export type RamPiece = Piece<Layer>;

/** What the pages of anonymous guest memory are: of any size, of 4 KiB, or of the host's pool of huge ones. */
export type HugePages = 'thp' | 'off' | 'hugetlb';

export interface RamOptions {
  /** Default: all of it zeroes until written. */
  readonly pieces?: readonly RamPiece[];
  /** Default `thp`. With `hugetlb`, `size` is a multiple of `hugePageSize` and there are no layers. */
  readonly hugepages?: HugePages;
}

const pageSize = 4096;
export const hugePageSize = 0x20_0000;

const PROT_NONE = 0;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_HUGETLB_2M = 0x4_0000 | (21 << 26);
const MADV_DONTFORK = 10;
const MADV_HUGEPAGE = 14;
const MADV_NOHUGEPAGE = 15;

export class GuestRam {
  readonly size: number;
  readonly hostAddress: number;
  readonly hugepages: HugePages;
  #pieces: readonly RamPiece[];
  #ahead: CopiedAhead | undefined;
  #freezing: RamFreeze | undefined;
  /** What the last freeze has left. */
  #aside: PagesAside | undefined;
  #isLost = false;
  #released = false;

  private constructor(size: number, hostAddress: number, pieces: readonly RamPiece[], hugepages: HugePages) {
    this.size = size;
    this.hostAddress = hostAddress;
    this.hugepages = hugepages;
    this.#pieces = pieces;
    for (const { layer } of pieces) layer?.hold();
  }

  /** `size` is a multiple of 4 KiB. Throws `ERR_TSVMM_CONFIG` when the host cannot map it. */
  static map(size: number, options: RamOptions = {}): GuestRam {
    const { pieces = [{ offset: 0, length: size }], hugepages = 'thp' } = options;
    checkPieces(size, pieces, hugepages);
    // The count of holders and the guard know one mapping: reserve it whole, then map each piece over its part.
    const address = native().mapMemory(
      size,
      PROT_NONE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1,
      0,
      hugePageSize,
    );
    if (address < 0) throw mapError(size, address);
    const ram = new GuestRam(size, address, pieces, hugepages);
    try {
      for (const piece of pieces) ram.#mapPiece(piece);
    } catch (error) {
      ram.release();
      throw error;
    }
    return ram;
  }

  /** What it shows where nothing was written since. Its layers are held for as long as they are shown. */
  get pieces(): readonly RamPiece[] {
    return this.#pieces;
  }

  /** The host side of guest-physical regions that lie in this RAM one after the other. */
  place(regions: readonly { readonly start: number; readonly size: number }[]): RamRegion[] {
    let hostAddress = this.hostAddress;
    return regions.map(({ start, size }) => {
      hostAddress += size;
      return { start, size, hostAddress: hostAddress - size };
    });
  }

  /** Whether a freeze would copy so many bytes, of which some could be copied before it. */
  hasWritten(bytes: number): boolean {
    return this.hugepages !== 'hugetlb' && canWatch() && hasPrivate(this.hostAddress, this.size, bytes);
  }

  /** A freeze is to come: of what is copied until then only what is written meanwhile is left for it. False where nothing can be. */
  beginCopyAhead(): boolean {
    this.#ahead = CopiedAhead.of(this.hostAddress, this.size);
    return this.#ahead !== undefined;
  }

  /** What is written to this part after this is to be copied again. The kernel does nothing in this memory for us. */
  protect(offset: number, length: number): void {
    this.#ahead!.protect(offset, length);
  }

  /** What had been written to where it was protected, to be copied before anything is protected again. */
  copyAhead(): CopyJob {
    return this.#ahead!.job();
  }

  /** No freeze comes. Nobody copies any more. */
  abandonCopyAhead(): void {
    this.#ahead?.abandon();
    this.#ahead = undefined;
  }

  /**
   * Begins a freeze; no vCPU and no device runs until it has ended. Other threads may help to copy, and have to have ended
   * before that. Refused with `hugetlb`.
   */
  beginFreeze(): CopyJob {
    if (this.hugepages === 'hugetlb')
      throw new TsvmmError('ERR_TSVMM_SNAPSHOT', "memory of 'hugetlb' pages cannot be frozen: nobody can share it", {
        hint: "use transparent huge pages for machines that are forked or snapshotted: memory: { hugepages: 'thp' }",
      });
    this.#freezing = new RamFreeze(this.hostAddress, this.size, this.#pieces, this.#ahead);
    this.#ahead = undefined;
    return this.#freezing.job;
  }

  /** Copies up to `bytes` of what was written; true when there is no more to begin. */
  copyFreeze(bytes: number): boolean {
    return this.#freezing!.copy(bytes);
  }

  /** This program has written to guest memory: a freeze under way copies it again. */
  touch(hostAddress: number, length: number): void {
    this.#freezing?.touch(hostAddress - this.hostAddress, length);
  }

  /** The host could not map it again: its machine cannot go on. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Somebody has truncated a file behind it: what was there is gone. */
  get isTruncated(): boolean {
    return this.#pieces.some(
      ({ layer, layerOffset = 0, length }) => layer !== undefined && fstatSync(layer.fd).size < layerOffset + length,
    );
  }

  /**
   * What was written is a layer from now on, and the machine goes on over it: `pieces` are another list. The pages themselves are
   * aside, for `takeAside`.
   */
  endFreeze(): void {
    const before = this.#pieces;
    const freezing = this.#freezing!;
    const { layer, pieces } = freezing.finish();
    this.#freezing = undefined;
    this.#pieces = pieces;
    for (const { layer } of pieces) layer?.hold();
    layer.release();
    for (const { layer } of before) layer?.release();
    this.#isLost = true;
    try {
      this.takeAside()?.release();
      const aside = new PagesAside();
      this.#aside = aside;
      const mapped = before.map(runOf);
      // Nobody looks at memory between the two: until it is mapped, what was taken is not there.
      for (const piece of pieces) {
        if (piece.layer !== layer) continue;
        for (const { start, end } of within([runOf(piece)], mapped)) aside.take(this.hostAddress + start, end - start);
        try {
          this.#mapPiece(piece);
        } catch {
          aside.release(); // theirs may be the mappings that are too many
          this.#mapPiece(piece);
        }
      }
      this.#isLost = false;
    } finally {
      freezing.close(); // there is nothing left of the pages that it has watched
    }
  }

  /** Pages that a freeze has left, which the caller releases when the machine goes on. */
  takeAside(): PagesAside | undefined {
    const aside = this.#aside;
    this.#aside = undefined;
    return aside;
  }

  abandonFreeze(): void {
    this.#freezing?.abandon();
    this.#freezing = undefined;
  }

  /**
   * Gives the pages back to the host at once; the addresses stay taken until the last ArrayBuffer over them has gone, which
   * is the collector's to decide, so that nobody's late access meets another mapping there.
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | MAP_ANONYMOUS;
    syscall(Sys.mmap, this.hostAddress, this.size, PROT_NONE, flags, -1, 0);
    native().releaseMemory(this.hostAddress);
    this.abandonCopyAhead();
    this.abandonFreeze();
    this.takeAside()?.release();
    for (const { layer } of this.#pieces) layer?.release();
  }

  #mapPiece(piece: RamPiece): void {
    const at = this.hostAddress + piece.offset;
    const { layer, length, layerOffset = 0 } = piece;
    // Huge pages are reserved, so that a shortage is an error here and not a SIGBUS later.
    const kind = layer !== undefined ? 0 : MAP_ANONYMOUS;
    const own = this.hugepages === 'hugetlb' ? MAP_HUGETLB_2M : MAP_NORESERVE;
    const flags = MAP_PRIVATE | MAP_FIXED | kind | own;
    const result = syscall(Sys.mmap, at, length, PROT_READ_WRITE, flags, layer?.fd ?? -1, layerOffset);
    if (result < 0) throw this.hugepages === 'hugetlb' ? hugetlbError(this.size, result) : mapError(this.size, result);
    // child_process.spawn beside touched guest memory would copy its page tables: 52 ms for 2 GiB, 2.4 without.
    this.#advise(piece.offset, length, MADV_DONTFORK);
    if (layer !== undefined || this.hugepages === 'hugetlb') return;
    // Advice: a kernel without transparent huge pages answers EINVAL and works all the same.
    syscall(Sys.madvise, at, length, this.hugepages === 'thp' ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  }

  #advise(offset: number, length: number, advice: number): void {
    const result = syscall(Sys.madvise, this.hostAddress + offset, length, advice);
    if (result < 0) throw mapError(this.size, result);
  }
}

const runOf = ({ offset, length }: RamPiece): Run => ({ start: offset, end: offset + length });

function checkPieces(size: number, pieces: readonly RamPiece[], hugepages: HugePages): void {
  const unit = hugepages === 'hugetlb' ? hugePageSize : pageSize;
  let end = 0;
  for (const { offset, length, layer, layerOffset = 0 } of pieces) {
    const aligned = [offset, length, layerOffset].every(
      (value) => Number.isSafeInteger(value) && value >= 0 && value % unit === 0,
    );
    if (!aligned || offset !== end || length === 0 || (layer !== undefined && hugepages === 'hugetlb'))
      throw new RangeError(`a piece of guest RAM at ${offset} does not fit`);
    end += length;
  }
  if (end !== size || size === 0) throw new RangeError(`the pieces of guest RAM cover ${end} of ${size} bytes`);
}

function mapError(size: number, result: number): TsvmmError {
  return new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `the host cannot map ${Math.round(size / 1048576)} MiB of guest memory: ${errnoName(result)}`,
    {
      hint:
        result === -Errno.ENOMEM
          ? 'ask for less memory, or raise vm.overcommit_memory or vm.max_map_count on the host'
          : 'run: tsvmm doctor',
    },
  );
}

function hugetlbError(size: number, result: number): TsvmmError {
  const pool = hugePagePool();
  if (result !== -Errno.ENOMEM || pool === undefined) {
    return new TsvmmError('ERR_TSVMM_CONFIG', `memory: this kernel has no huge pages of 2M: ${errnoName(result)}`, {
      hint: "leave out hugepages: 'hugetlb'; transparent huge pages (thp) need nothing set aside",
    });
  }
  const needed = size / hugePageSize;
  const wanted = pool.total - pool.free + needed;
  return new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `memory: ${needed} huge pages of 2M are needed and ${pool.free} of ${pool.total} are free`,
    {
      hint: `set more aside, as root: sysctl vm.nr_hugepages=${wanted}; or use transparent huge pages (hugepages: 'thp')`,
      details: { needed, free: pool.free, total: pool.total },
    },
  );
}
