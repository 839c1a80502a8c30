/**
 * ACPI fixed hardware: PM1 event and control registers and the power management timer (ACPI 6.5 §4.8.3). vCPU worker,
 * machine lock; the power button from main, with the lock held.
 *
 * SCI_EN is on from the start, as there is no firmware to hand over from. There are no general-purpose events: the tables
 * announce no GPE block. The timer is the host's monotonic clock and an offset, which a machine that goes on elsewhere has; its
 * carry status bit is never set, because no driver is told that it could be (its interrupt is worth nothing beside the local
 * APIC's).
 */
import type { AccessSize, BusDevice } from '../bus/bus.js';
import { type RegistersOf, registerMap, u8, u16, u32 } from '../memory/registers.js';
import { asBits, bit, has, join } from './bits.js';
import { acpiSleepTypeS5, gsi } from './memory-map.js';
import { MachineEvent, type SetLine, type Wires } from './wires.js';

/** Status and enable bits share places (§4.8.3.1.1 and .2). */
const Pm1 = {
  timer: bit<'PM1'>(0),
  global: bit<'PM1'>(5),
  powerButton: bit<'PM1'>(8),
  rtc: bit<'PM1'>(10),
} as const;
const pm1Enables = join(Pm1.timer, Pm1.global, Pm1.powerButton, Pm1.rtc);

/** §4.8.3.2.1. */
const Control = { sciEnable: bit<'PM1 control'>(0), sleepEnable: bit<'PM1 control'>(13) } as const;
const sleepTypeShift = 10;
const sleepTypeMask = 0x7;
/** What is kept of a write: the sleep type. SCI_EN is read-only and SLP_EN write-only. */
const controlKept = sleepTypeMask << sleepTypeShift;

export const AcpiPmMap = registerMap('acpi-pm', {
  status: u16,
  enable: u16,
  control: u16,
  /** Level last given to the SCI. */
  line: u8,
  /** Ticks of the timer beyond those of the host's clock; below `timerModulus`. */
  timerOffset: u32,
});
export type AcpiPmRegisters = RegistersOf<typeof AcpiPmMap>;

export function resetAcpiPm(buffer: ArrayBufferLike, base: number): void {
  const registers = AcpiPmMap.over(buffer, base);
  registers.status = 0;
  registers.enable = 0;
  registers.control = 0;
  registers.line = 0;
  registers.timerOffset = 0;
}

/** The SCI is on while a status bit and its enable bit are (§4.8.3.1). */
export function updateSci(registers: AcpiPmRegisters, setLine: SetLine): void {
  const level = (registers.status & registers.enable) !== 0 ? 1 : 0;
  if (level === registers.line) return;
  registers.line = level;
  setLine(gsi.sci, level);
}

/** Main, with the machine lock held. A driver that has not enabled the button finds its status when it does. */
export function pressPowerButton(registers: AcpiPmRegisters, setLine: SetLine): void {
  registers.status |= Pm1.powerButton;
  updateSci(registers, setLine);
}

const widthMask = (size: AccessSize): number => (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff);
const shifted = (value: number, offset: number): number => (value << (8 * offset)) >>> 0;

/** PM1a event block: status (write 1 to clear) and enable, 16 bits each; any width and alignment inside the block. */
export class Pm1EventBlock implements BusDevice {
  readonly name = 'acpi events';
  readonly #registers: AcpiPmRegisters;
  readonly #setLine: SetLine;

  constructor(registers: AcpiPmRegisters, setLine: SetLine) {
    this.#registers = registers;
    this.#setLine = setLine;
  }

  read(offset: number, size: AccessSize): number {
    const { status, enable } = this.#registers;
    return ((((enable << 16) | status) >>> (8 * offset)) & widthMask(size)) >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    const registers = this.#registers;
    const written = shifted(widthMask(size), offset);
    const bits = shifted(value, offset);
    registers.status &= ~(bits & written & 0xffff);
    const enableWritten = written >>> 16;
    registers.enable = ((registers.enable & ~enableWritten) | ((bits >>> 16) & enableWritten)) & pm1Enables;
    updateSci(registers, this.#setLine);
  }
}

/** PM1a control: sleep type and the bit that enters it. */
export class Pm1ControlBlock implements BusDevice {
  readonly name = 'acpi control';
  readonly #registers: AcpiPmRegisters;
  readonly #wires: Wires;

  constructor(registers: AcpiPmRegisters, wires: Wires) {
    this.#registers = registers;
    this.#wires = wires;
  }

  read(offset: number, size: AccessSize): number {
    const value = this.#registers.control | Control.sciEnable;
    return (value >>> (8 * offset)) & widthMask(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const written = shifted(widthMask(size), offset);
    const bits = shifted(value, offset) & written;
    const control = (this.#registers.control & ~written) | bits;
    this.#registers.control = control & controlKept;
    if (!has(asBits<'PM1 control'>(bits), Control.sleepEnable)) return;
    if (((control >>> sleepTypeShift) & sleepTypeMask) === acpiSleepTypeS5) this.#wires.raise(MachineEvent.powerOff, 0);
    else this.#wires.warn('acpi', 'driver: enters a sleep state that the tables do not offer');
  }
}

/** Ticks per nanosecond of the timer's 3.579545 MHz (§4.8.3.3). */
const ticksPerNs = 3_579_545 / 1e9;
/** FADT flag TMR_VAL_EXT is clear. */
const timerModulus = 2 ** 24;

/** Ticks that pass in `ns`. */
const ticksOf = (ns: number): number => Math.floor(ns * ticksPerNs) % timerModulus;

/** What the timer shows at host time `ns`. */
export const timerTicks = ({ timerOffset }: AcpiPmRegisters, ns: number): number =>
  (ticksOf(ns) + (timerOffset % timerModulus)) % timerModulus;

/** The timer goes on at host time `ns` from `ticks`, which were `elapsedNs` ago. */
export function setTimer(registers: AcpiPmRegisters, ns: number, ticks: number, elapsedNs: number): void {
  registers.timerOffset = (timerModulus + (ticks % timerModulus) + ticksOf(elapsedNs) - ticksOf(ns)) % timerModulus;
}

export class PmTimer implements BusDevice {
  readonly name = 'acpi timer';
  readonly #registers: AcpiPmRegisters;
  readonly #monotonicNs: () => number;

  /** `monotonicNs` is one clock for all vCPU threads. */
  constructor(registers: AcpiPmRegisters, monotonicNs: () => number) {
    this.#registers = registers;
    this.#monotonicNs = monotonicNs;
  }

  read(offset: number, size: AccessSize): number {
    return (timerTicks(this.#registers, this.#monotonicNs()) >>> (8 * offset)) & widthMask(size);
  }

  write(): void {} // read-only
}
