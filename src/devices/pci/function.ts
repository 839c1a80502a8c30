/**
 * One PCI function: its configuration space and the rules of its standard registers (PCI Local Bus 3.0 §6.2). vCPU
 * worker, machine lock.
 *
 * Both ways into configuration space, ports and ECAM, end here, on the same bytes. What a function does beyond its header
 * is its `FunctionBehaviour`.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { has } from '../bits.js';
import { commitIfWhole, commitOnDecode, noteBarWrite } from './bars.js';
import {
  barsEnd,
  Command,
  command,
  configSize,
  headerSize,
  type PciBusRegisters,
  type PciFunctionRegisters,
  PciRegister,
  Status,
} from './registers.js';
import type { ConfigTemplate } from './template.js';

export interface FunctionBehaviour {
  /** The device behind each BAR of the specification, in its order. */
  readonly bars: readonly BusDevice[];
  /** Interrupt Status: an INTx is asked for, whether or not Interrupt Disable lets it out. */
  interruptPending(): boolean;
  commandChanged(now: Command, before: Command): void;
  /** Bytes of the capability area are about to be read. */
  capabilityRead(offset: number, size: AccessSize): void;
  /** Writable bits of the capability area may have changed. */
  capabilityWritten(offset: number, size: AccessSize): void;
  /** A BAR of any function of the bus has moved, appeared or gone. */
  barsChanged(): void;
}

export class PciFunction {
  readonly template: ConfigTemplate;
  readonly registers: PciFunctionRegisters;
  readonly behaviour: FunctionBehaviour;
  readonly #bus: PciBusRegisters;
  readonly #onBarsChanged: () => void;

  constructor(
    template: ConfigTemplate,
    registers: PciFunctionRegisters,
    behaviour: FunctionBehaviour,
    bus: PciBusRegisters,
    onBarsChanged: () => void,
  ) {
    this.template = template;
    this.registers = registers;
    this.behaviour = behaviour;
    this.#bus = bus;
    this.#onBarsChanged = onBarsChanged;
  }

  /** Any offset, any alignment; what lies beyond the 256 bytes reads as all ones. */
  readConfig(offset: number, size: AccessSize): number {
    const { config } = this.registers;
    if (offset >= headerSize && offset < configSize) this.behaviour.capabilityRead(offset, size);
    let value = 0;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      let byte = at < configSize ? config[at]! : 0xff;
      if (at === PciRegister.status && this.behaviour.interruptPending()) byte |= Status.interrupt;
      value |= byte << (8 * i);
    }
    return value >>> 0;
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    const { config } = this.registers;
    const { writable } = this.template;
    const before = command(this.registers);
    for (let i = 0; i < size && offset + i < configSize; i++) {
      const mask = writable[offset + i]!;
      config[offset + i] = (config[offset + i]! & ~mask) | ((value >>> (8 * i)) & mask);
    }
    const end = offset + size;
    let changed = false;
    if (offset < barsEnd && end > PciRegister.bars) changed = this.#barsWritten(offset, size, value);
    const now = command(this.registers);
    if (now !== before) changed = this.#commandChanged(now, before) || changed;
    if (changed) {
      Atomics.add(this.#bus.generation, 0, 1);
      this.#onBarsChanged();
    }
    if (end > headerSize && offset < configSize) this.behaviour.capabilityWritten(offset, size);
  }

  #commandChanged(now: Command, before: Command): boolean {
    const decode = has(now, Command.memory);
    if (decode && !has(before, Command.memory)) {
      const { bars } = this.template.spec;
      for (let i = 0; i < bars.length; i++) commitOnDecode(this.registers, bars[i]!);
    }
    this.behaviour.commandChanged(now, before);
    return decode !== has(before, Command.memory);
  }

  /** True if a BAR in use moved. */
  #barsWritten(offset: number, size: AccessSize, value: number): boolean {
    const { bars } = this.template.spec;
    const decode = has(command(this.registers), Command.memory);
    let moved = false;
    for (let i = 0; i < bars.length; i++) {
      const bar = bars[i]!;
      for (let register = bar.index; register < bar.index + bar.width / 32; register++) {
        const at = PciRegister.bars + 4 * register;
        if (offset < at + 4 && offset + size > at) {
          noteBarWrite(this.registers, bar, register, this.#rawBar(at, offset, size, value));
        }
      }
      if (decode && commitIfWhole(this.registers, bar)) moved = true;
    }
    return moved;
  }

  /** A BAR register as the driver meant it: the bytes it wrote over those that were there. */
  #rawBar(at: number, offset: number, size: AccessSize, value: number): number {
    const { config } = this.registers;
    let raw = 0;
    for (let i = 0; i < 4; i++) {
      const from = at + i - offset;
      const byte = from >= 0 && from < size ? (value >>> (8 * from)) & 0xff : config[at + i]!;
      raw |= byte << (8 * i);
    }
    return raw >>> 0;
  }
}
