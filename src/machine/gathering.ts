/**
 * A guest that prints would wake main for every byte. While there was output main looks again after a moment by itself, longer
 * and longer while it flows; the first byte does not wait. Main thread.
 */
const ms = { first: 1, most: 4 };

export class Gathering {
  readonly #look: () => void;
  #timer: NodeJS.Timeout | undefined;
  #ms = ms.first;

  constructor(look: () => void) {
    this.#look = look;
  }

  /** Somebody looks now. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  /** Somebody has looked, and there was output or not. */
  looked(hadOutput: boolean): void {
    if (hadOutput) {
      this.#timer = setTimeout(this.#look, this.#ms).unref();
      this.#ms = Math.min(2 * this.#ms, ms.most);
    } else this.#ms = ms.first;
  }
}
