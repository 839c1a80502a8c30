/** What something costs this process, for tests of inputs that are made to cost much. */

export interface Cost<T> {
  /** What it resolved with, or the reason with which it rejected. */
  readonly result: T | Error;
  /** Processor time of the whole process, milliseconds. */
  readonly cpu: number;
  /** The longest time for which the event loop did not turn, milliseconds. */
  readonly delay: number;
  /** How much larger the process had become at its largest, MiB; 0 where it had been larger before. */
  readonly memory: number;
}

const mebibyte = 2 ** 20;

/** A bound of processor time, which was chosen on a machine on which it is ample, for machines that are several times slower. */
export const ample = (milliseconds: number): number => 4 * milliseconds;

export async function costOf<T>(run: () => Promise<T>): Promise<Cost<T>> {
  let last = performance.now();
  let delay = 0;
  const turn = (): void => {
    const now = performance.now();
    delay = Math.max(delay, now - last);
    last = now;
  };
  const timer = setInterval(turn, 1);
  const before = process.cpuUsage();
  const peak = process.resourceUsage().maxRSS;
  let result: T | Error;
  try {
    result = await run();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    result = error;
  }
  turn();
  clearInterval(timer);
  const { user, system } = process.cpuUsage(before);
  return {
    result,
    cpu: (user + system) / 1000,
    delay,
    memory: ((process.resourceUsage().maxRSS - peak) * 1024) / mebibyte,
  };
}
