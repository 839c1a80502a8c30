/** Copies memory, and frees pages, on a thread that has no vCPU, while the vCPUs go on. Main thread. */
import { fromWire, TsvmmError } from '../errors.js';
import type { CopyJob } from '../memory/copy-job.js';
import type { PagesAside } from '../memory/pages-aside.js';
import type { PooledWorker, VcpuPool } from './vcpu-pool.js';
import type { VcpuCommand, VcpuReport } from './vcpu-protocol.js';

export class MemoryCopier implements Disposable {
  readonly #pool: VcpuPool;
  readonly #pooled: PooledWorker;

  private constructor(pool: VcpuPool, pooled: PooledWorker) {
    this.#pool = pool;
    this.#pooled = pooled;
  }

  /** Rejects when there is no thread to be had. */
  static async start(pool: VcpuPool): Promise<MemoryCopier> {
    const pooled = pool.acquire();
    try {
      await pooled.idle;
    } catch (error) {
      pool.release(pooled);
      throw error;
    }
    return new MemoryCopier(pool, pooled);
  }

  /** Settles when it does not copy any more: all is copied, or `stopJob` has been called. */
  copy(job: CopyJob): Promise<void> {
    return this.#ask('copied', { type: 'copy', job });
  }

  /** Their addresses stay the caller's. */
  free({ parts }: PagesAside): Promise<void> {
    return this.#ask('freed', { type: 'free', parts });
  }

  /** One at a time. */
  async #ask(answer: 'copied' | 'freed', command: VcpuCommand): Promise<void> {
    const { worker } = this.#pooled;
    let stopListening = (): void => {};
    let cause: Error | undefined;
    const answered = new Promise<void>((resolve, reject) => {
      const onReport = (report: VcpuReport): void => {
        if (report.type !== answer) return;
        if (report.type === 'copied' && report.error !== undefined) reject(fromWire(report.error));
        else resolve();
      };
      const onError = (error: Error): void => {
        cause = error;
      };
      const onExit = (): void =>
        reject(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'the thread that copies memory has died', { cause }));
      worker.on('message', onReport).on('error', onError).on('exit', onExit);
      stopListening = () => void worker.off('message', onReport).off('error', onError).off('exit', onExit);
      if (this.#pooled.isGone) onExit();
      else worker.postMessage(command);
    });
    try {
      await answered;
    } finally {
      stopListening();
    }
  }

  [Symbol.dispose](): void {
    this.#pool.release(this.#pooled);
  }
}
