/**
 * The virtio-mmio transport: a virtio device as a page of registers and an edge interrupt (virtio 1.2 §4.2). vCPU worker,
 * machine lock.
 *
 * It knows nothing of disks or networks, and shares everything but the register map with virtio-pci. What differs is the
 * reset: a driver writes 0 to status and goes on without looking, so the vCPU that wrote is held back until the data path
 * has let go of guest memory (contract §2.7).
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { maxVirtioMmio, virtioMmioPage } from '../../devices/memory-map.js';
import type { TopologyTask, Wires } from '../../devices/wires.js';
import { TsvmmError } from '../../errors.js';
import type { InterruptTarget } from '../interrupt.js';
import { Lifecycle, type VirtioShape } from '../registers.js';
import type { RamContains } from './activation.js';
import { DeviceConfig } from './device-config.js';
import { DoorbellSet, Doorbells, type IoEventFds } from './doorbells.js';
import { DriverRegisters } from './driver-registers.js';
import { isResetting } from './lifecycle.js';
import { MmioRegister, MmioRegisters, mmioConfigOffset } from './mmio-registers.js';

/** A queue index is a 16-bit number in machine state, and all ones names none. */
const maxQueues = 0xffff;
const maxConfig = virtioMmioPage - mmioConfigOffset;

/** Refuses devices that this transport has no room for. */
export function checkMmioDevices(shapes: readonly VirtioShape[]): void {
  if (shapes.length > maxVirtioMmio) {
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `${shapes.length} devices, but there are interrupt lines for ${maxVirtioMmio} with transport mmio`,
      { hint: "give the machine fewer disks, or use transport: 'pci'" },
    );
  }
  const large = shapes.find(({ queueSizes, configSize }) => queueSizes.length > maxQueues || configSize > maxConfig);
  if (large === undefined) return;
  throw new TsvmmError('ERR_TSVMM_CONFIG', `${large.name}: too many queues or too large a configuration`, {
    hint: `a virtio-mmio device has at most ${maxQueues} queues and ${maxConfig} bytes of configuration`,
  });
}

export interface VirtioMmioEnvironment {
  readonly target: InterruptTarget;
  /** Guest-physical address of its registers. */
  readonly address: number;
  /** Doorbell addresses that the kernel has, in machine state: see `Doorbells`. */
  readonly assignedDoorbells: Uint32Array;
  readonly wires: Wires;
  readonly ramContains: RamContains;
  readonly ioEventFds: IoEventFds;
}

export class VirtioMmio implements BusDevice {
  readonly name: string;
  /** Gives the kernel its doorbells. */
  readonly doorbells: TopologyTask;
  readonly #control: MmioRegisters;
  readonly #config: DeviceConfig;

  constructor(environment: VirtioMmioEnvironment) {
    const { target, address, wires, ramContains } = environment;
    const { state } = target;
    this.name = state.shape.name;
    const place = { decoded: true, start: address, size: virtioMmioPage, offset: MmioRegister.queueNotify, stride: 0 };
    const doorbells = new DoorbellSet(); // its place is its own for good
    doorbells.add(new Doorbells(state, environment.assignedDoorbells, environment.ioEventFds, () => place));
    this.doorbells = doorbells.task;
    const registers = new DriverRegisters(target, wires, ramContains, {
      servedChanged() {
        wires.afterwards(doorbells.task);
        if (isResetting(state)) wires.hold(state.device.lifecycle, Lifecycle.resetting);
      },
    });
    this.#control = new MmioRegisters(registers, wires);
    this.#config = new DeviceConfig(state);
  }

  read(offset: number, size: AccessSize): number {
    if (offset < mmioConfigOffset) return this.#control.read(offset, size);
    return this.#config.read(offset - mmioConfigOffset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset < mmioConfigOffset) this.#control.write(offset, size, value);
    else this.#config.write(offset - mmioConfigOffset, size, value);
  }
}
