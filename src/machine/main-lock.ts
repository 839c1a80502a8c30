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
  #queue: { readonly task: () => void; readonly dropped: (() => void) | undefined }[] = [];
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

  #drain(): void {
    if (this.#queue.length === 0) return;
    if (!this.#lock.try(mainOwner)) {
      this.#retry ??= setImmediate(() => {
        this.#retry = undefined;
        this.#drain();
      });
      return;
    }
    const tasks = this.#queue;
    this.#queue = [];
    try {
      for (const { task } of tasks) task();
    } finally {
      this.#lock.release();
    }
  }
}
