/**
 * Freezes and validates queue parameters at DRIVER_OK (virtio 1.2 §2.7, §4.1.5.1.3). vCPU worker, machine lock.
 *
 * What the driver wrote is copied to the frozen registers and only the copy is checked and used, so nothing that is
 * written later, by whatever vCPU, reaches a device (traps T4, T5, T22). Rings may overlap one another or themselves: the
 * device trusts no byte of them anyway, and each is RAM on its own.
 */
import {
  availableAlignment,
  availableRingBytes,
  descriptorAlignment,
  descriptorTableBytes,
  maxQueueSize,
  usedAlignment,
  usedRingBytes,
} from '../queue/ring-format.js';
import type { VirtioQueueRegisters, VirtioState } from '../registers.js';

/** `length` bytes at guest-physical `gpa` are all RAM. */
export type RamContains = (gpa: number, length: number) => boolean;

const two32 = 0x1_0000_0000;
/** Addresses from 2^53 up are not exact as numbers; no RAM is there. */
const highLimit = 0x20_0000;

/** A size that a queue may have. */
export const isQueueSize = (size: number, largest: number): boolean =>
  size > 0 && size <= largest && size <= maxQueueSize && (size & (size - 1)) === 0;

/** The queues that the driver enabled, frozen. A message if one is unusable; then none may be used. */
export function freezeQueues(state: VirtioState, ramContains: RamContains): string | undefined {
  for (let i = 0; i < state.queues.length; i++) {
    const queue = state.queues[i]!;
    freeze(queue);
    if (queue.frozenSize === 0) continue;
    if (!isQueueSize(queue.frozenSize, state.shape.queueSizes[i]!)) return 'driver: a queue has an impossible size';
    const problem = checkRings(queue, ramContains);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function freeze(queue: VirtioQueueRegisters): void {
  queue.frozenSize = queue.enabled === 0 ? 0 : queue.size;
  queue.frozenDescLow = queue.descLow;
  queue.frozenDescHigh = queue.descHigh;
  queue.frozenDriverLow = queue.driverLow;
  queue.frozenDriverHigh = queue.driverHigh;
  queue.frozenDeviceLow = queue.deviceLow;
  queue.frozenDeviceHigh = queue.deviceHigh;
  queue.nextAvail = 0;
  queue.nextUsed = 0;
  queue.signalledUsed = 0;
  queue.signalledUsedValid = 0;
}

function checkRings(queue: VirtioQueueRegisters, ramContains: RamContains): string | undefined {
  const size = queue.frozenSize;
  if (queue.frozenDescLow % descriptorAlignment !== 0) return 'driver: a descriptor table is not 16-aligned';
  if (queue.frozenDriverLow % availableAlignment !== 0) return 'driver: an available ring is not 2-aligned';
  if (queue.frozenDeviceLow % usedAlignment !== 0) return 'driver: a used ring is not 4-aligned';
  const isRam = (low: number, high: number, length: number): boolean =>
    high < highLimit && ramContains(high * two32 + low, length);
  if (!isRam(queue.frozenDescLow, queue.frozenDescHigh, descriptorTableBytes(size))) {
    return 'driver: a descriptor table is not in RAM';
  }
  if (!isRam(queue.frozenDriverLow, queue.frozenDriverHigh, availableRingBytes(size))) {
    return 'driver: an available ring is not in RAM';
  }
  if (!isRam(queue.frozenDeviceLow, queue.frozenDeviceHigh, usedRingBytes(size))) {
    return 'driver: a used ring is not in RAM';
  }
  return undefined;
}
