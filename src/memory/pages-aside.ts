/**
 * Pages that a machine does not show any more, moved out of its memory: to free them takes 0.1 ms for each MiB, for which it need not
 * stand still (contract §4.3). Main thread; another one may free them.
 */
import { native } from '../host/addon.js';
import { Sys, syscall } from '../host/system.js';

const PROT_NONE = 0;
const MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022;
/** Maymove, fixed, dontunmap (mremap(2); of any private mapping since Linux 5.13). */
const MREMAP_FLAGS = 1 | 2 | 4;
const MADV_DONTNEED = 4;
/** Page tables move as a whole where both sides are aligned to what one describes. */
const alignment = 0x20_0000;

export class PagesAside {
  readonly address: number;
  readonly length: number;

  private constructor(address: number, length: number) {
    this.address = address;
    this.length = length;
  }

  /** For the pages of `length` bytes of memory that are aligned as this is; undefined where there is no room. */
  static room(length: number): PagesAside | undefined {
    const address = native().mapMemory(length, PROT_NONE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0, alignment);
    return address < 0 ? undefined : new PagesAside(address, length);
  }

  /** Part of one mapping, of which nothing is left there. Where that cannot be, it stays as it is, and is freed by what is mapped over it. */
  take(memory: number, offset: number, length: number): void {
    syscall(Sys.mremap, memory + offset, length, length, MREMAP_FLAGS, this.address + offset);
  }

  /** Frees them, if they are not yet, and the room. */
  release(): void {
    native().releaseMemory(this.address);
  }
}

/** Frees the pages of a `PagesAside`. Any thread. */
export const freePages = (address: number, length: number): number =>
  syscall(Sys.madvise, address, length, MADV_DONTNEED);
