/**
 * What of a machine's memory is written from one look to the next, whoever writes it (contract §4.5): userfaultfd's asynchronous
 * write protection (UFFD_FEATURE_WP_ASYNC, Linux 6.7, Documentation/admin-guide/mm/userfaultfd.rst). Main thread.
 *
 * The kernel lifts the protection of a page by itself when somebody writes to it, the guest, this program or the kernel for
 * us; nobody waits for an answer. Only who holds a page for writing while it is being protected, as DMA does, is not seen.
 */
import { Errno } from '../host/errno.js';
import { closeFd } from '../host/system.js';
import { type OnRun, protectWritten } from './pagemap.js';
import { openWriteProtection, registerProtected } from './user-faults.js';

let isPossible: boolean | undefined;

/** Whether the kernel has this for us. */
export function canWatch(): boolean {
  if (isPossible !== undefined) return isPossible;
  const fd = openWriteProtection();
  if (fd === -Errno.EMFILE) return false; // another time it may be
  if (fd >= 0) closeFd(fd);
  isPossible = fd >= 0;
  return isPossible;
}

export class WriteWatch {
  readonly #fd: number;
  readonly #address: number;

  private constructor(fd: number, address: number) {
    this.#fd = fd;
    this.#address = address;
  }

  /** Undefined where the kernel has no such thing, or somebody else's faults are in this range. */
  static over(address: number, size: number): WriteWatch | undefined {
    const fd = openWriteProtection();
    if (fd < 0) return undefined;
    if (registerProtected(fd, address, size) >= 0) return new WriteWatch(fd, address);
    closeFd(fd);
    return undefined;
  }

  /** Private pages that were written since they were last protected, at first all of them; from here on they count anew. */
  protect(offset: number, length: number, onRun: OnRun): void {
    protectWritten(this.#address + offset, length, (start, end) => onRun(offset + start, offset + end));
  }

  close(): void {
    closeFd(this.#fd);
  }
}
