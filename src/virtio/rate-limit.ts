/**
 * Rate limits as token buckets, of operations and of bytes: a bucket fills at its rate up to its burst, and what begins
 * takes its tokens out. The thread that serves the device.
 *
 * What begins may take more than there is: it is the next that waits until the debt is paid. So an operation of any size
 * goes through, and the rate holds over any time that is long against one operation.
 */

/** Plain data, posted to the I/O worker. A rate that is undefined is not limited. */
export interface RateLimit {
  readonly bytesPerSecond: number | undefined;
  /** Bytes at once after a time without any. */
  readonly bytesBurst: number | undefined;
  readonly opsPerSecond: number | undefined;
  readonly opsBurst: number | undefined;
}

/** A burst that is not stated: what the rate gives in a tenth of a second. */
const defaultBurstSeconds = 0.1;
/** Who waits for tokens waits for as many as come in a millisecond, not for each. */
const quantumMicros = 1000;

const LEVEL = 0;
const SINCE = 1;

class TokenBucket {
  /** Tokens in a microsecond. */
  readonly #rate: number;
  readonly #capacity: number;
  /** When waiting ends. */
  readonly #enough: number;
  /** Level, and the microsecond at which it was that; in an array, so that no number is allocated for them. */
  readonly #state: Float64Array;

  constructor(perSecond: number, burst: number | undefined, now: number, level = Number.POSITIVE_INFINITY) {
    this.#rate = perSecond / 1e6;
    this.#capacity = Math.max(1, burst ?? perSecond * defaultBurstSeconds);
    this.#enough = Math.max(1, Math.min(this.#capacity / 2, this.#rate * quantumMicros));
    this.#state = Float64Array.of(Math.min(level, this.#capacity), now);
  }

  level(now: number): number {
    const state = this.#state;
    state[LEVEL] = Math.min(this.#capacity, state[LEVEL]! + Math.max(0, now - state[SINCE]!) * this.#rate);
    state[SINCE] = now;
    return state[LEVEL]!;
  }

  /** Microseconds until there is a whole token, with which anything may begin; 0: now. */
  delay(now: number): number {
    const level = this.level(now);
    return level >= 1 ? 0 : (this.#enough - level) / this.#rate + 1; // and not a rounding error too short
  }

  take(tokens: number): void {
    this.#state[LEVEL]! -= tokens;
  }
}

export class RateLimiter {
  readonly #ops: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;

  /** Its buckets are full, or as full as those of the limiter that it replaces. */
  constructor(limit: RateLimit, now: number, before?: RateLimiter) {
    const { bytesPerSecond, bytesBurst, opsPerSecond, opsBurst } = limit;
    if (opsPerSecond !== undefined) {
      const level = before === undefined ? undefined : before.#ops?.level(now);
      this.#ops = new TokenBucket(opsPerSecond, opsBurst, now, level);
    }
    if (bytesPerSecond !== undefined) {
      const level = before === undefined ? undefined : before.#bytes?.level(now);
      this.#bytes = new TokenBucket(bytesPerSecond, bytesBurst, now, level);
    }
  }

  /** Microseconds until an operation may begin; 0: now. */
  delay(now: number): number {
    const ops = this.#ops === undefined ? 0 : this.#ops.delay(now);
    const bytes = this.#bytes === undefined ? 0 : this.#bytes.delay(now);
    return Math.max(ops, bytes);
  }

  /** An operation begins that moves so many bytes. */
  take(bytes: number): void {
    this.#ops?.take(1);
    this.#bytes?.take(bytes);
  }

  /** Bytes that are moved for an operation which has begun. */
  takeBytes(bytes: number): void {
    this.#bytes?.take(bytes);
  }
}
