/**
 * An eventfd that wakes an event loop: how other threads reach main (contract §1.9). Main thread, or any with a loop.
 *
 * The poll handle is one-shot; it is armed again after `onRing` has returned, so a ringer that never stops cannot keep
 * the loop from its other work for longer than one call.
 */
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { native } from './addon.js';
import { errnoName } from './errno.js';
import type { FdWatchHandle } from './native.js';
import { closeFd, eventFd, Sys, syscall } from './system.js';

export class Doorbell {
  readonly fd: number;
  readonly #handle: FdWatchHandle;
  readonly #onRing: () => void;
  readonly #counter = new Uint8Array(8);
  #watching = true;
  #closed = false;

  /** Over a new eventfd, or one of somebody else's, who closes it after `unwatch`. */
  constructor(onRing: () => void, fd?: number) {
    this.#onRing = onRing;
    this.fd = fd ?? eventFd();
    if (this.fd < 0) throw outOfDescriptors(this.fd);
    const handle = native().watchFd(this.fd, () => this.#rung());
    if (handle === undefined) {
      if (fd === undefined) closeFd(this.fd);
      throw new TsvmmError('ERR_TSVMM_UNSUPPORTED_RUNTIME', 'this runtime has no libuv event loop', {
        hint: 'run it with Node.js',
      });
    }
    this.#handle = handle;
    native().armFd(handle);
  }

  ref(): void {
    if (this.#watching) native().refFd(this.#handle, 1);
  }

  unref(): void {
    if (this.#watching) native().refFd(this.#handle, 0);
  }

  /** Hears no ring any more; the descriptor stays open for whoever answers it next. */
  unwatch(): void {
    if (!this.#watching) return;
    this.#watching = false;
    native().unwatchFd(this.#handle);
  }

  /** No other thread may ring it any more: the number may soon belong to another descriptor. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.unwatch(); // the poll handle before its descriptor: libuv aborts the other way round
    closeFd(this.fd);
  }

  #rung(): void {
    syscall(Sys.read, this.fd, this.#counter, this.#counter.length);
    try {
      this.#onRing();
    } finally {
      if (this.#watching) native().armFd(this.#handle);
    }
  }
}

export const outOfDescriptors = (result: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `the host has no descriptor left for an eventfd: ${errnoName(result)}`, {
    hint: raiseOpenFiles,
  });
