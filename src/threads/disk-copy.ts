/** Main's end of the thread that writes a frozen disk into a file: starts it, stops it, and waits until it has gone. Main thread. */
import { fromWire, TsvmmError } from '../errors.js';
import { AwaitedWorker } from './awaited-worker.js';
import type { DiskCopyData, DiskCopyReport } from './disk-copy-protocol.js';
import { startWorker } from './worker-start.js';

export interface DiskCopyOptions extends Omit<DiskCopyData, 'stop'> {
  /** The bundle of disk-copy-worker.ts. */
  readonly url: URL;
  readonly signal: AbortSignal | undefined;
  onProgress(done: number): void;
}

/** Resolves when all is written, though not yet durable. Rejects, with `signal`'s reason too, when nothing uses the files any more. */
export async function copyDisk({ url, signal, onProgress, disk, path, target }: DiskCopyOptions): Promise<void> {
  signal?.throwIfAborted();
  const stop = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const workerData = { disk, path, target, stop } satisfies DiskCopyData;
  const worker = startWorker(url, { name: 'tsvmm-copy', workerData });
  const onAbort = (): void => void Atomics.store(new Int32Array(stop), 0, 1);
  signal?.addEventListener('abort', onAbort, { once: true });
  let last: DiskCopyReport | undefined;
  let cause: Error | undefined;
  worker.on('message', (report: DiskCopyReport) => {
    if (report.type === 'progress') onProgress(report.done);
    else last = report;
  });
  worker.once('error', (error) => {
    cause = error;
  });
  try {
    await new AwaitedWorker(worker).until(new Promise<void>((resolve) => worker.once('exit', () => resolve())));
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  switch (last?.type) {
    case 'copied':
      return;
    case 'stopped':
      throw signal!.reason;
    case 'failed':
      throw fromWire(last.error);
    default:
      throw new TsvmmError('ERR_TSVMM_WORKER_DIED', 'the thread that copies a disk has died', { cause });
  }
}
