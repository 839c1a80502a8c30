/**
 * The common configuration structure of virtio-pci (virtio 1.2 §4.1.4.3). vCPU worker, machine lock.
 *
 * A driver must access each field at its own width, 64-bit ones as two words (§4.1.3.1). Reads have no side effects, so
 * other widths are answered as well, byte by byte; writes of other widths are refused.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import type { Wires } from '../../devices/wires.js';
import type { DriverRegisters } from './driver-registers.js';

export const CommonRegister = {
  deviceFeatureSelect: 0x00,
  deviceFeature: 0x04,
  driverFeatureSelect: 0x08,
  driverFeature: 0x0c,
  configVector: 0x10,
  queueCount: 0x12,
  status: 0x14,
  configGeneration: 0x15,
  queueSelect: 0x16,
  queueSize: 0x18,
  queueVector: 0x1a,
  queueEnable: 0x1c,
  queueNotifyOffset: 0x1e,
  queueDescLow: 0x20,
  queueDescHigh: 0x24,
  queueDriverLow: 0x28,
  queueDriverHigh: 0x2c,
  queueDeviceLow: 0x30,
  queueDeviceHigh: 0x34,
  /** Meaningful with VIRTIO_F_NOTIF_CONFIG_DATA, which is not offered: reads as 0. */
  queueNotifyData: 0x38,
  /** Meaningful with VIRTIO_F_RING_RESET, which is not offered: reads as 0. */
  queueReset: 0x3a,
} as const;
export const commonConfigSize = 0x3c;

/** Width of each register, by offset; 0 inside one. */
const widths = new Uint8Array(commonConfigSize);
for (const offset of Object.values(CommonRegister)) widths[offset] = 2;
for (const offset of [CommonRegister.status, CommonRegister.configGeneration]) widths[offset] = 1;
for (const offset of [
  CommonRegister.deviceFeatureSelect,
  CommonRegister.deviceFeature,
  CommonRegister.driverFeatureSelect,
  CommonRegister.driverFeature,
  CommonRegister.queueDescLow,
  CommonRegister.queueDescHigh,
  CommonRegister.queueDriverLow,
  CommonRegister.queueDriverHigh,
  CommonRegister.queueDeviceLow,
  CommonRegister.queueDeviceHigh,
]) {
  widths[offset] = 4;
}

export class CommonConfig implements BusDevice {
  readonly name: string;
  readonly #registers: DriverRegisters;
  readonly #wires: Wires;

  constructor(registers: DriverRegisters, wires: Wires) {
    this.name = registers.state.shape.name;
    this.#registers = registers;
    this.#wires = wires;
  }

  read(offset: number, size: AccessSize): number {
    if (widths[offset] === size) return this.#register(offset);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#byte(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (widths[offset] !== size) this.#wires.warn(this.name, 'driver: common configuration written at a wrong width');
    else if (offset === CommonRegister.status) this.#registers.status = value;
    else if (this.#registers.locked) this.#wires.warn(this.name, 'driver: writes registers during a reset');
    else this.#setRegister(offset, value);
  }

  #byte(at: number): number {
    if (at >= commonConfigSize) return 0xff;
    let start = at;
    while (widths[start] === 0) start--;
    return (this.#register(start) >>> (8 * (at - start))) & 0xff;
  }

  #register(offset: number): number {
    const { device, shape } = this.#registers.state;
    switch (offset) {
      case CommonRegister.deviceFeatureSelect:
        return device.deviceFeatureSelect;
      case CommonRegister.deviceFeature:
        return this.#registers.offeredFeatures(device.deviceFeatureSelect);
      case CommonRegister.driverFeatureSelect:
        return device.driverFeatureSelect;
      case CommonRegister.driverFeature:
        return this.#registers.driverFeatures(device.driverFeatureSelect);
      case CommonRegister.configVector:
        return device.configVector;
      case CommonRegister.queueCount:
        return shape.queueSizes.length;
      case CommonRegister.status:
        return this.#registers.status;
      case CommonRegister.configGeneration:
        return Atomics.load(device.generation, 0) & 0xff;
      case CommonRegister.queueSelect:
        return device.queueSelect;
      default:
        return this.#queueRegister(offset);
    }
  }

  /** A queue that does not exist reads as 0, its size above all (trap T7). */
  #queueRegister(offset: number): number {
    const queue = this.#registers.selectedQueue;
    if (queue === undefined) return 0;
    switch (offset) {
      case CommonRegister.queueSize:
        return queue.size;
      case CommonRegister.queueVector:
        return queue.vector;
      case CommonRegister.queueEnable:
        return queue.enabled;
      case CommonRegister.queueNotifyOffset:
        return this.#registers.state.device.queueSelect;
      case CommonRegister.queueDescLow:
        return queue.descLow;
      case CommonRegister.queueDescHigh:
        return queue.descHigh;
      case CommonRegister.queueDriverLow:
        return queue.driverLow;
      case CommonRegister.queueDriverHigh:
        return queue.driverHigh;
      case CommonRegister.queueDeviceLow:
        return queue.deviceLow;
      case CommonRegister.queueDeviceHigh:
        return queue.deviceHigh;
      default:
        return 0;
    }
  }

  #setRegister(offset: number, value: number): void {
    const { device } = this.#registers.state;
    switch (offset) {
      case CommonRegister.deviceFeatureSelect:
        device.deviceFeatureSelect = value;
        break;
      case CommonRegister.driverFeatureSelect:
        device.driverFeatureSelect = value;
        break;
      case CommonRegister.driverFeature:
        this.#registers.setDriverFeatures(device.driverFeatureSelect, value);
        break;
      case CommonRegister.configVector:
        device.configVector = this.#registers.acceptableVector(value);
        break;
      case CommonRegister.queueSelect:
        device.queueSelect = value;
        break;
      case CommonRegister.queueSize:
        this.#registers.setQueueSize(value);
        break;
      case CommonRegister.queueVector:
        this.#setQueueVector(value);
        break;
      case CommonRegister.queueEnable:
        this.#registers.enableQueue(value);
        break;
      default:
        this.#setQueueAddress(offset, value);
    }
  }

  /** A vector is no address: it may change while the queue is in use. */
  #setQueueVector(value: number): void {
    const queue = this.#registers.selectedQueue;
    if (queue !== undefined) queue.vector = this.#registers.acceptableVector(value);
  }

  #setQueueAddress(offset: number, value: number): void {
    if (offset < CommonRegister.queueDescLow || offset > CommonRegister.queueDeviceHigh) return; // read-only
    const queue = this.#registers.configurableQueue;
    if (queue === undefined) return;
    switch (offset) {
      case CommonRegister.queueDescLow:
        queue.descLow = value;
        break;
      case CommonRegister.queueDescHigh:
        queue.descHigh = value;
        break;
      case CommonRegister.queueDriverLow:
        queue.driverLow = value;
        break;
      case CommonRegister.queueDriverHigh:
        queue.driverHigh = value;
        break;
      case CommonRegister.queueDeviceLow:
        queue.deviceLow = value;
        break;
      default:
        queue.deviceHigh = value;
    }
  }
}
