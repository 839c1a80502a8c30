/**
 * The eventfds of one power cycle, opened and closed together. Main thread.
 *
 * Numbers are handed to workers, so all of them stay open until every worker has let go of the machine.
 */
import { outOfDescriptors } from '../host/doorbell.js';
import { closeFd, eventFd } from '../host/system.js';
import type { VirtioDescriptors, VirtioShape } from '../virtio/registers.js';
import { vectorCount } from '../virtio/registers.js';

export class EventFds {
  readonly #open: number[] = [];

  /** A new eventfd; throws `ERR_TSVMM_CONFIG` when the process has no descriptor left. */
  make(): number {
    const fd = eventFd();
    if (fd < 0) throw outOfDescriptors(fd);
    this.#open.push(fd);
    return fd;
  }

  /** Doorbells and vectors of each device, its vectors at GSIs from `firstGsi` on. */
  forDevices(shapes: readonly VirtioShape[], firstGsi: number): VirtioDescriptors[] {
    let gsi = firstGsi;
    return shapes.map((shape) => {
      const vectors = Array.from({ length: vectorCount(shape) }, () => this.make());
      gsi += vectors.length;
      return { doorbells: shape.queueSizes.map(() => this.make()), vectors, gsi: gsi - vectors.length };
    });
  }

  close(): void {
    for (const fd of this.#open.splice(0)) closeFd(fd);
  }
}
