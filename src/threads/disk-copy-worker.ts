/**
 * Entry of the thread that writes a frozen disk into a file, which waits for the kernel all the time. One for each copy. Bundled
 * into one file.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { copySparse } from '../disk/sparse-copy.js';
import { asTsvmmError } from '../errors.js';
import type { DiskCopyData, DiskCopyReport } from './disk-copy-protocol.js';

const port = parentPort;
if (port === null) throw new Error('disk-copy-worker is started by tsvmm as a worker');

/** Bytes between two reports. */
const reportEach = 8 * 2 ** 20;

const { disk, path, target, stop } = workerData as DiskCopyData;
const stopped = new Int32Array(stop);
const report = (message: DiskCopyReport): void => port.postMessage(message);

let reported = 0;
function goesOn(done: number): boolean {
  if (done - reported >= reportEach || done === disk.size) {
    reported = done;
    report({ type: 'progress', done });
  }
  return Atomics.load(stopped, 0) === 0;
}

try {
  copySparse({ disk, path, target, goesOn });
  report({ type: Atomics.load(stopped, 0) === 0 ? 'copied' : 'stopped' });
} catch (error) {
  report({ type: 'failed', error: asTsvmmError(error, 'ERR_TSVMM_DISK_IO').toWire() });
}
