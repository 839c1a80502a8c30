/**
 * Workers for vCPUs: started when needed, or kept warm by `prewarm`. Main thread, one pool per importing environment.
 *
 * A worker costs 30-50 ms and 8 MiB to start; a warm one is idle and unref'd, so that it keeps nothing alive.
 */
import type { Worker } from 'node:worker_threads';
import { asTsvmmError, TsvmmError } from '../errors.js';
import { rehearsing, type VcpuCommand, type VcpuReport } from './vcpu-protocol.js';
import { startVcpuWorker } from './worker-start.js';

/** A started worker; `idle` resolves when it can be given a vCPU, and rejects if it died before. */
export interface PooledWorker {
  readonly worker: Worker;
  readonly idle: Promise<void>;
  readonly isUp: boolean;
  readonly isGone: boolean;
}

export class VcpuPool {
  readonly #url: URL;
  readonly #warm: PooledWorker[] = [];
  #target = 0;
  /** Started by `reserve` and not up yet. */
  #rising = 0;

  constructor(url: URL) {
    this.#url = url;
  }

  /** A warm worker if there is one, else a new one; referenced. */
  acquire(): PooledWorker {
    const pooled = this.#warm.shift() ?? this.#start();
    pooled.worker.ref();
    pooled.worker.postMessage({ type: 'wake' } satisfies VcpuCommand); // its machine is about to be made
    return pooled;
  }

  /** Takes a worker that was started a moment ago, for an `acquire` that is sure to come. */
  adopt(worker: Worker): void {
    this.#keep(this.#watch(worker));
  }

  /** Takes back a worker that is idle again; ends it when the pool is full, or it never came up. */
  release(pooled: PooledWorker): void {
    if (pooled.isUp && this.#warm.length < this.#target) this.#keep(pooled);
    else void pooled.worker.terminate();
  }

  /** Keeps `count` more workers warm; resolves when they are. The result's `release` gives them up again. */
  async reserve(count: number): Promise<{ release(): Promise<void> }> {
    this.#target += count;
    const started: PooledWorker[] = [];
    try {
      for (; this.#warm.length + this.#rising < this.#target; this.#rising++) started.push(this.#start(rehearsing));
      // Referenced until they are up: a program that only waits for this must not end before.
      await Promise.all(started.map(({ idle }) => idle));
    } catch (error) {
      this.#target -= count;
      await Promise.all(started.map(({ worker }) => worker.terminate()));
      throw error;
    } finally {
      this.#rising -= started.length;
    }
    for (const pooled of started) this.#keep(pooled);
    let released = false;
    return {
      release: async () => {
        if (released) return;
        released = true;
        this.#target -= count;
        const surplus = this.#warm.splice(this.#target);
        await Promise.all(surplus.map(({ worker }) => worker.terminate()));
      },
    };
  }

  #keep(pooled: PooledWorker): void {
    if (pooled.isGone) return;
    pooled.worker.unref();
    this.#warm.push(pooled);
  }

  #start(data?: string): PooledWorker {
    return this.#watch(startVcpuWorker(this.#url, data));
  }

  #watch(worker: Worker): PooledWorker {
    const idle = new Promise<void>((resolve, reject) => {
      worker.on('message', (report: VcpuReport) => {
        if (report.type !== 'idle') return;
        pooled.isUp = true;
        resolve();
      });
      // For as long as it lives: an error without a listener would be the embedding program's.
      worker.on('error', (error) => reject(asTsvmmError(error, 'ERR_TSVMM_WORKER_DIED')));
      worker.once('exit', () => {
        pooled.isGone = true;
        reject(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'a vCPU worker ended before it was ready'));
        const at = this.#warm.indexOf(pooled);
        if (at >= 0) this.#warm.splice(at, 1);
      });
    });
    idle.catch(() => {}); // whoever acquires it awaits it; a warm worker that dies is only dropped
    const pooled = { worker, idle, isUp: false, isGone: false };
    return pooled;
  }
}
