/** What is counted of a request that has ended. The I/O worker. */
import { BlkCounter, BlkLatency, BlkRequest, BlkStatus } from './blk-format.js';

/** `bytes` are those of a read or write. */
export function countRequest(counters: Float64Array, type: number, bytes: number, status: number): void {
  if (status !== BlkStatus.ok) {
    counters[BlkCounter.errors]! += 1;
    return;
  }
  switch (type) {
    case BlkRequest.in:
      counters[BlkCounter.reads]! += 1;
      counters[BlkCounter.bytesRead]! += bytes;
      break;
    case BlkRequest.out:
      counters[BlkCounter.writes]! += 1;
      counters[BlkCounter.bytesWritten]! += bytes;
      break;
    case BlkRequest.flush:
      counters[BlkCounter.flushes]! += 1;
      break;
    case BlkRequest.discard:
      counters[BlkCounter.discards]! += 1;
      break;
    default:
      counters[BlkCounter.writeZeroes]! += 1;
  }
}

export const clears = (type: number): boolean => type === BlkRequest.discard || type === BlkRequest.writeZeroes;

export function latencyKind(type: number): number {
  switch (type) {
    case BlkRequest.in:
      return BlkLatency.read;
    case BlkRequest.out:
      return BlkLatency.write;
    case BlkRequest.flush:
      return BlkLatency.flush;
    default:
      return BlkLatency.clear;
  }
}
