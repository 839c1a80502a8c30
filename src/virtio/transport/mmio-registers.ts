/**
 * The control registers of virtio-mmio, version 2 (virtio 1.2 §4.2.2). vCPU worker, machine lock.
 *
 * All of them are words, and a driver must access them as such (§4.2.2.2). Reads have no side effects, so parts of a word
 * are answered too; other writes are refused. What only the driver writes, what an older version has and what no version
 * has reads as 0.
 */
import { type AccessSize, allOnes, type BusDevice } from '../../bus/bus.js';
import type { Wires } from '../../devices/wires.js';
import type { DriverRegisters } from './driver-registers.js';

export const MmioRegister = {
  magicValue: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSelect: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSelect: 0x024,
  queueSelect: 0x030,
  queueSizeMax: 0x034,
  queueSize: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  queueDescLow: 0x080,
  queueDescHigh: 0x084,
  queueDriverLow: 0x090,
  queueDriverHigh: 0x094,
  queueDeviceLow: 0x0a0,
  queueDeviceHigh: 0x0a4,
  shmSelect: 0x0ac,
  shmLengthLow: 0x0b0,
  shmLengthHigh: 0x0b4,
  shmBaseLow: 0x0b8,
  shmBaseHigh: 0x0bc,
  /** Meaningful with VIRTIO_F_RING_RESET, which is not offered. */
  queueReset: 0x0c0,
  configGeneration: 0x0fc,
} as const;
/** Device configuration begins here. */
export const mmioConfigOffset = 0x100;

/** "virt", little-endian. */
const magicValue = 0x7472_6976;
const version = 2;
/** The PCI-SIG id of virtio; drivers make no use of it. */
const vendorId = 0x1af4;
/** Length and base of a shared memory region that does not exist (§4.2.2); no device has one. */
const noRegion = 0xffff_ffff;

export class MmioRegisters implements BusDevice {
  readonly name: string;
  readonly #registers: DriverRegisters;
  readonly #wires: Wires;

  constructor(registers: DriverRegisters, wires: Wires) {
    this.name = registers.state.shape.name;
    this.#registers = registers;
    this.#wires = wires;
  }

  read(offset: number, size: AccessSize): number {
    const into = offset & 3;
    if (into + size > 4) return allOnes(size);
    return ((this.#register(offset - into) >>> (8 * into)) & allOnes(size)) >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) this.#warn('driver: control register written not as one aligned word');
    else if (offset === MmioRegister.status) this.#registers.status = value;
    else if (offset === MmioRegister.queueNotify) this.#registers.notify(value);
    else if (offset === MmioRegister.interruptAck) Atomics.and(this.#registers.state.device.isr, 0, ~value);
    else if (this.#registers.locked) this.#warn('driver: writes registers during a reset');
    else this.#setRegister(offset, value);
  }

  #register(offset: number): number {
    const { device, shape } = this.#registers.state;
    switch (offset) {
      case MmioRegister.magicValue:
        return magicValue;
      case MmioRegister.version:
        return version;
      case MmioRegister.deviceId:
        return shape.deviceType;
      case MmioRegister.vendorId:
        return vendorId;
      case MmioRegister.deviceFeatures:
        return this.#registers.offeredFeatures(device.deviceFeatureSelect);
      case MmioRegister.queueSizeMax:
        return shape.queueSizes[device.queueSelect] ?? 0;
      case MmioRegister.queueReady:
        return this.#registers.selectedQueue?.enabled ?? 0;
      case MmioRegister.interruptStatus:
        return Atomics.load(device.isr, 0);
      case MmioRegister.status:
        return this.#registers.status;
      case MmioRegister.shmLengthLow:
      case MmioRegister.shmLengthHigh:
      case MmioRegister.shmBaseLow:
      case MmioRegister.shmBaseHigh:
        return noRegion;
      case MmioRegister.configGeneration:
        return Atomics.load(device.generation, 0) >>> 0;
      default:
        return 0;
    }
  }

  #setRegister(offset: number, value: number): void {
    const { device } = this.#registers.state;
    switch (offset) {
      case MmioRegister.deviceFeaturesSelect:
        device.deviceFeatureSelect = value;
        break;
      case MmioRegister.driverFeaturesSelect:
        device.driverFeatureSelect = value;
        break;
      case MmioRegister.driverFeatures:
        this.#registers.setDriverFeatures(device.driverFeatureSelect, value);
        break;
      case MmioRegister.queueSelect:
        this.#registers.selectQueue(value);
        break;
      case MmioRegister.queueSize:
        this.#registers.setQueueSize(value);
        break;
      case MmioRegister.queueReady:
        if (value === 0) this.#registers.disableQueue();
        else this.#registers.enableQueue(value);
        break;
      case MmioRegister.shmSelect:
        break; // whichever: there is none
      default:
        this.#setQueueAddress(offset, value);
    }
  }

  #setQueueAddress(offset: number, value: number): void {
    const field = addressField(offset);
    if (field === undefined) this.#warn('driver: writes a register that is not writable');
    else {
      const queue = this.#registers.configurableQueue;
      if (queue !== undefined) queue[field] = value;
    }
  }

  #warn(message: string): void {
    this.#wires.warn(this.name, message);
  }
}

function addressField(offset: number) {
  switch (offset) {
    case MmioRegister.queueDescLow:
      return 'descLow';
    case MmioRegister.queueDescHigh:
      return 'descHigh';
    case MmioRegister.queueDriverLow:
      return 'driverLow';
    case MmioRegister.queueDriverHigh:
      return 'driverHigh';
    case MmioRegister.queueDeviceLow:
      return 'deviceLow';
    case MmioRegister.queueDeviceHigh:
      return 'deviceHigh';
    default:
      return undefined;
  }
}
