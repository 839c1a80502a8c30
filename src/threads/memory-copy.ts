/** Copies memory on a thread that has no vCPU, while the vCPUs go on. Main thread. */
import { asTsvmmError, fromWire, TsvmmError } from '../errors.js';
import type { CopyJob } from '../memory/copy-job.js';
import type { VcpuPool } from './vcpu-pool.js';
import type { VcpuCommand, VcpuReport } from './vcpu-protocol.js';

/** Settles when nobody copies any more: all is copied, or `stopJob` has been called. */
export async function copyOnWorker(pool: VcpuPool, job: CopyJob): Promise<void> {
  const pooled = pool.acquire();
  const { worker } = pooled;
  let onReport: ((report: VcpuReport) => void) | undefined;
  let onExit: (() => void) | undefined;
  let cause: Error | undefined;
  const onError = (error: Error): void => {
    cause = error;
  };
  try {
    await pooled.idle;
    await new Promise<void>((resolve, reject) => {
      onReport = (report) => {
        if (report.type !== 'copied') return;
        if (report.error === undefined) resolve();
        else reject(fromWire(report.error));
      };
      onExit = () =>
        reject(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'the thread that copies memory has died', { cause }));
      worker.on('message', onReport);
      worker.on('error', onError);
      worker.once('exit', onExit);
      if (pooled.isGone) onExit();
      else worker.postMessage({ type: 'copy', job } satisfies VcpuCommand);
    });
  } catch (error) {
    throw asTsvmmError(error, 'ERR_TSVMM_WORKER_DIED');
  } finally {
    if (onReport !== undefined) worker.off('message', onReport);
    if (onExit !== undefined) worker.off('exit', onExit);
    worker.off('error', onError);
    pool.release(pooled);
  }
}
