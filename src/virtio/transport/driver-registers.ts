/**
 * What a driver's register accesses do, whatever transport carries them (virtio 1.2 §2, §3.1.1). vCPU worker, machine
 * lock.
 *
 * A transport maps its own offsets to these calls. Everything is checked here: the step in the status machine, queue
 * selection (trap T7), sizes, and that nothing changes once the queues are frozen (trap T5). A refused write changes
 * nothing and is reported as the driver's mistake; it never throws.
 */
import type { Wires } from '../../devices/wires.js';
import { hasFeature, isSubset, negotiatedFeatures, VIRTIO_F_VERSION_1 } from '../features.js';
import { type InterruptTarget, noVector, raiseConfig } from '../interrupt.js';
import { type VirtioQueueRegisters, type VirtioState, vectorCount } from '../registers.js';
import { driverStatus, refusal, Status } from '../status.js';
import { freezeQueues, isQueueSize, type RamContains } from './activation.js';
import {
  activate,
  clearDriverRegisters,
  clearLeftovers,
  isResetting,
  isServed,
  resettingStatus,
  stopDataPath,
} from './lifecycle.js';

const noQueue = 0xffff;

/** What the transport itself has to do at the two ends of a driver's time. */
export interface TransportHooks {
  /** The data path has been told to start or to stop: doorbells are to be registered or removed. */
  servedChanged(): void;
}

export class DriverRegisters {
  readonly state: VirtioState;
  readonly #target: InterruptTarget;
  readonly #wires: Wires;
  readonly #ramContains: RamContains;
  readonly #hooks: TransportHooks;

  constructor(target: InterruptTarget, wires: Wires, ramContains: RamContains, hooks: TransportHooks) {
    this.state = target.state;
    this.#target = target;
    this.#wires = wires;
    this.#ramContains = ramContains;
    this.#hooks = hooks;
  }

  /** The driver may not change anything but status: a reset is under way. */
  get locked(): boolean {
    return isResetting(this.state);
  }

  get status(): number {
    const { device } = this.state;
    if (isResetting(this.state)) return resettingStatus;
    if (device.status === 0 || Atomics.load(device.needsReset, 0) === 0) return device.status;
    return device.status | Status.needsReset;
  }

  set status(value: number) {
    if (value === 0) {
      this.#reset();
      return;
    }
    const { device } = this.state;
    const before = device.status;
    const mistake = this.locked ? 'driver: writes status during a reset' : refusal(before, value);
    if (mistake !== undefined) {
      this.#mistake(mistake);
      return;
    }
    const set = value & driverStatus & ~before;
    if ((set & Status.acknowledge) !== 0) clearLeftovers(this.state);
    if ((set & Status.featuresOk) !== 0 && !this.#featuresAcceptable()) {
      // Without the bit the driver reads that its features were refused (§3.1.1 step 6).
      device.status = value & driverStatus & ~(Status.featuresOk | Status.driverOk);
      return;
    }
    device.status = value & driverStatus;
    if ((set & Status.driverOk) !== 0) this.#activate();
  }

  /** Feature word `select` that the device offers; there are two. */
  offeredFeatures(select: number): number {
    return this.state.shape.features[select] ?? 0;
  }

  driverFeatures(select: number): number {
    const { device } = this.state;
    return select === 0 ? device.driverFeatures0 : select === 1 ? device.driverFeatures1 : 0;
  }

  setDriverFeatures(select: number, value: number): void {
    const { device } = this.state;
    if ((device.status & Status.featuresOk) !== 0) this.#mistake('driver: changes features after FEATURES_OK');
    else if (select === 0) device.driverFeatures0 = value;
    else if (select === 1) device.driverFeatures1 = value;
    else if (value !== 0) this.#mistake('driver: accepts features beyond bit 63');
  }

  /** A vector that the function has, or none (§4.1.5.1.2.1). */
  acceptableVector(vector: number): number {
    return vector < vectorCount(this.state.shape) ? vector : noVector;
  }

  /** Any number: one that no queue has selects none (trap T7), also after it was cut to the register's width. */
  selectQueue(index: number): void {
    this.state.device.queueSelect = Math.min(index, noQueue);
  }

  /** The queue that `queueSelect` names; undefined if there is none. */
  get selectedQueue(): VirtioQueueRegisters | undefined {
    return this.state.queues[this.state.device.queueSelect];
  }

  /** The selected queue if its size and addresses may still be written. */
  get configurableQueue(): VirtioQueueRegisters | undefined {
    const queue = this.selectedQueue;
    if (queue === undefined) this.#mistake('driver: configures a queue that does not exist');
    else if (queue.enabled !== 0) this.#mistake('driver: changes a queue that is enabled');
    else if ((this.state.device.status & Status.driverOk) !== 0)
      this.#mistake('driver: changes a queue after DRIVER_OK');
    else return queue;
    return undefined;
  }

  setQueueSize(size: number): void {
    const queue = this.configurableQueue;
    if (queue === undefined) return;
    if (isQueueSize(size, this.state.shape.queueSizes[this.state.device.queueSelect]!)) queue.size = size;
    else this.#mistake('driver: asks for a queue size that is not a power of two within the largest');
  }

  /** §4.1.4.3.2: a driver must not write 0. */
  enableQueue(value: number): void {
    if (value !== 1) {
      this.#mistake('driver: writes something other than 1 to enable a queue');
      return;
    }
    const queue = this.configurableQueue;
    if (queue !== undefined) queue.enabled = 1;
  }

  /**
   * virtio-mmio's QueueReady of 0 (§4.2.2.2). The queues of a device that runs are frozen and served until its reset, so
   * then it is refused, and reads back as refused.
   */
  disableQueue(): void {
    const queue = this.selectedQueue;
    if (queue === undefined || queue.enabled === 0) return;
    if ((this.state.device.status & Status.driverOk) !== 0) this.#mistake('driver: stops a single queue in use');
    else queue.enabled = 0;
  }

  /** A doorbell that arrived as a register write: before its ioeventfd is there, or through the PCI access window. */
  notify(index: number): void {
    const doorbell = this.#target.descriptors.doorbells[index];
    const queue = this.state.queues[index];
    if (doorbell === undefined || queue === undefined) this.#mistake('driver: notifies a queue that does not exist');
    else if (isServed(this.state) && queue.frozenSize !== 0) this.#wires.ring(doorbell);
    // A late doorbell after a reset is nobody's mistake.
  }

  #featuresAcceptable(): boolean {
    const accepted = negotiatedFeatures(this.state.device);
    if (!isSubset(accepted, this.state.shape.features)) {
      this.#mistake('driver: accepts features that were not offered');
      return false;
    }
    if (hasFeature(accepted, VIRTIO_F_VERSION_1)) return true;
    this.#mistake('driver: does not accept VERSION_1, legacy drivers are not served');
    return false;
  }

  #activate(): void {
    const { device } = this.state;
    const mistake = freezeQueues(this.state, this.#ramContains);
    if (mistake === undefined && activate(this.state)) {
      this.#wires.wakeDataPath();
      this.#hooks.servedChanged();
      return;
    }
    this.#mistake(mistake ?? 'driver: starts a device that has not stopped');
    Atomics.store(device.needsReset, 0, 1);
    const irqfd = raiseConfig(this.#target); // §2.1.2: DEVICE_NEEDS_RESET is announced once DRIVER_OK is set
    if (irqfd >= 0) this.#wires.ring(irqfd);
  }

  #reset(): void {
    const stopping = stopDataPath(this.state);
    clearDriverRegisters(this.state);
    this.#target.line.settle();
    if (!stopping) return;
    this.#wires.wakeDataPath();
    this.#hooks.servedChanged();
  }

  #mistake(message: string): void {
    this.#wires.warn(this.state.shape.name, message);
  }
}
