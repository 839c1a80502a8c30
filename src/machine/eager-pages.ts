/** Reads all of a machine's memory from its source before anybody runs, where nobody may supply it later. Main thread. */
import { setMaxListeners } from 'node:events';
import { native } from '../host/addon.js';
import { guestAddressOf, type RamRegion } from '../memory/guest-memory.js';
import { PageBlocks } from '../memory/page-blocks.js';
import { readBlock } from '../threads/page-source.js';
import { inTime } from './abortable.js';
import { allSettled } from './all-settled.js';
import type { SourcedMemory } from './page-source-options.js';

const readsAtOnce = 16;

/** Rejects with the first failure, when no read is under way any more. */
export async function readEagerly(
  { source, ranges }: SourcedMemory,
  regions: readonly RamRegion[],
  signal: AbortSignal,
): Promise<void> {
  const { read, timeoutMs, blockSize } = source;
  const blocks = new PageBlocks(ranges, blockSize);
  const [{ hostAddress: address }] = regions as [RamRegion];
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  setMaxListeners(0, either); // each read is one
  let next = 0;
  const readSome = async (): Promise<void> => {
    while (next < blocks.count && !either.aborted) {
      const { offset, length } = blocks.extent(next++);
      const from = guestAddressOf(regions, offset);
      const bytes = await inTime(readBlock(read, from, length, either), `pages: no answer for 0x${from.toString(16)}`, {
        signal: either,
        timeout: timeoutMs,
      });
      native().copyIn(address + offset, bytes);
    }
  };
  const reads = Array.from({ length: readsAtOnce }, () =>
    readSome().catch((error) => {
      failed.abort(error);
      throw error;
    }),
  );
  await allSettled(reads);
  signal.throwIfAborted();
}
