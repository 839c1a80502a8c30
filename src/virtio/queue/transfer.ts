/**
 * Copies between a chain's buffers and private memory, wherever the driver cut them. The thread that serves the queue.
 *
 * For small requests and headers; disks move their data by the kernel. Ranges are inside the chain: the caller asks
 * `readableBytes` and `writableBytes` first.
 */
import type { GuestMemory } from '../../memory/guest-memory.js';
import type { Chain } from './chain.js';

/** Views of guest memory end at this length. */
const viewLimit = 0x10_0000;

/** Copies the chain's readable bytes from `offset` on into `target`, all of it. */
export function copyFromChain(memory: GuestMemory, chain: Chain, offset: number, target: Uint8Array): void {
  let done = 0;
  let skip = offset;
  for (let i = 0; i < chain.readableCount && done < target.length; i++) {
    const length = chain.length[i]!;
    for (let at = Math.min(skip, length); at < length && done < target.length; ) {
      const count = Math.min(length - at, target.length - done, viewLimit);
      target.set(memory.view(chain.guest[i]! + at, count)!, done);
      done += count;
      at += count;
    }
    skip = Math.max(0, skip - length);
  }
}

/** Copies `source` into the chain's writable bytes from `offset` on, all of it. */
export function copyToChain(memory: GuestMemory, chain: Chain, offset: number, source: Uint8Array): void {
  let done = 0;
  let skip = offset;
  for (let i = chain.readableCount; i < chain.count && done < source.length; i++) {
    const length = chain.length[i]!;
    for (let at = Math.min(skip, length); at < length && done < source.length; ) {
      const count = Math.min(length - at, source.length - done, viewLimit);
      memory.view(chain.guest[i]! + at, count)!.set(source.subarray(done, done + count));
      done += count;
      at += count;
    }
    skip = Math.max(0, skip - length);
  }
}
