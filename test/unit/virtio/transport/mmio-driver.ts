/** The driver's side of virtio-mmio as Linux does it, over the bus that a vCPU uses, and a whole platform of that kind. */
import type { AccessSize } from '../../../../src/bus/bus.js';
import { virtioMmioPlace } from '../../../../src/devices/memory-map.js';
import type { VirtioShape } from '../../../../src/virtio/registers.js';
import { MmioRegister as Mmio, mmioConfigOffset } from '../../../../src/virtio/transport/mmio-registers.js';
import { shape } from './mock-device.js';
import { type Machine, makeMachine } from './mock-driver.js';

export const makeMmioMachine = (devices: readonly VirtioShape[] = [shape()]): Machine =>
  makeMachine(devices, { transport: 'mmio' });

export class MmioDriver {
  readonly base: number;
  readonly #mmio: ReturnType<Machine['vcpu']>['mmio'];

  constructor(machine: Machine, device = 0, vcpu = machine.vcpu()) {
    this.#mmio = vcpu.mmio;
    this.base = virtioMmioPlace(device).region.start;
  }

  get(register: number, size: AccessSize = 4): number {
    return this.#mmio.read(this.base + register, size);
  }
  set(register: number, value: number, size: AccessSize = 4): void {
    this.#mmio.write(this.base + register, size, value);
  }
  config(offset: number, size: AccessSize): number {
    return this.get(mmioConfigOffset + offset, size);
  }
  setConfig(offset: number, size: AccessSize, value: number): void {
    this.set(mmioConfigOffset + offset, value, size);
  }
  get status(): number {
    return this.get(Mmio.status);
  }
  set status(value: number) {
    this.set(Mmio.status, value);
  }
  features(): bigint {
    this.set(Mmio.deviceFeaturesSelect, 0);
    const low = this.get(Mmio.deviceFeatures);
    this.set(Mmio.deviceFeaturesSelect, 1);
    return (BigInt(this.get(Mmio.deviceFeatures)) << 32n) | BigInt(low);
  }
  accept(features: bigint): void {
    for (const [word, value] of [features & 0xffff_ffffn, features >> 32n].entries()) {
      this.set(Mmio.driverFeaturesSelect, word);
      this.set(Mmio.driverFeatures, Number(value));
    }
  }
  /** Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. */
  begin(features = 1n << 32n): void {
    this.status = 0;
    this.status = 1;
    this.status = 3;
    this.accept(features);
    this.status = 11;
  }
  addresses(desc: number, driver: number, device: number): void {
    for (const [register, address] of [
      [Mmio.queueDescLow, desc],
      [Mmio.queueDriverLow, driver],
      [Mmio.queueDeviceLow, device],
    ] as const) {
      this.set(register, address % 2 ** 32);
      this.set(register + 4, Math.floor(address / 2 ** 32));
    }
  }
  queue(index: number, desc: number, driver: number, device: number, size?: number): void {
    this.set(Mmio.queueSelect, index);
    if (size !== undefined) this.set(Mmio.queueSize, size);
    this.addresses(desc, driver, device);
    this.set(Mmio.queueReady, 1);
  }
  /** Through to DRIVER_OK with both queues in low RAM. */
  start(features?: bigint): void {
    this.begin(features);
    this.queue(0, 0x10_0000, 0x10_2000, 0x10_3000, 256);
    this.queue(1, 0x11_0000, 0x11_2000, 0x11_3000, 32);
    this.status = 15;
  }
  notify(queue: number): void {
    this.set(Mmio.queueNotify, queue);
  }
  /** As Linux's vm_interrupt does it: read, then acknowledge what was read. */
  acknowledge(): number {
    const status = this.get(Mmio.interruptStatus);
    this.set(Mmio.interruptAck, status);
    return status;
  }
}
