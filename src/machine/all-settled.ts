/** Waiting for several things that may fail. Main thread. */

/** All of them, then the first failure. */
export async function allSettled(promises: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** All of them, or the first failure when none is left: what was made is disposed of. */
export async function allOrNone<T extends AsyncDisposable>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult | undefined;
  const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (failed === undefined) return made;
  await Promise.allSettled(made.map((one) => one[Symbol.asyncDispose]()));
  throw failed.reason;
}
