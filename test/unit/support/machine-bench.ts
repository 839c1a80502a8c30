/**
 * A machine without KVM: machine state, memory, eventfds and mock drivers that do what transport and guest do to a data
 * path. For tests of the I/O worker.
 */
import { native } from '../../../src/host/addon.js';
import { closeFd, eventFd } from '../../../src/host/system.js';
import { layoutControl, MachineControlMap } from '../../../src/memory/control.js';
import type { IoAttachment, IoDeviceSpec } from '../../../src/threads/io-protocol.js';
import { allocateCounters } from '../../../src/virtio/device-counters.js';
import { RingFeature } from '../../../src/virtio/queue/ring-format.js';
import {
  bindVirtio,
  Lifecycle,
  type VirtioDescriptors,
  type VirtioShape,
  type VirtioState,
} from '../../../src/virtio/registers.js';
import { layoutPlatform, resetPlatform } from '../../../src/virtio/transport/platform-layout.js';
import { MockDriver } from './mock-driver.js';
import { mappedRam, type TestRam } from './test-ram.js';

export interface BenchDevice {
  readonly shape: VirtioShape;
  readonly spec: IoDeviceSpec;
  readonly config?: Uint8Array;
}

const ramSize = 0x80_0000;

export class MachineBench {
  readonly attachment: IoAttachment;
  readonly ram: TestRam;
  readonly states: readonly VirtioState[];
  readonly descriptors: readonly VirtioDescriptors[];
  readonly #fds: number[] = [];
  /** Where the next driver may put its rings and buffers. */
  #base = 0x1000;

  constructor(name: string, devices: readonly BenchDevice[], extraState = 0) {
    const control = layoutControl(1, 0);
    const shapes = devices.map(({ shape }) => shape);
    const platform = layoutPlatform(
      { cpus: 1, ram: ramSize, physicalBits: 40, transport: 'pci', virtio: shapes, debugExit: true },
      Math.ceil((control.end + extraState) / 8) * 8,
    );
    const state = new SharedArrayBuffer(platform.end);
    resetPlatform(state, platform);
    this.ram = mappedRam(ramSize);
    this.states = platform.virtio.map((layout) => bindVirtio(state, layout));
    this.descriptors = shapes.map((shape) => ({
      doorbells: shape.queueSizes.map(() => this.#event()),
      vectors: Array.from({ length: shape.queueSizes.length + 1 }, () => this.#event()),
      gsi: 24,
    }));
    devices.forEach(({ config }, i) => {
      if (config !== undefined) this.states[i]!.config.set(config);
    });
    this.attachment = {
      name,
      vmFd: -1,
      state,
      platform,
      descriptors: { virtio: this.descriptors },
      machineControl: control.machine,
      regions: this.ram.regions,
      mainDoorbell: this.#event(),
      ioDoorbell: this.#event(),
      devices: devices.map(({ spec }) => spec),
      revived: false,
      counters: allocateCounters(devices.length),
    };
  }

  /** Where `extraState` bytes of machine state are. */
  static readonly extraBase = layoutControl(1, 0).end;

  /** The driver of a device gets as far as DRIVER_OK: MSI-X on, vectors open, queues frozen, the data path told. */
  start(device: number, features: readonly number[] = []): MockDriver[] {
    const state = this.states[device]!;
    const bits = [RingFeature.indirectDescriptors, RingFeature.eventIndex, ...features];
    state.device.driverFeatures0 = bits.reduce((sum, bit) => sum + 2 ** bit, 0);
    Atomics.store(state.device.busMaster, 0, 1);
    Atomics.store(state.device.msixControl, 0, 1);
    for (let word = 3; word < state.msixTable.length; word += 4) Atomics.store(state.msixTable, word, 0);
    const drivers = state.queues.map((registers, index) => {
      const room = 0x10_0000;
      const driver = new MockDriver(this.ram, {
        size: state.shape.queueSizes[index]!,
        base: this.#base,
        room,
        eventIndex: true,
      });
      this.#base += room;
      driver.configure(registers);
      registers.vector = index + 1;
      registers.nextAvail = registers.nextUsed = registers.signalledUsed = registers.signalledUsedValid = 0;
      return driver;
    });
    state.device.configVector = 0;
    if (!this.exchange(device, Lifecycle.inactive, Lifecycle.activating)) throw new Error('the device is not inactive');
    this.wakeDataPath();
    return drivers;
  }

  /** The driver writes 0 to status. */
  reset(device: number): void {
    if (!this.exchange(device, Lifecycle.active, Lifecycle.resetting))
      this.exchange(device, Lifecycle.activating, Lifecycle.resetting);
    this.#base = 0x1000;
    this.wakeDataPath();
  }

  lifecycle(device: number): number {
    return Atomics.load(this.states[device]!.device.lifecycle, 0);
  }

  needsReset(device: number): boolean {
    return Atomics.load(this.states[device]!.device.needsReset, 0) === 1;
  }

  kick(device: number, queue = 0): void {
    native().ring(this.descriptors[device]!.doorbells[queue]!);
  }

  wakeDataPath(): void {
    native().ring(this.attachment.ioDoorbell);
  }

  /** How often the vector of a queue, or of configuration (-1), was rung since the last call. */
  interrupts(device: number, queue = 0): number {
    return count(this.descriptors[device]!.vectors[queue + 1]!);
  }

  mainRings(): number {
    Atomics.store(MachineControlMap.over(this.attachment.state, this.attachment.machineControl).mainRung, 0, 0);
    return count(this.attachment.mainDoorbell);
  }

  exchange(device: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.states[device]!.device.lifecycle, 0, from, to) === from;
  }

  close(): void {
    for (const fd of this.#fds) closeFd(fd);
    this.ram.close();
  }

  #event(): number {
    const fd = eventFd();
    if (fd < 0) throw new Error(`eventfd: ${fd}`);
    this.#fds.push(fd);
    return fd;
  }
}

function count(fd: number): number {
  const counter = new BigUint64Array(1);
  return native().syscall(0, fd, counter, 8) === 8 ? Number(counter[0]) : 0;
}
