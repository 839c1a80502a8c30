/** A worker that keeps the program alive only while something waits for its answer. The thread that started it. */
import type { Worker } from 'node:worker_threads';

export class AwaitedWorker {
  readonly #worker: Worker;
  #awaited = 0;

  /** The worker is unreferenced from here on. */
  constructor(worker: Worker) {
    this.#worker = worker;
    worker.unref();
  }

  async until<T>(answer: Promise<T>): Promise<T> {
    if (this.#awaited++ === 0) this.#worker.ref();
    try {
      return await answer;
    } finally {
      if (--this.#awaited === 0) this.#worker.unref();
    }
  }
}
