/**
 * PCI bus 0: which functions there are, and where configuration accesses go (PCI Local Bus 3.0 §3.2.2.3.1). vCPU worker,
 * machine lock.
 *
 * One function per slot. What is not there reads as all ones and swallows writes, which is how a driver finds out.
 */
import type { AccessSize } from '../../bus/bus.js';
import { allOnes } from '../../bus/bus.js';
import { pciSlots } from '../memory-map.js';
import type { PciFunction } from './function.js';

export class PciBus {
  readonly #slots: (PciFunction | undefined)[] = new Array(pciSlots).fill(undefined);

  insert(slot: number, f: PciFunction): void {
    if (!(slot >= 0 && slot < pciSlots) || this.#slots[slot] !== undefined) throw new RangeError(`PCI slot ${slot}`);
    this.#slots[slot] = f;
  }

  readConfig(bus: number, slot: number, f: number, offset: number, size: AccessSize): number {
    return this.#find(bus, slot, f)?.readConfig(offset, size) ?? allOnes(size);
  }

  writeConfig(bus: number, slot: number, f: number, offset: number, size: AccessSize, value: number): void {
    this.#find(bus, slot, f)?.writeConfig(offset, size, value);
  }

  /** A BAR of some function has moved, appeared or gone. */
  barsChanged(): void {
    for (const f of this.#slots) f?.behaviour.barsChanged();
  }

  #find(bus: number, slot: number, f: number): PciFunction | undefined {
    return bus === 0 && f === 0 ? this.#slots[slot] : undefined;
  }
}
