/**
 * Time that passes. Any thread. `performance.now()` would load node:perf_hooks, which takes 3 ms at a process's start and more
 * than one on the worker of a vCPU.
 */

/** For durations. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

/** CLOCK_MONOTONIC, which all threads share and which never goes back. */
export function monotonicNs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}
