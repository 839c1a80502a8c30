/**
 * One device's turn at one queue: takes chains within a budget, so that no guest starves its neighbours. The thread that
 * serves the queue.
 */
import type { DataPath } from './device.js';
import { Pop, type SplitQueue } from './queue/split-queue.js';

export const Served = {
  /** The queue is empty, and no doorbell will tell when that changes: look again, or `armDoorbell`. */
  idle: 0,
  /** The budget is used up; there may be more, and no doorbell will tell. */
  more: 1,
  /** The device takes no more chains now and will ask for another turn. */
  stalled: 2,
  /** `queue.violation` says what the driver did. */
  violated: 3,
} as const;
export type Served = (typeof Served)[keyof typeof Served];

/** What was answered at once is pushed but not published: the caller does that, once for many queues. */
export function serveQueue(device: DataPath, queue: SplitQueue, index: number, budget: number): Served {
  queue.silenceDoorbell();
  for (let left = budget; left > 0; left--) {
    switch (queue.pop()) {
      case Pop.chain:
        if (!device.onChain(queue, index)) {
          queue.unpop();
          return Served.stalled;
        }
        if (queue.violation !== undefined) return Served.violated;
        break;
      case Pop.empty:
        return Served.idle;
      case Pop.violation:
        return Served.violated;
    }
  }
  return Served.more;
}
