/**
 * Pages that a machine does not show any more, moved out of its memory: to free them takes 0.1 ms for each MiB, for which it need not
 * stand still (contract §4.3). Main thread; another one may free them.
 */
import { native } from '../host/addon.js';
import { Sys, syscall } from '../host/system.js';
import type { HostRange } from './populate.js';

/** Less is freed as fast as it is moved; and a process may have 65,530 mappings by default. */
const worthIt = 0x4_0000;
const MADV_DONTNEED = 4;
/** Freed at a time: whoever maps memory waits for that. */
const slice = 0x80_0000;

export class PagesAside {
  readonly #parts: HostRange[] = [];

  get parts(): readonly HostRange[] {
    return this.#parts;
  }

  /** Part of memory that is mapped over next. What cannot be taken is freed by that. */
  take(from: number, length: number): void {
    if (length < worthIt) return;
    const address = native().moveMemory(from, length);
    if (address >= 0) this.#parts.push({ address, length });
  }

  /** Frees them, if they are not yet, and their addresses. */
  release(): void {
    for (const { address } of this.#parts.splice(0)) native().releaseMemory(address);
  }
}

/** Frees the pages of a `PagesAside`; what stays is freed with its addresses. Any thread. */
export function freePages(parts: readonly HostRange[]): void {
  for (const { address, length } of parts)
    for (let at = 0; at < length; at += slice)
      syscall(Sys.madvise, address + at, Math.min(slice, length - at), MADV_DONTNEED);
}
