/**
 * Host clocks for registers that show time. Any thread; each thread makes its own.
 *
 * `performance.now()` counts from the start of its thread, so it is set against `process.hrtime()` (CLOCK_MONOTONIC, the
 * same everywhere) once; afterwards a reading costs no allocation and two threads agree to well under a microsecond.
 */
import { monotonicNs } from '../host/clock.js';

export interface Clocks {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Nanoseconds on a clock that all threads share and that never goes back. */
  readonly monotonicNs: () => number;
}

export function hostClocks(): Clocks {
  let origin: number | undefined; // a guest that never looks at a timer does not pay for node:perf_hooks
  return {
    now: Date.now,
    monotonicNs: () => {
      origin ??= alignedOrigin();
      return origin + performance.now() * 1e6;
    },
  };
}

/** CLOCK_MONOTONIC at the moment from which this thread's `performance.now()` counts, in nanoseconds. */
function alignedOrigin(): number {
  let origin = 0;
  let narrowest = Number.POSITIVE_INFINITY;
  // A thread may be preempted between the two readings; the closest pair of several is taken.
  for (let i = 0; i < 8; i++) {
    const before = performance.now();
    const now = monotonicNs();
    const after = performance.now();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    origin = now - ((before + after) / 2) * 1e6;
  }
  return origin;
}
