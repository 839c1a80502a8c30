/**
 * Work of a command that may take long: on a terminal it says how far it is, and a signal that ends the program ends the work
 * first, so that nothing half is left. Main thread.
 */
import type { SignalSource } from './ending.js';
import { codeForEnd } from './exit-codes.js';
import type { RunIo } from './run.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** A signal ended the work. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: (typeof signals)[number]) {
    super(`ended by ${signal}`);
    this.exitCode = codeForEnd(signal, true);
  }
}

export interface WorkControl {
  readonly signal: AbortSignal;
  onProgress(done: number, total: number): void;
}

/** Rejects with `Interrupted` after a signal, once the work has ended; a second signal leaves at once. */
export async function longWork<T>(
  io: Pick<RunIo, 'stderr' | 'exitNow'> & { readonly signals: SignalSource },
  work: (control: WorkControl) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const listeners = signals.map((name) => {
    const listener = (): void => {
      if (abort.signal.aborted) io.exitNow(codeForEnd(name, true));
      abort.abort(new Interrupted(name));
    };
    return [name, listener] as const;
  });
  for (const [name, listener] of listeners) io.signals.on(name, listener);
  const percent = percentOn(io.stderr);
  try {
    return await work({ signal: abort.signal, onProgress: percent.show });
  } finally {
    percent.clear();
    for (const [name, listener] of listeners) io.signals.off(name, listener);
  }
}

/** A number that is written over itself; nothing where nobody looks. */
function percentOn(stderr: RunIo['stderr']): { show(done: number, total: number): void; clear(): void } {
  if (stderr.isTTY !== true) return { show: () => {}, clear: () => {} };
  let shown = -1;
  return {
    show(done, total) {
      const percent = Math.floor((done / total) * 100);
      if (percent === shown) return;
      shown = percent;
      stderr.write(`\r${percent} %`);
    },
    clear() {
      if (shown >= 0) stderr.write('\r\x1b[K');
    },
  };
}
