/** Starts a thread for a vCPU: the bundle of vcpu-worker.ts, which has room for one. Main thread. */
import { Worker } from 'node:worker_threads';

/** The heap of a worker holds the register code and nothing that grows. */
const heapMegabytes = 64;

/** The environment and flags of the embedding program are not inherited (contract §1.5). */
export function startVcpuWorker(url: URL): Worker {
  return new Worker(url, {
    name: 'tsvmm-vcpu',
    execArgv: [],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
  });
}
