/**
 * A descriptor that an event loop watches: a callback when it can be read. Main thread, or any with a loop.
 *
 * The poll handle is one-shot; it is armed again after the callback has returned, so that one that can always be read cannot
 * keep the loop from its other work for longer than one call.
 */
import { TsvmmError } from '../errors.js';
import { native } from './addon.js';
import type { FdWatchHandle } from './native.js';

export class FdWatch {
  readonly #handle: FdWatchHandle;
  #watching = true;

  /** Whoever opened the descriptor closes it, after `close`: libuv aborts the other way round. */
  constructor(fd: number, onReadable: () => void) {
    const handle = native().watchFd(fd, () => {
      try {
        onReadable();
      } finally {
        if (this.#watching) native().armFd(this.#handle);
      }
    });
    if (handle === undefined)
      throw new TsvmmError('ERR_TSVMM_UNSUPPORTED_RUNTIME', 'this runtime has no libuv event loop', {
        hint: 'run it with Node.js',
      });
    this.#handle = handle;
    native().armFd(handle);
  }

  ref(): void {
    if (this.#watching) native().refFd(this.#handle, 1);
  }

  unref(): void {
    if (this.#watching) native().refFd(this.#handle, 0);
  }

  /** No callback any more. Idempotent. */
  close(): void {
    if (!this.#watching) return;
    this.#watching = false;
    native().unwatchFd(this.#handle);
  }
}
