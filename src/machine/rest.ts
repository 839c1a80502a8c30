/** A pause that can be cut short, and that keeps the program alive only for as long as its machine does. Main thread. */
export class Rest {
  #timer: NodeJS.Timeout | undefined;
  #resolve: (() => void) | undefined;

  /** One at a time. */
  wait(milliseconds: number, referenced: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#timer = setTimeout(() => this.cut(), milliseconds);
      if (!referenced) this.#timer.unref();
    });
  }

  ref(): void {
    this.#timer?.ref();
  }

  unref(): void {
    this.#timer?.unref();
  }

  cut(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#resolve?.();
  }
}
