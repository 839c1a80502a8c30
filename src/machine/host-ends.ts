/**
 * What main does to a running machine's registers: console, clock, power button. Main thread.
 */
import { native } from '../host/addon.js';
import type { SharedLock } from '../memory/lock.js';
import { blkCapacity, capacityOffset } from '../virtio/blk/blk-format.js';
import { consoleSize } from '../virtio/console/console-format.js';
import { ConsoleHost } from '../virtio/console/console-host.js';
import { bindVirtio, Lifecycle } from '../virtio/registers.js';
import { PlatformHost } from '../virtio/transport/platform-host.js';
import { ClockService } from './clock-service.js';
import type { GuestConsole } from './console.js';
import { ConsolePump } from './console-pump.js';
import type { Hardware } from './hardware.js';
import { MainLock } from './main-lock.js';
import type { Ownership } from './ownership.js';

export class HostEnds {
  readonly pump: ConsolePump;
  readonly #lock: MainLock;
  readonly #platform: PlatformHost;
  readonly #clock: ClockService;

  /** `ioDoorbell` is what the I/O worker listens to. */
  constructor(hardware: Hardware, lock: SharedLock, console: GuestConsole, ioDoorbell: () => number, owned: Ownership) {
    const { plan, state, vm, descriptors } = hardware;
    this.#lock = new MainLock(lock);
    owned.own('machine lock', () => this.#lock.close());
    const withLock = (task: () => void): void => this.#lock.run(task);
    this.#platform = new PlatformHost(state, plan.platform, { virtio: descriptors }, (gsi, level) => {
      vm.setIrqLine(gsi, level);
    });
    const at = plan.devices.findIndex(({ kind }) => kind === 'console');
    const device = plan.devices[at];
    const virtio =
      device?.kind === 'console'
        ? new ConsoleHost(state, device.layout, () => void native().ring(ioDoorbell()))
        : undefined;
    const registers = virtio && bindVirtio(state, plan.platform.virtio[at]!).device;
    const hasDriver = (): boolean =>
      registers !== undefined && Atomics.load(registers.lifecycle, 0) === Lifecycle.active;
    const ends = { serial: this.#platform.serial, virtio, hasDriver };
    this.pump = new ConsolePump(console, ends, withLock, (columns, rows) => {
      if (virtio === undefined) return; // a serial port has no size
      withLock(() => {
        const fd = this.#platform.changeConfig(at, 0, consoleSize(columns, rows));
        if (fd >= 0) native().ring(fd);
      });
    });
    owned.own('console', () => {
      console.detach(this.pump);
      this.pump.drain();
    });
    this.#clock = new ClockService(this.#platform.rtc, withLock);
    owned.own('clock', () => this.#clock.close());
  }

  /** The machine rang: moves console bytes, plans clock interrupts. True if there was output. */
  service(): boolean {
    const moved = this.pump.pump();
    this.#clock.service();
    return moved > 0;
  }

  /** Tells the driver of a disk its new size. */
  tellCapacity(device: number, size: number): void {
    this.#lock.run(() => {
      const fd = this.#platform.changeConfig(device, capacityOffset, blkCapacity(size));
      if (fd >= 0) native().ring(fd);
    });
  }

  /** Resolves when the button was pressed, or when there is no machine any more to press it on. */
  pressPowerButton(): Promise<void> {
    return new Promise((resolve) => {
      this.#lock.run(() => {
        this.#platform.pressPowerButton();
        resolve();
      }, resolve);
    });
  }
}
