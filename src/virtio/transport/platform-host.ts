/**
 * What main does to a running machine's registers: console, clock, power button, device configuration. Main thread.
 *
 * Main never waits for the machine lock (contract §2.1). It tries; what needs the lock says so, and is put off when the
 * lock is taken.
 */
import { AcpiPmMap, type AcpiPmRegisters, pressPowerButton } from '../../devices/acpi-pm.js';
import { RtcHost } from '../../devices/rtc-host.js';
import { SerialHost } from '../../devices/serial-host.js';
import type { SetLine } from '../../devices/wires.js';
import { changeConfig, type InterruptTarget } from '../interrupt.js';
import { interruptTargets, type PlatformDescriptors, type PlatformLayout } from './platform-layout.js';

export class PlatformHost {
  readonly serial: SerialHost;
  readonly rtc: RtcHost;
  readonly #pm: AcpiPmRegisters;
  readonly #targets: readonly InterruptTarget[];
  readonly #setLine: SetLine;

  /** `setLine` is KVM_IRQ_LINE; it is called with the lock held only. */
  constructor(
    buffer: ArrayBufferLike,
    layout: PlatformLayout,
    descriptors: PlatformDescriptors,
    setLine: SetLine,
    now: () => number = Date.now,
  ) {
    this.#setLine = setLine;
    this.serial = new SerialHost(buffer, layout.chipset.serial, setLine);
    this.rtc = new RtcHost(buffer, layout.chipset.rtc, setLine, now);
    this.#pm = AcpiPmMap.over(buffer, layout.chipset.acpiPm);
    this.#targets = interruptTargets(buffer, layout, descriptors, setLine);
  }

  /** The guest's power button goes down and up. Lock. */
  pressPowerButton(): void {
    pressPowerButton(this.#pm, this.#setLine);
  }

  /**
   * Changes configuration bytes of virtio device `device` and notifies a driver that is there: the eventfd to ring, or -1.
   * Lock.
   */
  changeConfig(device: number, offset: number, bytes: Uint8Array): number {
    return changeConfig(this.#targets[device]!, offset, bytes);
  }
}
