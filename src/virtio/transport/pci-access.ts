/**
 * The PCI configuration access capability: BAR accesses through configuration space, for firmware that cannot map the BAR
 * (virtio 1.2 §4.1.4.9). vCPU worker, machine lock.
 *
 * The driver names BAR, offset and length and then reads or writes `pci_cfg_data`. Whatever does not name 1, 2 or 4
 * aligned bytes inside the BAR does nothing.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { CapabilityField } from './pci-capabilities.js';

export class PciAccess {
  readonly #config: DataView;
  readonly #at: number;
  readonly #bar: BusDevice;
  readonly #barSize: number;

  /** `at` is the capability's offset in `config`; `bar` is BAR 0. */
  constructor(config: Uint8Array, at: number, bar: BusDevice, barSize: number) {
    this.#config = new DataView(config.buffer, config.byteOffset, config.byteLength);
    this.#at = at;
    this.#bar = bar;
    this.#barSize = barSize;
  }

  /** Configuration space is about to be read: if it is the data, they are fetched from the BAR. */
  beforeRead(offset: number, size: AccessSize): void {
    const length = this.#coversData(offset, size) ? this.#length : 0;
    if (length !== 0) this.#config.setUint32(this.#data, this.#bar.read(this.#offset, length), true);
  }

  /** Configuration space was written: if it was the data, they go to the BAR. */
  afterWrite(offset: number, size: AccessSize): void {
    const length = this.#coversData(offset, size) ? this.#length : 0;
    if (length === 0) return;
    const data = this.#config.getUint32(this.#data, true);
    this.#bar.write(this.#offset, length, length === 4 ? data : data & (length === 2 ? 0xffff : 0xff));
  }

  get #data(): number {
    return this.#at + CapabilityField.data;
  }

  get #offset(): number {
    return this.#config.getUint32(this.#at + CapabilityField.offset, true);
  }

  #coversData(offset: number, size: AccessSize): boolean {
    return offset < this.#data + 4 && offset + size > this.#data;
  }

  /** The length asked for, or 0 if the access is not one that may be made. */
  get #length(): AccessSize | 0 {
    const length = this.#config.getUint32(this.#at + CapabilityField.structureLength, true);
    if (length !== 1 && length !== 2 && length !== 4) return 0;
    const inside = this.#offset <= this.#barSize - length && this.#offset % length === 0;
    return inside && this.#config.getUint8(this.#at + CapabilityField.bar) === 0 ? length : 0;
  }
}
