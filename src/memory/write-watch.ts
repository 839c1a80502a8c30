/**
 * What of a machine's memory is written from one look to the next, whoever writes it (contract §4.5): userfaultfd's asynchronous
 * write protection (UFFD_FEATURE_WP_ASYNC, Linux 6.7, Documentation/admin-guide/mm/userfaultfd.rst). Main thread.
 *
 * The kernel lifts the protection of a page by itself when somebody writes to it, the guest, this program or the kernel for
 * us; nobody waits for an answer. Only who holds a page for writing while it is being protected, as DMA does, is not seen.
 */
import { closeFd } from '../host/system.js';
import { type OnRun, protectWritten, watchedRuns } from './pagemap.js';
import { openWriteProtection, registerProtected } from './user-faults.js';

export class WriteWatch {
  readonly #fd: number;
  readonly #address: number;
  readonly #size: number;

  private constructor(fd: number, address: number, size: number) {
    this.#fd = fd;
    this.#address = address;
    this.#size = size;
  }

  /** Undefined where the kernel has no such thing, or somebody else's faults are in this range. */
  static over(address: number, size: number): WriteWatch | undefined {
    const fd = openWriteProtection();
    if (fd < 0) return undefined;
    if (registerProtected(fd, address, size) >= 0) return new WriteWatch(fd, address, size);
    closeFd(fd);
    return undefined;
  }

  /** Private pages that were written since the last `protect`, at first all of them; from here on they count anew. */
  protect(onRun: OnRun): void {
    protectWritten(this.#address, this.#size, onRun);
  }

  /** All private pages, and whether they were written since the last `protect`. */
  look(onRun: (start: number, end: number, isWritten: boolean) => void): void {
    watchedRuns(this.#address, this.#size, onRun);
  }

  close(): void {
    closeFd(this.#fd);
  }
}
