/** An eventfd that wakes an event loop: how other threads reach main (contract §1.9). Main thread, or any with a loop. */
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { errnoName } from './errno.js';
import { FdWatch } from './fd-watch.js';
import { closeFd, eventFd, Sys, syscall } from './system.js';

export class Doorbell {
  readonly fd: number;
  readonly #watch: FdWatch;
  readonly #counter = new Uint8Array(8);
  #closed = false;

  /** Over a new eventfd, or one of somebody else's, who closes it after `unwatch`. */
  constructor(onRing: () => void, fd?: number) {
    this.fd = fd ?? eventFd();
    if (this.fd < 0) throw outOfDescriptors(this.fd);
    try {
      this.#watch = new FdWatch(this.fd, () => {
        syscall(Sys.read, this.fd, this.#counter, this.#counter.length);
        onRing();
      });
    } catch (error) {
      if (fd === undefined) closeFd(this.fd);
      throw error;
    }
  }

  ref(): void {
    this.#watch.ref();
  }

  unref(): void {
    this.#watch.unref();
  }

  /** Hears no ring any more; the descriptor stays open for whoever answers it next. */
  unwatch(): void {
    this.#watch.close();
  }

  /** No other thread may ring it any more: the number may soon belong to another descriptor. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.unwatch();
    closeFd(this.fd);
  }
}

export const outOfDescriptors = (result: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `the host has no descriptor left for an eventfd: ${errnoName(result)}`, {
    hint: raiseOpenFiles,
  });
