/** Starts the worker threads, all in one way. The thread that owns them: main, or the I/O worker for its helper. */
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { TsvmmError } from '../errors.js';
import { permissionFlags } from '../host/runtime.js';

/** Where workers keep their compiled code (host/code-cache.ts): the command has such a place, the library does not. */
let codeCache: string | undefined;

export function keepWorkerCode(cache: string | undefined): void {
  codeCache = cache;
}

/** The heap of a vCPU's worker holds the register code and nothing that grows. */
const vcpuHeapMegabytes = 64;

type WorkerOwn = Pick<WorkerOptions, 'name' | 'workerData' | 'resourceLimits' | 'stdout' | 'stderr'>;

/**
 * The environment and flags of the embedding program are not inherited (contract §1.5), nor its streams: Node would put
 * listeners of each worker on them, and warn of a leak when there are ten.
 */
export function startWorker(url: URL, own: WorkerOwn): Worker {
  try {
    return new Worker(url, { stdout: true, stderr: true, ...own, argv: [codeCache ?? ''], execArgv: [], env: {} });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_ACCESS_DENIED') throw cause;
    throw new TsvmmError('ERR_TSVMM_UNSUPPORTED_RUNTIME', 'this process may not start worker threads', {
      hint: `run Node.js with ${permissionFlags}`,
      cause,
    });
  }
}

/** A thread with room for one vCPU: the bundle of vcpu-worker.ts. `workerData` is `rehearsing`, or nothing. */
export function startVcpuWorker(url: URL, workerData?: string): Worker {
  return startWorker(url, {
    name: 'tsvmm-vcpu',
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: vcpuHeapMegabytes },
  });
}
