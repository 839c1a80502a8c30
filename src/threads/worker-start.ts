/** Starts the worker threads, all in one way. The thread that owns them: main, or the I/O worker for its helper. */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** The heap of a vCPU's worker holds the register code and nothing that grows. */
const vcpuHeapMegabytes = 64;

/**
 * The environment and flags of the embedding program are not inherited (contract §1.5), nor its streams: Node would put
 * listeners of each worker on them, and warn of a leak when there are ten.
 */
export function startWorker(url: URL, own: Pick<WorkerOptions, 'name' | 'workerData' | 'resourceLimits'>): Worker {
  return new Worker(url, { ...own, execArgv: [], env: {}, stdout: true, stderr: true });
}

/** A thread with room for one vCPU: the bundle of vcpu-worker.ts. */
export function startVcpuWorker(url: URL): Worker {
  return startWorker(url, {
    name: 'tsvmm-vcpu',
    resourceLimits: { maxOldGenerationSizeMb: vcpuHeapMegabytes },
  });
}
