/** What a machine makes of what it sees of its guest's boot: milestones, and a panic that the guest survives. Main thread. */
import { BootWatch } from './boot-watch.js';
import type { Warning } from './events.js';
import type { PhaseClock } from './phases.js';

/** How soon a guest that panics ends if it says so by more than words. */
const panicEndsMs = 2000;

/**
 * A guest that has a driver for pvpanic ends at its panic; what one without does is its own policy, `panic=` and so on, and if it
 * still `runs` that is a warning.
 */
export function watchBoot(
  phases: PhaseClock,
  runs: (boot: BootWatch) => boolean,
  warn: (warning: Warning) => void,
): BootWatch {
  const boot = new BootWatch({
    milestone: ({ name, guestMs }) => phases.mark(name, guestMs),
    panic: (message) => {
      setTimeout(() => {
        const text = `its console shows a kernel panic, and it still runs: ${message.trim()}`;
        if (runs(boot)) warn({ source: 'guest', message: text, suppressed: 0 });
      }, panicEndsMs).unref();
    },
  });
  return boot;
}

/** What is wrong with the disk that boots: what a guest that boots again finds as it was is told once. */
export class BootProblems {
  readonly #warn: (warning: Warning) => void;
  #last: readonly string[] = [];

  constructor(warn: (warning: Warning) => void) {
    this.#warn = warn;
  }

  tell(disk: number, problems: readonly string[]): void {
    for (const message of problems)
      if (!this.#last.includes(message)) this.#warn({ source: 'host', device: `disk${disk}`, message, suppressed: 0 });
    this.#last = problems;
  }
}
