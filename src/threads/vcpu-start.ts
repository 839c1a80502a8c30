/** Starts a thread for a vCPU: the bundle of vcpu-worker.ts, which has room for one. Main thread. */
import { Worker } from 'node:worker_threads';

/** The heap of a worker holds the register code and nothing that grows. */
const heapMegabytes = 64;

/**
 * The environment and flags of the embedding program are not inherited (contract §1.5), nor its streams: Node would put
 * listeners of each worker on them, and warn of a leak when there are ten.
 */
export function startVcpuWorker(url: URL): Worker {
  return new Worker(url, {
    name: 'tsvmm-vcpu',
    execArgv: [],
    env: {},
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
  });
}
