/**
 * The virtio-pci transport: a virtio device as a PCI function (virtio 1.2 §4.1). vCPU worker, machine lock.
 *
 * It knows nothing of disks or networks: it wires the structures in BAR 0 and the capabilities to the device's shared
 * state, follows the command register, and keeps the kernel's doorbells where the BAR is.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { has } from '../../devices/bits.js';
import type { FunctionBehaviour } from '../../devices/pci/function.js';
import { Command, command, type PciFunctionRegisters } from '../../devices/pci/registers.js';
import type { ConfigTemplate } from '../../devices/pci/template.js';
import type { TopologyTask, Wires } from '../../devices/wires.js';
import { type InterruptTarget, isMsixEnabled } from '../interrupt.js';
import type { RamContains } from './activation.js';
import { BarOffset, doorbellStride, VirtioBar } from './bar.js';
import { CommonConfig } from './common-config.js';
import { DeviceConfig } from './device-config.js';
import { type DoorbellSet, Doorbells, type IoEventFds } from './doorbells.js';
import { DriverRegisters } from './driver-registers.js';
import { isServed } from './lifecycle.js';
import { Msix } from './msix.js';
import { PciAccess } from './pci-access.js';
import { capabilityOrder } from './pci-capabilities.js';

/** Message control follows the capability's header. */
const messageControlField = 2;

export interface VirtioPciEnvironment {
  readonly target: InterruptTarget;
  readonly template: ConfigTemplate;
  readonly function: PciFunctionRegisters;
  /** Doorbell addresses that the kernel has, in machine state: see `Doorbells`. */
  readonly assignedDoorbells: Uint32Array;
  /** Of all functions of the bus. */
  readonly doorbells: DoorbellSet;
  readonly wires: Wires;
  readonly ramContains: RamContains;
  readonly ioEventFds: IoEventFds;
  /** Gives the kernel the interrupt routes of all devices. */
  readonly rebuildRoutes: () => void;
  /** Where BAR 0 is decoded, or 0. */
  readonly barAddress: () => number;
}

export class VirtioPci implements FunctionBehaviour {
  readonly bars: readonly BusDevice[];
  readonly doorbells: Doorbells;
  readonly #doorbellTask: TopologyTask;
  readonly #target: InterruptTarget;
  readonly #wires: Wires;
  readonly #registers: DriverRegisters;
  readonly #msix: Msix;
  readonly #access: PciAccess;
  readonly #config: Uint8Array;
  readonly #messageControl: number;

  constructor(environment: VirtioPciEnvironment) {
    const { target, template, wires } = environment;
    const { state, line } = target;
    this.#target = target;
    this.#wires = wires;
    this.#doorbellTask = environment.doorbells.task;
    this.#config = environment.function.config;
    this.#messageControl = template.capabilities[capabilityOrder.msix]! + messageControlField;
    this.#msix = new Msix(state, target.descriptors, wires, environment.rebuildRoutes);
    const barSize = template.spec.bars[0]!.size;
    this.doorbells = new Doorbells(state, environment.assignedDoorbells, environment.ioEventFds, () => {
      const start = environment.barAddress();
      const decoded = has(command(environment.function), Command.memory);
      return { decoded, start, size: barSize, offset: BarOffset.doorbells, stride: doorbellStride };
    });
    environment.doorbells.add(this.doorbells);
    this.#registers = new DriverRegisters(target, wires, environment.ramContains, {
      servedChanged: () => wires.afterwards(this.#doorbellTask),
    });
    const bar = new VirtioBar({
      state,
      common: new CommonConfig(this.#registers, wires),
      config: new DeviceConfig(state),
      registers: this.#registers,
      msix: this.#msix,
      line,
    });
    this.bars = [bar];
    const accessAt = template.capabilities[capabilityOrder.pci]!;
    this.#access = new PciAccess(this.#config, accessAt, bar, barSize);
  }

  /** PCI status bit 3: ISR not zero, while MSI-X is off (virtio 1.2 §4.1.4.5.1). */
  interruptPending(): boolean {
    return Atomics.load(this.#target.state.device.isr, 0) !== 0 && !isMsixEnabled(this.#target.state);
  }

  commandChanged(now: Command, before: Command): void {
    const { device } = this.#target.state;
    Atomics.store(device.intxDisabled, 0, has(now, Command.interruptDisable) ? 1 : 0);
    if (has(now, Command.interruptDisable) !== has(before, Command.interruptDisable)) this.#target.line.settle();
    Atomics.store(device.busMaster, 0, has(now, Command.busMaster) ? 1 : 0);
    if (has(now, Command.busMaster) && !has(before, Command.busMaster)) this.#resume();
  }

  capabilityRead(offset: number, size: AccessSize): void {
    this.#access.beforeRead(offset, size);
  }

  capabilityWritten(offset: number, size: AccessSize): void {
    this.#access.afterWrite(offset, size);
    if (offset < this.#messageControl + 2 && offset + size > this.#messageControl) this.#messageControlWritten();
  }

  barsChanged(): void {
    if (this.doorbells.concerned) this.#wires.afterwards(this.#doorbellTask);
  }

  #messageControlWritten(): void {
    const at = this.#messageControl;
    if (this.#msix.setControl(this.#config[at]! | (this.#config[at + 1]! << 8))) this.#target.line.settle();
  }

  /** Bus mastering is back: what waited for it goes on, messages and queues. */
  #resume(): void {
    this.#msix.openAll();
    if (!isServed(this.#target.state)) return;
    for (let queue = 0; queue < this.#target.state.queues.length; queue++) this.#registers.notify(queue);
  }
}
