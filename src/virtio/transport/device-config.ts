/**
 * Device-specific configuration (virtio 1.2 §2.5, §4.1.4.6). vCPU worker, machine lock.
 *
 * Bytes in machine state, at any width and alignment. What lies beyond reads as all ones (trap T18); only the bytes that
 * the device's shape names are writable, and a data path that cares reads them when it needs them.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import type { VirtioState } from '../registers.js';

export class DeviceConfig implements BusDevice {
  readonly name: string;
  readonly #config: Uint8Array;
  readonly #writable: Uint8Array;

  constructor(state: VirtioState) {
    this.name = state.shape.name;
    this.#config = state.config;
    this.#writable = new Uint8Array(state.config.length);
    for (const offset of state.shape.writableConfig) this.#writable[offset] = 1;
  }

  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = 0; i < size; i++) value |= (this.#config[offset + i] ?? 0xff) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) {
      if (this.#writable[offset + i] === 1) this.#config[offset + i] = (value >>> (8 * i)) & 0xff;
    }
  }
}
