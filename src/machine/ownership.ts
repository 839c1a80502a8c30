/**
 * What is opened is registered for closing at once, and closed in reverse (contract §1.11). Main thread.
 */
interface Closer {
  readonly name: string;
  readonly close: () => unknown;
  /** If it fails, whatever it could still use stays open. */
  readonly essential: boolean;
}

export class Ownership {
  readonly #closers: Closer[] = [];
  #closing: Promise<void> | undefined;

  own(name: string, close: Closer['close'], { essential = false } = {}): void {
    this.#closers.push({ name, close, essential });
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Idempotent. Rejects with all that failed; the rest is closed all the same, unless something essential was not. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const failures: Error[] = [];
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer.close();
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        failures.push(new Error(`${closer.name}: ${why}`, { cause }));
        if (closer.essential) break;
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }
}
