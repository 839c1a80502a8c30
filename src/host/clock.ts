/** Time that passes, for durations. Any thread. `performance.now()` would load node:perf_hooks, which takes 3 ms. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
