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

/** Who waits looks again after this long at the latest. */
const longestMicros = 2 ** 30;

/** Puts the time in microseconds there. */
export interface Clock {
  stamp(into: Float64Array, index: number): void;
}

const LEVEL = 0;
const SINCE = 1;
const stateLength = 2;

/** What the buckets of a device hold: of the device and not of its driver, so that a guest that resets gains nothing. */
export const allocateBuckets = (): SharedArrayBuffer =>
  new SharedArrayBuffer(2 * stateLength * Float64Array.BYTES_PER_ELEMENT);

/** Times and levels lie in arrays, since a number with a fraction that is returned is an allocation. */
class TokenBucket {
  /** Tokens in a microsecond. */
  readonly #rate: number;
  readonly #capacity: number;
  /** When waiting ends. */
  readonly #enough: number;
  /** Level, and the microsecond (CLOCK_MONOTONIC) at which it was that; 0: it was never used. */
  readonly #state: Float64Array;

  /** One that was never used is full. */
  constructor(perSecond: number, burst: number | undefined, now: Float64Array, state: Float64Array) {
    this.#rate = perSecond / 1e6;
    this.#capacity = Math.max(1, burst ?? perSecond * defaultBurstSeconds);
    this.#enough = Math.max(1, Math.min(this.#capacity / 2, this.#rate * quantumMicros));
    this.#state = state;
    if (state[SINCE] === 0) state[LEVEL] = this.#capacity;
    this.fill(now);
  }

  fill(now: Float64Array): void {
    const state = this.#state;
    state[LEVEL] = Math.min(this.#capacity, state[LEVEL]! + Math.max(0, now[0]! - state[SINCE]!) * this.#rate);
    state[SINCE] = now[0]!;
  }

  /** Whole microseconds until there is a whole token, with which anything may begin; 0: now. */
  delay(now: Float64Array): number {
    this.fill(now);
    const level = this.#state[LEVEL]!;
    if (level >= 1) return 0;
    return Math.min(Math.ceil((this.#enough - level) / this.#rate) + 1, longestMicros) | 0;
  }

  take(tokens: number): void {
    this.#state[LEVEL]! -= tokens;
  }
}

export class RateLimiter {
  readonly #clock: Clock;
  readonly #now = new Float64Array(1);
  /** When the first of those who wait may look again; 0: nobody waits. */
  readonly #until = new Float64Array(1);
  readonly #ops: TokenBucket | undefined;
  readonly #bytes: TokenBucket | undefined;

  /** `buckets` as `allocateBuckets` made them; one limiter at a time uses them. */
  constructor(limit: RateLimit, clock: Clock, buckets: SharedArrayBuffer) {
    const { bytesPerSecond, bytesBurst, opsPerSecond, opsBurst } = limit;
    this.#clock = clock;
    const now = this.#now;
    clock.stamp(now, 0);
    const state = (bucket: number) =>
      new Float64Array(buckets, bucket * stateLength * Float64Array.BYTES_PER_ELEMENT, stateLength);
    if (opsPerSecond !== undefined) this.#ops = new TokenBucket(opsPerSecond, opsBurst, now, state(0));
    if (bytesPerSecond !== undefined) this.#bytes = new TokenBucket(bytesPerSecond, bytesBurst, now, state(1));
  }

  /** Whole microseconds until an operation may begin, for which somebody waits then; 0: now. */
  delay(): number {
    this.#clock.stamp(this.#now, 0);
    const ops = this.#ops === undefined ? 0 : this.#ops.delay(this.#now);
    const bytes = this.#bytes === undefined ? 0 : this.#bytes.delay(this.#now);
    const delay = Math.max(ops, bytes);
    const until = this.#now[0]! + delay;
    if (delay > 0 && (this.#until[0] === 0 || until < this.#until[0]!)) this.#until[0] = until;
    return delay;
  }

  /**
   * An alarm has rung, which is every limiter's: whole microseconds until this one's waiting ends; 0: it has ended, and who
   * waited looks again; -1: nobody waits. Many limiters that all looked at every alarm would do nothing else.
   */
  left(): number {
    if (this.#until[0] === 0) return -1;
    this.#clock.stamp(this.#now, 0);
    const left = Math.ceil(this.#until[0]! - this.#now[0]!) | 0;
    if (left > 0) return left;
    this.#until[0] = 0;
    return 0;
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
