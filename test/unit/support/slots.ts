/** Operations that only hot paths begin, as tests want to say them. */
import type { IoSlots, Operation } from '../../../src/host/engine-slots.js';

/** `length` bytes, or with `bytes` so many iovecs. */
export function begin(
  slots: IoSlots,
  slot: number,
  operation: Operation,
  fd: number,
  address: number,
  length: number,
  offset: number,
  bytes = length,
): void {
  slots.address[slot] = address;
  slots.offset[slot] = offset;
  slots.begin(slot, operation, fd, length, 0, bytes);
}
