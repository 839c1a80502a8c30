/** When each step of a start began and how long it took. Main thread. */
import type { Phase } from '../errors.js';

export class PhaseClock {
  readonly #origin = performance.now();
  readonly phases: Phase[] = [];

  /** Runs `step` as the phase `name`. A step that fails is recorded too. */
  async run<T>(name: string, step: () => Promise<T> | T): Promise<T> {
    const started = performance.now();
    try {
      return await step();
    } finally {
      this.phases.push({ name, startMs: started - this.#origin, durationMs: performance.now() - started });
    }
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return performance.now() - this.#origin;
  }

  /** A moment, as a phase without duration. */
  mark(name: string): void {
    this.phases.push({ name, startMs: this.elapsedMs, durationMs: 0 });
  }
}
