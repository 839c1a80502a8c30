/** Work on many parts of a file, a few at a time and in order. Main thread. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Each reads, then hashes and writes: more would take all of libuv's threads from the program, and not be faster. */
const atOnce = 2;

/** Parts with which there is nothing to do may be many: the event loop turns in between. */
const manyParts = 1024;

/**
 * Calls `work` for 0 to `count` - 1, each worker with its own `make`. Resolves when all are done; if some fail, rejects when
 * none is under way any more, with the failure of the lowest number. Begins no more once `signal` is aborted.
 */
export async function inTurn<T>(
  count: number,
  make: () => T,
  work: (index: number, own: T) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  let next = 0;
  const failures: { readonly index: number; readonly error: unknown }[] = [];
  const worker = async (): Promise<void> => {
    const own = make();
    while (next < count && failures.length === 0) {
      const index = next++;
      try {
        signal?.throwIfAborted();
        if (index % manyParts === manyParts - 1) await nextTurn();
        await work(index, own);
      } catch (error) {
        failures.push({ index, error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
  const [first] = failures.sort((a, b) => a.index - b.index);
  if (first !== undefined) throw first.error;
}
