/** How much garbage code makes, for hot paths that must make none. */

/**
 * Bytes of heap that one operation allocates, as the median of blocks of `block` operations after a warm-up. A block in
 * which a collection ran is left out.
 */
export function bytesPerOperation(run: (operations: number) => void, block = 20_000, blocks = 15): number {
  for (let i = 0; i < 5; i++) run(block);
  const grown: number[] = [];
  for (let tries = 0; grown.length < blocks && tries < blocks * 4; tries++) {
    const before = process.memoryUsage().heapUsed;
    run(block);
    const bytes = process.memoryUsage().heapUsed - before;
    if (bytes >= 0) grown.push(bytes / block);
  }
  if (grown.length < blocks / 2) return Number.POSITIVE_INFINITY; // collections all the time
  return grown.sort((a, b) => a - b)[grown.length >>> 1]!;
}
