/** Starts the helper thread of the epoll engine. The I/O worker. */
import { Worker } from 'node:worker_threads';
import type { StartHelper } from '../host/epoll-engine.js';

export interface HelperData {
  readonly channel: SharedArrayBuffer;
}

/** `url` is the bundle of io-helper.ts. */
export function helperStarter(url: URL): StartHelper {
  return (channel, onDeath) => {
    const worker = new Worker(url, {
      workerData: { channel } satisfies HelperData,
      execArgv: [],
      env: {},
      stdout: true,
      stderr: true,
    });
    worker.unref();
    worker.once('error', () => {}); // `exit` follows, and the operations it had fail with EIO
    worker.once('exit', (code) => {
      if (code !== 0) onDeath();
    });
  };
}
