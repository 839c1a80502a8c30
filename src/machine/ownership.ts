/**
 * What is opened is registered for closing at once, and closed in reverse (contract §1.11). Main thread.
 *
 * Whatever is still held when the environment ends, in the middle of this or before, the shim gives back
 * (native/environment.cc).
 */
interface Closer {
  readonly name: string;
  readonly close: () => unknown;
  /** If it fails, whatever it could still use stays open until this resolves. */
  readonly left: (() => Promise<unknown>) | undefined;
}

export class Ownership {
  readonly #closers: Closer[] = [];
  #closing: Promise<void> | undefined;
  #left: Promise<void> | undefined;

  own(name: string, close: Closer['close'], left?: Closer['left']): void {
    this.#closers.push({ name, close, left });
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Idempotent. Rejects with all that failed; the rest is closed all the same, at once or when it is no longer used. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Resolves when everything was tried, which may be long after `close` has failed; rejects with what failed then. */
  async left(): Promise<void> {
    await this.close().catch(() => this.#left);
  }

  async #close(): Promise<void> {
    const failures: Error[] = [];
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer.close();
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        failures.push(new Error(`${closer.name}: ${why}`, { cause }));
        if (closer.left === undefined) continue;
        this.#left = closer.left().then(() => this.#close());
        this.#left.catch(() => {}); // whoever waits for `left` is told
        break;
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }
}
