/**
 * PCI configuration mechanism 1, ports 0xCF8 to 0xCFF (PCI Local Bus 3.0 §3.2.2.3.2), and the reset control register at
 * 0xCF9 that chipsets put among them. vCPU worker, machine lock.
 *
 * Only a 4-byte access to 0xCF8 is the address register; Linux probes for that by writing bytes there.
 */
import type { AccessSize, BusDevice } from '../../bus/bus.js';
import { allOnes } from '../../bus/bus.js';
import { asBits, bit, has } from '../bits.js';
import { MachineEvent, type Wires } from '../wires.js';
import type { PciBus } from './bus.js';
import type { PciBusRegisters } from './registers.js';

const addressEnable = 0x8000_0000;
/** Enable, bus, device, function, register; bits 24-30 and 0-1 read as zero. */
const addressWritable = 0x80ff_fffc;
const resetControlOffset = 1;

/** Bit 1 chooses between a processor and a machine reset, which are one here; the rise of bit 2 does it. */
const Reset = { systemReset: bit<'reset control'>(1), resetCpu: bit<'reset control'>(2) } as const;
const resetWritable = Reset.systemReset | Reset.resetCpu;

/** Port 0xCF8. */
export class PciConfigAddress implements BusDevice {
  readonly name = 'pci config address';
  readonly #registers: PciBusRegisters;
  readonly #wires: Wires;

  constructor(registers: PciBusRegisters, wires: Wires) {
    this.#registers = registers;
    this.#wires = wires;
  }

  read(offset: number, size: AccessSize): number {
    if (offset === 0 && size === 4) return this.#registers.configAddress;
    if (offset === resetControlOffset && size === 1) return this.#registers.resetControl;
    return allOnes(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === 0 && size === 4) this.#registers.configAddress = (value & addressWritable) >>> 0;
    if (offset === resetControlOffset && size === 1) this.#writeReset(value);
  }

  #writeReset(value: number): void {
    const before = asBits<'reset control'>(this.#registers.resetControl);
    this.#registers.resetControl = value & resetWritable;
    if (!has(before, Reset.resetCpu) && has(asBits<'reset control'>(value), Reset.resetCpu)) {
      this.#wires.raise(MachineEvent.reset, 0);
    }
  }
}

/** Ports 0xCFC to 0xCFF: the register that the address names, at the byte offset of the access. */
export class PciConfigData implements BusDevice {
  readonly name = 'pci config data';
  readonly #registers: PciBusRegisters;
  readonly #bus: PciBus;

  constructor(registers: PciBusRegisters, bus: PciBus) {
    this.#registers = registers;
    this.#bus = bus;
  }

  read(offset: number, size: AccessSize): number {
    const address = this.#registers.configAddress;
    if (address < addressEnable) return allOnes(size);
    const register = (address & 0xfc) + offset;
    return this.#bus.readConfig((address >>> 16) & 0xff, (address >>> 11) & 0x1f, (address >>> 8) & 7, register, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const address = this.#registers.configAddress;
    if (address < addressEnable) return;
    const register = (address & 0xfc) + offset;
    this.#bus.writeConfig((address >>> 16) & 0xff, (address >>> 11) & 0x1f, (address >>> 8) & 7, register, size, value);
  }
}
