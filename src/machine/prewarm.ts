/** The pool of vCPU workers that all machines of this environment share, and `prewarm`. Main thread. */
import type { Worker } from 'node:worker_threads';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { VcpuPool } from '../threads/vcpu-pool.js';
import { maxCpus } from './cpu-options.js';
import { show } from './units.js';

/** Beside this module once bundled (scripts/build.js). */
const workerUrl = new URL('./vcpu-worker.cjs', import.meta.url);
let pool: VcpuPool | undefined;

export function vcpuPool(): VcpuPool {
  pool ??= new VcpuPool(workerUrl);
  return pool;
}

/** Takes a worker that was started a moment ago, for the machine that is about to be asked for. */
export function adoptVcpu(worker: Worker): void {
  vcpuPool().adopt(worker);
}

/**
 * Keeps `vcpus` workers started and idle, so that machines start in a few milliseconds instead of 50 or more. They keep
 * nothing alive. Disposing of the result ends those that are not in use; workers come back to the pool until then.
 */
export async function prewarm(options: { vcpus: number }): Promise<AsyncDisposable> {
  const vcpus = options?.vcpus;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > maxCpus * 16) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `prewarm: ${show(vcpus)} workers are not possible`, {
      hint: `use a whole number from 1 to ${maxCpus * 16}`,
    });
  }
  native(); // refuses a runtime that cannot have it here and not in the workers
  const reservation = await vcpuPool().reserve(vcpus);
  return { [Symbol.asyncDispose]: () => reservation.release() };
}
