/**
 * Calls to the embedding program's listeners and logger. Main thread.
 *
 * What they throw is an uncaught exception of that program, as from any listener of Node's, but never on our stack: an
 * end half way through would leave a machine without one.
 */
export function shielded<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
    return undefined;
  }
}
