/**
 * BAR 0 of a virtio-pci device: every structure that its capabilities point to (virtio 1.2 §4.1.4), and the MSI-X table
 * and pending bits. vCPU worker, machine lock; the layout is pure.
 *
 *   0x0000  common configuration      0x1000  ISR status      0x2000  device configuration
 *   0x3000  doorbells, 4 bytes each   0x4000  MSI-X pending bits, then its table, each on pages of its own
 *
 * A doorbell's address tells its queue, so an ioeventfd of any width serves it without looking at the value written
 * (contract §6.4).
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { TsvmmError } from '../../errors.js';
import type { InterruptLine } from '../interrupt.js';
import { msixEntryWords, type VirtioShape, type VirtioState, vectorCount } from '../registers.js';
import type { CommonConfig } from './common-config.js';
import type { DeviceConfig } from './device-config.js';
import type { DriverRegisters } from './driver-registers.js';
import type { Msix } from './msix.js';

const page = 0x1000;
export const BarOffset = { common: 0, isr: page, device: 2 * page, doorbells: 3 * page, pending: 4 * page } as const;
export const doorbellStride = 4;
/** PCI Local Bus 3.0 §6.8.2: 11 bits of table size. */
const maxVectors = 2048;
const maxQueues = page / doorbellStride;

export interface BarLayout {
  readonly table: number;
  readonly tableEnd: number;
  readonly size: number;
}

export function barLayout(shape: VirtioShape): BarLayout {
  const vectors = vectorCount(shape);
  if (shape.queueSizes.length > maxQueues || vectors > maxVectors || shape.configSize > page) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `${shape.name}: too many queues or too large a configuration`, {
      hint: `a virtio device has at most ${maxQueues} queues and ${page} bytes of configuration`,
    });
  }
  const table = BarOffset.pending + page;
  const tableEnd = table + vectors * msixEntryWords * 4;
  return { table, tableEnd, size: 2 ** Math.ceil(Math.log2(tableEnd)) };
}

export interface BarParts {
  readonly state: VirtioState;
  readonly common: CommonConfig;
  readonly config: DeviceConfig;
  readonly registers: DriverRegisters;
  readonly msix: Msix;
  readonly line: InterruptLine;
}

export class VirtioBar implements BusDevice {
  readonly name: string;
  readonly #parts: BarParts;
  readonly #layout: BarLayout;

  constructor(parts: BarParts) {
    this.name = parts.state.shape.name;
    this.#parts = parts;
    this.#layout = barLayout(parts.state.shape);
  }

  read(offset: number, size: AccessSize): number {
    const { common, config, msix } = this.#parts;
    if (offset >= this.#layout.table) return msix.readTable(offset - this.#layout.table, size);
    if (offset >= BarOffset.pending) return msix.readPending(offset - BarOffset.pending, size);
    if (offset >= BarOffset.doorbells) return 0;
    if (offset >= BarOffset.device) return config.read(offset - BarOffset.device, size);
    if (offset >= BarOffset.isr) return offset === BarOffset.isr ? this.#readIsr() : 0;
    return common.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { common, config, msix, registers } = this.#parts;
    if (offset >= this.#layout.table) msix.writeTable(offset - this.#layout.table, size, value);
    else if (offset >= BarOffset.pending)
      return; // read-only
    else if (offset >= BarOffset.doorbells) {
      if (offset % doorbellStride === 0) registers.notify((offset - BarOffset.doorbells) / doorbellStride);
    } else if (offset >= BarOffset.device) config.write(offset - BarOffset.device, size, value);
    else if (offset < BarOffset.isr) common.write(offset, size, value);
  }

  /** Reading acknowledges (virtio 1.2 §4.1.4.5); the line follows by the protocol of contract §6.3. */
  #readIsr(): number {
    const isr = Atomics.exchange(this.#parts.state.device.isr, 0, 0);
    this.#parts.line.settle();
    return isr;
  }
}
