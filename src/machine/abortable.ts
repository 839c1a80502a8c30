/** Waiting that a signal or a deadline can cut short. Main thread. */
import { TsvmmError } from '../errors.js';
import { type Duration, parseDuration } from './units.js';

/** `promise`, or `signal`'s reason if that comes first; what `promise` stands for goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

export interface Limits {
  readonly signal: AbortSignal | undefined;
  readonly timeout: Duration;
}

/** `promise`, unless `signal` or the end of `timeout` comes first: its reason, or `ERR_TSVMM_TIMEOUT` with `late`. */
export async function inTime<T>(promise: Promise<T>, late: string, { signal, timeout }: Limits): Promise<T> {
  const ms = parseDuration('timeout', timeout);
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TsvmmError('ERR_TSVMM_TIMEOUT', `${late} after ${ms} ms`)), ms);
  });
  const first = Promise.race([promise, tooLate]);
  first.catch(() => {}); // who was faster is told, or `signal` is none
  try {
    return await abortable(first, signal);
  } finally {
    clearTimeout(timer);
  }
}
