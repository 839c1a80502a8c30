/** Starts the helper thread of the epoll engine. The I/O worker. */
import type { StartHelper } from '../host/epoll-engine.js';
import { startWorker } from './worker-start.js';

export interface HelperData {
  readonly channel: SharedArrayBuffer;
}

/** `url` is the bundle of io-helper.ts. */
export function helperStarter(url: URL): StartHelper {
  return (channel, onDeath) => {
    const worker = startWorker(url, { workerData: { channel } satisfies HelperData });
    worker.unref();
    worker.once('error', () => {}); // `exit` follows, and the operations it had fail with EIO
    worker.once('exit', (code) => {
      if (code !== 0) onDeath();
    });
  };
}
