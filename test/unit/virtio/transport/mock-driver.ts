/**
 * A whole platform with a recorded outside, and the driver's side of virtio-pci as Linux does it: find the capabilities,
 * talk through the BAR, over the buses that a vCPU uses.
 */
import { expect } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import type { Clocks } from '../../../../src/devices/clocks.js';
import { ecam, ramRegions } from '../../../../src/devices/memory-map.js';
import type { InterruptTarget } from '../../../../src/virtio/interrupt.js';
import { Lifecycle, type VirtioShape } from '../../../../src/virtio/registers.js';
import { CommonRegister as Common } from '../../../../src/virtio/transport/common-config.js';
import {
  buildPlatform,
  layoutPlatform,
  type PlatformShape,
  resetPlatform,
} from '../../../../src/virtio/transport/platform.js';
import { PlatformHost } from '../../../../src/virtio/transport/platform-host.js';
import { interruptTargets, irqfds } from '../../../../src/virtio/transport/platform-layout.js';
import { MockWires } from '../../devices/mock-wires.js';
import { shape } from './mock-device.js';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;
const EEXIST = 17;
const ENOSPC = 28;

export class MockVm {
  /** Address to eventfd. */
  readonly doorbells = new Map<number, number>();
  readonly calls: string[] = [];
  readonly routings: Uint8Array[] = [];
  /** `address=value` to eventfd, of doorbells that match a value. */
  readonly matched = new Map<string, number>();
  refuse = false;
  assignIoeventfd(fd: number, address: number, match?: number): number {
    this.calls.push(`+${fd}@${address.toString(16)}`);
    if (match !== undefined) return this.#add(this.matched, `${address.toString(16)}=${match}`, fd);
    return this.#add(this.doorbells, address, fd);
  }
  deassignIoeventfd(fd: number, address: number, match?: number): number {
    this.calls.push(`-${fd}@${address.toString(16)}`);
    if (match !== undefined) return this.#remove(this.matched, `${address.toString(16)}=${match}`, fd);
    return this.#remove(this.doorbells, address, fd);
  }
  #add<K>(to: Map<K, number>, key: K, fd: number): number {
    if (this.refuse) return -ENOSPC;
    if (to.has(key)) return -EEXIST;
    to.set(key, fd);
    return 0;
  }
  #remove<K>(from: Map<K, number>, key: K, fd: number): number {
    expect(from.get(key)).toBe(fd);
    from.delete(key);
    return 0;
  }
  setRouting(table: Uint8Array): void {
    this.routings.push(table);
  }
}

export function makeMachine(
  devices: readonly VirtioShape[] = [shape()],
  changes: Partial<PlatformShape> = {},
  clocks?: Clocks,
) {
  const machine: PlatformShape = {
    cpus: 2,
    ram: 256 * MIB,
    physicalBits: 40,
    transport: 'pci',
    virtio: devices,
    debugExit: true,
    ...changes,
  };
  const base = 64;
  const layout = layoutPlatform(machine, base);
  const buffer = new SharedArrayBuffer(layout.end + 64);
  const all = new Uint8Array(buffer);
  all.fill(0xc7, 0, base);
  all.fill(0xc7, layout.end);
  resetPlatform(buffer, layout);
  let gsi = 24;
  const descriptors = {
    virtio: devices.map((device, d) => {
      const own = {
        doorbells: device.queueSizes.map((_, q) => 1000 * (d + 1) + q),
        vectors: Array.from(
          { length: irqfds(machine.transport, device, d, gsi).count },
          (_, v) => 1000 * (d + 1) + 500 + v,
        ),
        gsi: irqfds(machine.transport, device, d, gsi).gsi,
      };
      gsi += own.vectors.length;
      return own;
    }),
  };
  const wires = new MockWires();
  const vm = new MockVm();
  /** One vCPU's buses over the shared state. */
  const vcpu = () => {
    const platform = buildPlatform(buffer, layout, wires, {
      vm,
      regions: ramRegions(machine.ram),
      descriptors,
      wakeMain: wires.wakeMain,
      clocks,
    });
    const mmio = {
      read: (address: number, size: AccessSize): number => {
        platform.syncBars();
        return platform.mmio.read(address, size);
      },
      write: (address: number, size: AccessSize, value: number): void => {
        platform.syncBars();
        platform.mmio.write(address, size, value);
      },
      claims: (address: number): boolean => {
        platform.syncBars();
        return platform.mmio.claims(address, 4);
      },
    };
    return { ports: platform.ports, mmio, doorbells: platform.doorbells };
  };
  const targets: InterruptTarget[] = interruptTargets(buffer, layout, descriptors, (line, level) =>
    wires.setLine(line, level),
  );
  const host = new PlatformHost(buffer, layout, descriptors, wires.setLine, clocks?.now);
  const checkGuards = (): void => {
    expect([...all.subarray(0, base), ...all.subarray(layout.end)].every((byte) => byte === 0xc7)).toBe(true);
  };
  /** What the I/O worker does when it is woken: one step of the lifecycle. */
  const dataPath = (device = 0): void => {
    const { lifecycle } = targets[device]!.state.device;
    Atomics.compareExchange(lifecycle, 0, Lifecycle.activating, Lifecycle.active);
    Atomics.compareExchange(lifecycle, 0, Lifecycle.resetting, Lifecycle.inactive);
  };
  return { layout, buffer, wires, vm, vcpu, targets, host, checkGuards, dataPath, descriptors };
}
export type Machine = ReturnType<typeof makeMachine>;

const CAP_VENDOR = 9;
const CAP_MSIX = 0x11;

export interface Structure {
  readonly at: number;
  readonly address: number;
  readonly length: number;
}

/** The driver of the virtio device in `slot`. */
export class MockDriver {
  readonly mmio: ReturnType<Machine['vcpu']>['mmio'];
  readonly slot: number;
  /** By cfg_type. */
  readonly structures = new Map<number, Structure>();
  msix = 0;
  notifyMultiplier = 0;

  constructor(machine: Machine, slot = 1, vcpu = machine.vcpu()) {
    this.mmio = vcpu.mmio;
    this.slot = slot;
    for (let at = this.config(0x34, 1), left = 48; at !== 0; at = this.config(at + 1, 1), left--) {
      expect(left).toBeGreaterThan(0);
      if (this.config(at, 1) === CAP_MSIX) this.msix = at;
      if (this.config(at, 1) !== CAP_VENDOR) continue;
      const bar = this.config(at + 4, 1);
      const address = this.barAddress(bar) + this.config(at + 8, 4);
      this.structures.set(this.config(at + 3, 1), { at, address, length: this.config(at + 12, 4) });
      if (this.config(at + 3, 1) === 2) this.notifyMultiplier = this.config(at + 16, 4);
    }
  }

  config(offset: number, size: AccessSize): number {
    return this.mmio.read(ecam.start + this.slot * 0x8000 + offset, size);
  }
  setConfig(offset: number, size: AccessSize, value: number): void {
    this.mmio.write(ecam.start + this.slot * 0x8000 + offset, size, value);
  }
  barAddress(index = 0): number {
    const low = this.config(0x10 + 4 * index, 4);
    return Math.floor(low / 16) * 16 + this.config(0x14 + 4 * index, 4) * 2 ** 32;
  }
  moveBar(address: number): void {
    this.setConfig(0x10, 4, address % 2 ** 32);
    this.setConfig(0x14, 4, Math.floor(address / 2 ** 32));
  }
  common(register: number, size: AccessSize): number {
    return this.mmio.read(this.structures.get(1)!.address + register, size);
  }
  setCommon(register: number, size: AccessSize, value: number): void {
    this.mmio.write(this.structures.get(1)!.address + register, size, value);
  }
  get status(): number {
    return this.common(Common.status, 1);
  }
  set status(value: number) {
    this.setCommon(Common.status, 1, value);
  }
  get isr(): number {
    return this.mmio.read(this.structures.get(3)!.address, 1);
  }
  features(): bigint {
    this.setCommon(Common.deviceFeatureSelect, 4, 0);
    const low = this.common(Common.deviceFeature, 4);
    this.setCommon(Common.deviceFeatureSelect, 4, 1);
    return (BigInt(this.common(Common.deviceFeature, 4)) << 32n) | BigInt(low);
  }
  accept(features: bigint): void {
    for (const [word, value] of [
      [0, features & 0xffff_ffffn],
      [1, features >> 32n],
    ] as const) {
      this.setCommon(Common.driverFeatureSelect, 4, word);
      this.setCommon(Common.driverFeature, 4, Number(value));
    }
  }
  /** Bus mastering on, reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK. */
  begin(features = 1n << 32n): void {
    this.setConfig(4, 2, 0x06);
    this.status = 0;
    this.status = 1;
    this.status = 3;
    this.accept(features);
    this.status = 11;
  }
  queue(index: number, desc: number, driver: number, device: number, size?: number): void {
    this.setCommon(Common.queueSelect, 2, index);
    if (size !== undefined) this.setCommon(Common.queueSize, 2, size);
    const put = (register: number, address: number): void => {
      this.setCommon(register, 4, address % 2 ** 32);
      this.setCommon(register + 4, 4, Math.floor(address / 2 ** 32));
    };
    put(Common.queueDescLow, desc);
    put(Common.queueDriverLow, driver);
    put(Common.queueDeviceLow, device);
    this.setCommon(Common.queueEnable, 2, 1);
  }
  /** Through to DRIVER_OK with both queues in low RAM. */
  start(features?: bigint): void {
    this.begin(features);
    this.queue(0, 0x10_0000, 0x10_2000, 0x10_3000);
    this.queue(1, 0x11_0000, 0x11_2000, 0x11_3000, 32);
    this.status = 15;
  }
  notify(queue: number): void {
    this.mmio.write(this.structures.get(2)!.address + queue * this.notifyMultiplier, 2, queue);
  }
}
