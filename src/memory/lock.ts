/**
 * A mutex of two words in machine state: the machine lock and the topology lock (contract §2.1). Any thread.
 *
 * vCPU workers wait, with a deadline per sleep so that a stop request is seen; main and the I/O worker only ever try.
 * The owner's id is in the word, so that main can free the lock of a worker that died with it.
 */
const spins = 100;
/** One sleep: a bound on how long a lost wake-up could last, not an expected wait. */
const sleepMs = 2;

export class SharedLock {
  readonly #word: Int32Array;
  readonly #waiters: Int32Array;

  constructor(word: Int32Array, waiters: Int32Array) {
    this.#word = word;
    this.#waiters = waiters;
  }

  /** Takes the lock if it is free. */
  try(owner: number): boolean {
    return Atomics.compareExchange(this.#word, 0, 0, owner) === 0;
  }

  /** Waits for the lock until `abandoned[0] === abandonAt`; false if it was abandoned. vCPU workers only. */
  acquire(owner: number, abandoned: Int32Array, abandonAt: number): boolean {
    for (let i = 0; i < spins; i++) if (this.try(owner)) return true;
    Atomics.add(this.#waiters, 0, 1);
    try {
      for (;;) {
        const holder = Atomics.load(this.#word, 0);
        if (holder === 0) {
          if (this.try(owner)) return true;
          continue;
        }
        if (Atomics.load(abandoned, 0) === abandonAt) return false;
        Atomics.wait(this.#word, 0, holder, sleepMs);
      }
    } finally {
      Atomics.sub(this.#waiters, 0, 1);
    }
  }

  release(): void {
    Atomics.store(this.#word, 0, 0);
    if (Atomics.load(this.#waiters, 0) !== 0) Atomics.notify(this.#word, 0, 1);
  }

  /** Frees the lock if `owner`, which is dead, holds it; true if it did. Main only. */
  releaseFor(owner: number): boolean {
    if (Atomics.compareExchange(this.#word, 0, owner, 0) !== owner) return false;
    Atomics.notify(this.#word, 0);
    return true;
  }
}
