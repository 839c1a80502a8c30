/**
 * The entropy device: virtio 1.2 §5.4. The I/O worker.
 *
 * The smallest whole device, and a good first one to read: one queue, no configuration, no features of its own. The
 * driver offers buffers to be written; each gets random bytes from the host's generator and goes back at once.
 */

import { randomFillSync } from 'node:crypto';
import { freeArrays } from '../../host/free-arrays.js';
import { commonFeatures, type DataPath, type DataPathHost } from '../device.js';
import { featureWords } from '../features.js';
import type { SplitQueue } from '../queue/split-queue.js';
import { copyToChain } from '../queue/transfer.js';
import type { VirtioShape } from '../registers.js';

const DEVICE_TYPE = 4;
/** Drivers keep one request outstanding. */
const queueSize = 16;
/**
 * A driver may ask for any length and takes what it gets (§5.4.6.1), so one request costs a bounded time and never more
 * memory than this (trap T14).
 */
const maxRequestBytes = 64 * 1024;

/** What the device is to its driver. */
export const rngShape = (name: string): VirtioShape => ({
  name,
  deviceType: DEVICE_TYPE,
  queueSizes: [queueSize],
  features: featureWords(commonFeatures),
  configSize: 0,
  writableConfig: [],
});

/** Indices of its counters. */
export const RngCounter = { requests: 0, bytes: 1 } as const;

export class RngDevice implements DataPath {
  /** Nothing here waits for the kernel. */
  readonly slotCount = 0;
  /** Random bytes are made here and copied: the generator must not see memory that the guest changes meanwhile. */
  readonly #bytes = new Uint8Array(maxRequestBytes);
  #host!: DataPathHost;

  attach(host: DataPathHost): void {
    this.#host = host;
  }

  activate(): void {}

  onChain(queue: SplitQueue): boolean {
    const { chain } = queue;
    const { memory, counters } = this.#host;
    const count = Math.min(chain.writableBytes, maxRequestBytes);
    if (count === 0) this.#host.warn('guest', 'a request has no buffer to fill (virtio 1.2 §5.4.6)');
    const bytes = randomFillSync(this.#bytes.subarray(0, count));
    copyToChain(memory, chain, 0, bytes);
    queue.push(chain.head, count);
    counters[RngCounter.requests]! += 1;
    counters[RngCounter.bytes]! += count;
    return true;
  }

  onCompletion(): void {}

  stop(): void {}

  close(): void {
    freeArrays(this.#bytes);
  }
}
