/**
 * Main's use of the machine lock: it never waits (contract §2.1). Main thread.
 *
 * A task runs at once if the lock is free, else at the next turn of the event loop, in order. A vCPU holds the lock for
 * microseconds.
 */
import { mainOwner } from '../memory/control.js';
import type { SharedLock } from '../memory/lock.js';

export class MainLock {
  readonly #lock: SharedLock;
  readonly #queue: { readonly task: () => void; readonly dropped: (() => void) | undefined }[] = [];
  #retry: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(lock: SharedLock) {
    this.#lock = lock;
  }

  /** `dropped` is called instead if the machine ends first. */
  run(task: () => void, dropped?: () => void): void {
    if (this.#closed) {
      dropped?.();
      return;
    }
    this.#queue.push({ task, dropped });
    this.#drain();
  }

  /** Forgets what has not run, and runs nothing any more: the machine is gone. */
  close(): void {
    this.#closed = true;
    if (this.#retry !== undefined) clearImmediate(this.#retry);
    for (const { dropped } of this.#queue.splice(0)) dropped?.();
  }

  #later(): void {
    this.#retry ??= setImmediate(() => {
      this.#retry = undefined;
      this.#drain();
    });
  }

  #drain(): void {
    if (this.#queue.length === 0) return;
    if (!this.#lock.try(mainOwner)) {
      this.#later();
      return;
    }
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next.task();
    } finally {
      this.#lock.release();
      if (this.#queue.length > 0) this.#later(); // a task has thrown; the others are not its fault
    }
  }
}
