/** Waiting for several things that may fail. Main thread. */

/** All of them, then the first failure. */
export async function allSettled(promises: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
