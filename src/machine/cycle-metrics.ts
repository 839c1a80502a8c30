/** What a machine counts. Main thread. */
import { exitName } from '../kvm/ioctls.js';
import { exitCounters, type VcpuControl } from '../memory/control.js';

export interface CycleMetrics {
  /** Exits by kind, all vCPUs together. */
  exits: Record<string, number>;
  /**
   * Counters by device: of its own kind (`reads`, `bytesWritten`, ...), and of each `doorbells` that the driver rang,
   * `interrupts`, and `suppressedInterrupts`: batches of answers for which the driver wanted none.
   */
  devices: Record<string, Record<string, number>>;
  /**
   * How long requests took, by device and kind (a disk: `read`, `write`, `flush`, `clear` for discards and zeroes), from when
   * the device took one until it answered. Element i counts those of at most 2^i microseconds that were too long for i - 1.
   */
  latencies: Record<string, Record<string, number[]>>;
}

export function countExits(controls: readonly VcpuControl[]): Record<string, number> {
  const exits: Record<string, number> = {};
  for (const control of controls) {
    for (let reason = 0; reason < exitCounters; reason++) {
      const count = Atomics.load(control.exits, reason) >>> 0;
      if (count > 0) exits[exitName(reason)] = (exits[exitName(reason)] ?? 0) + count;
    }
  }
  return exits;
}
