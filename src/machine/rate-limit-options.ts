/** How much a device may do: options checked. Main thread. */
import type { RateLimit as RateLimitConfig } from '../virtio/rate-limit.js';
import { bad, hasOptions, integer, known } from './checks.js';
import { parseSize, type Size } from './units.js';

/**
 * Rates, each of them optional, and what may be done at once after a time of doing nothing: by default what the rate gives
 * in a tenth of a second. An operation larger than that goes through, and those after it wait for longer.
 */
export interface RateLimit {
  bytesPerSecond?: Size | undefined;
  bytesBurst?: Size | undefined;
  opsPerSecond?: number | undefined;
  opsBurst?: number | undefined;
}

/** `null` and undefined are no limit. */
export function rateLimit(what: string, value: unknown): RateLimitConfig | undefined {
  if (value === undefined || value === null) return undefined;
  if (!hasOptions(value))
    throw bad(`${what}: expected rates`, 'pass { bytesPerSecond: "50M" } or { opsPerSecond: 1000 }');
  known(what, value, ['bytesPerSecond', 'bytesBurst', 'opsPerSecond', 'opsBurst']);
  const { bytesPerSecond, bytesBurst, opsPerSecond, opsBurst } = value as RateLimit;
  const limit = {
    bytesPerSecond: bytes(`${what}.bytesPerSecond`, bytesPerSecond),
    bytesBurst: bytes(`${what}.bytesBurst`, bytesBurst),
    opsPerSecond: count(`${what}.opsPerSecond`, opsPerSecond),
    opsBurst: count(`${what}.opsBurst`, opsBurst),
  };
  if (limit.bytesPerSecond === undefined && limit.opsPerSecond === undefined)
    throw bad(`${what}: there is no rate in it`, 'pass bytesPerSecond or opsPerSecond');
  for (const [burst, rate] of [
    ['bytesBurst', 'bytesPerSecond'],
    ['opsBurst', 'opsPerSecond'],
  ] as const)
    if (limit[burst] !== undefined && limit[rate] === undefined)
      throw bad(`${what}.${burst}: there is no ${rate} beside it`, `pass ${rate}, too`);
  return limit;
}

const count = (what: string, value: unknown): number | undefined =>
  value === undefined ? undefined : integer(what, value, 1, Number.MAX_SAFE_INTEGER);

const bytes = (what: string, value: unknown): number | undefined =>
  value === undefined ? undefined : count(what, parseSize(what, value));
