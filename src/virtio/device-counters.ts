/**
 * What is counted of one device, in shared memory: the device counts on its thread, main reads whenever it is asked. Any
 * thread; pure.
 *
 * Doubles, written by one thread with plain stores; a reader may see one of them a moment before another.
 */
import { takeShared } from '../memory/shared-pool.js';

/** Of the device's own kind, by its own indices. */
const ownCounters = 16;
/** Of every device. */
export const CommonCounter = { doorbells: 0, interrupts: 1, suppressedInterrupts: 2 } as const;
const commonCounters = 8;
/** Kinds of requests whose times are counted. */
const latencyKinds = 4;
/** Bucket i counts what took at most 2^i microseconds and was too long for the one before; the last one takes the rest. */
export const latencyBuckets = 32;

const stride = ownCounters + commonCounters + latencyKinds * latencyBuckets;

export interface DeviceCounters {
  readonly own: Float64Array;
  readonly common: Float64Array;
  /** `latencyBuckets` for each kind, one after the other. */
  readonly latencies: Float64Array;
}

/** For `giveShared` when nobody reads them any more. */
export const allocateCounters = (devices: number): SharedArrayBuffer =>
  takeShared(devices * stride * Float64Array.BYTES_PER_ELEMENT);

export function countersOf(buffer: SharedArrayBuffer, device: number): DeviceCounters {
  const all = new Float64Array(buffer, device * stride * Float64Array.BYTES_PER_ELEMENT, stride);
  const common = ownCounters + commonCounters;
  return {
    own: all.subarray(0, ownCounters),
    common: all.subarray(ownCounters, common),
    latencies: all.subarray(common),
  };
}

const longest = 2 ** (latencyBuckets - 1);

/** Counts a request of `kind` that took so many microseconds. */
export function countLatency(latencies: Float64Array, kind: number, microseconds: number): void {
  const bucket =
    microseconds > longest ? latencyBuckets - 1 : 32 - Math.clz32(Math.max(0, Math.ceil(microseconds) - 1));
  latencies[kind * latencyBuckets + Math.min(bucket, latencyBuckets - 1)]! += 1;
}
