/**
 * PCI Express enhanced configuration access: configuration space as memory (PCIe base spec §7.2.2). vCPU worker, machine
 * lock.
 *
 * 1 MiB for a bus, 32 KiB for a device, 4 KiB for a function. An access never runs on into the next function.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import type { PciBus } from './bus.js';

export class Ecam implements BusDevice {
  readonly name = 'pci ecam';
  readonly #bus: PciBus;

  constructor(bus: PciBus) {
    this.#bus = bus;
  }

  read(offset: number, size: AccessSize): number {
    return this.#bus.readConfig(offset >>> 20, (offset >>> 15) & 0x1f, (offset >>> 12) & 7, offset & 0xfff, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#bus.writeConfig(offset >>> 20, (offset >>> 15) & 0x1f, (offset >>> 12) & 7, offset & 0xfff, size, value);
  }
}
