/**
 * The eventfds of one power cycle, opened and closed together. Main thread.
 *
 * Numbers are handed to workers, so all of them stay open until every worker has let go of the machine.
 */

import { gsi, type Transport } from '../devices/memory-map.js';
import { outOfDescriptors } from '../host/doorbell.js';
import { closeFd, eventFd } from '../host/system.js';
import type { VirtioDescriptors, VirtioShape } from '../virtio/registers.js';
import { irqfds } from '../virtio/transport/platform-layout.js';

export class EventFds {
  readonly #open: number[] = [];

  /** A new eventfd; throws `ERR_TSVMM_CONFIG` when the process has no descriptor left. */
  make(): number {
    const fd = eventFd();
    if (fd < 0) throw outOfDescriptors(fd);
    this.#open.push(fd);
    return fd;
  }

  /** Doorbells and vectors of each device. */
  forDevices(transport: Transport, shapes: readonly VirtioShape[]): VirtioDescriptors[] {
    let next: number = gsi.msiFirst;
    return shapes.map((shape, device) => {
      const { count, gsi: first } = irqfds(transport, shape, device, next);
      next += count;
      const vectors = Array.from({ length: count }, () => this.make());
      return { doorbells: shape.queueSizes.map(() => this.make()), vectors, gsi: first };
    });
  }

  close(): void {
    for (const fd of this.#open.splice(0)) closeFd(fd);
  }
}
