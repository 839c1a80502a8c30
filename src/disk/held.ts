/** What several have and the last one gives back. Main thread. */
export class Held {
  readonly #giveBack: () => Promise<void> | void;
  #holders = 1;

  constructor(giveBack: () => Promise<void> | void) {
    this.#giveBack = giveBack;
  }

  get isShared(): boolean {
    return this.#holders > 1;
  }

  /** For one more. */
  hold(): this {
    this.#holders++;
    return this;
  }

  /** Once by each that holds it. */
  async release(): Promise<void> {
    if (--this.#holders === 0) await this.#giveBack();
  }
}
