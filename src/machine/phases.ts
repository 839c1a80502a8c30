/** When each step of a start began and how long it took. Main thread. */
import type { Phase } from '../errors.js';
import { monotonicMs } from '../host/clock.js';

export class PhaseClock {
  readonly #origin = monotonicMs();
  readonly phases: Phase[] = [];

  /** Runs `step` as the phase `name`. A step that fails is recorded too. */
  async run<T>(name: string, step: () => Promise<T> | T): Promise<T> {
    const started = monotonicMs();
    try {
      return await step();
    } finally {
      this.phases.push({ name, startMs: started - this.#origin, durationMs: monotonicMs() - started });
    }
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return monotonicMs() - this.#origin;
  }

  /** A moment, as a phase without duration. */
  mark(name: string, guestMs?: number): void {
    this.phases.push({ name, startMs: this.elapsedMs, durationMs: 0, ...(guestMs !== undefined && { guestMs }) });
  }
}
