/**
 * Tells when a running guest seems to have given up booting: an emergency shell, a panic that ends nothing, or no
 * output at all. Main thread.
 */
import type { Diagnosis } from './diagnose.js';

/** Silence after which the last output is looked at. */
const quietMs = 3000;
/** Silence from the start on that is worth a word: where no console was asked for, and where the guest may be slow. */
const silence = { unasked: 10_000, asked: 30_000 };

export interface StuckOptions {
  /** The kernel's command line names a console that can be seen. */
  readonly consoleAsked: boolean;
  /** The guest has booted: nothing is looked for any more. */
  booted(): boolean;
  /** Undefined while the guest may still go on. */
  diagnose(): Diagnosis | undefined;
  /** The caller stops the watch when it has heard enough. */
  tell(diagnosis: Diagnosis): void;
}

export class StuckWatch {
  readonly #options: StuckOptions;
  #timer: NodeJS.Timeout;
  #heard = false;

  constructor(options: StuckOptions) {
    this.#options = options;
    this.#timer = this.#after(options.consoleAsked ? silence.asked : silence.unasked);
  }

  /** The guest has printed something. */
  heard(): void {
    if (this.#heard) {
      this.#timer.refresh();
      return;
    }
    this.#heard = true;
    clearTimeout(this.#timer);
    this.#timer = this.#after(quietMs);
  }

  stop(): void {
    this.#heard = false;
    clearTimeout(this.#timer);
  }

  #after(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      if (this.#options.booted()) return;
      const diagnosis = this.#options.diagnose();
      if (diagnosis !== undefined) this.#options.tell(diagnosis);
    }, ms).unref();
  }
}
