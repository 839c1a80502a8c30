/**
 * The MC146818 real-time clock with its CMOS memory, at ports 0x70 and 0x71 (MC146818A datasheet). vCPU worker, machine
 * lock.
 *
 * The time bytes are worked out of the host clock at each read and kept in CMOS only while the driver holds SET (register
 * B bit 7), which freezes them; what it writes becomes an offset to the host clock. "Update in progress" is on for the
 * last 2 ms of each second, so a driver that waits for it to end waits at most that long.
 */
import { asBits, has } from './bits.js';
import { ByteDevice } from './byte-device.js';
import { advance, guestSeconds, interruptFlags, setGuestSeconds, updateRtcLine } from './rtc-events.js';
import {
  InterruptFlag,
  indexMask,
  RegisterA,
  RegisterB,
  RtcPort,
  RtcRegister,
  type RtcRegisters,
  validRam,
} from './rtc-registers.js';
import { loadTime, storeTime } from './rtc-time.js';
import type { SetLine } from './wires.js';

const updateMs = 2;

export interface RtcWires {
  readonly setLine: SetLine;
  /** The next interrupt may be due at another time than main thinks. */
  readonly wakeMain: () => void;
  /** Host time of day, milliseconds since 1970. */
  readonly now: () => number;
}

export class Rtc extends ByteDevice {
  readonly name = 'rtc';
  readonly #registers: RtcRegisters;
  readonly #wires: RtcWires;

  constructor(registers: RtcRegisters, wires: RtcWires) {
    super();
    this.#registers = registers;
    this.#wires = wires;
  }

  override readByte(offset: number): number {
    if (offset !== RtcPort.data) return 0xff; // the index cannot be read back
    const { cmos, index } = this.#registers;
    const register = index & indexMask;
    switch (register) {
      case RtcRegister.a:
        return (cmos[register]! & ~RegisterA.updateInProgress) | (this.#updating ? RegisterA.updateInProgress : 0);
      case RtcRegister.c:
        return this.#readFlags();
      case RtcRegister.d:
        return validRam;
      default:
        if (isTime(register)) this.#latchTime();
        return cmos[register]!;
    }
  }

  override writeByte(offset: number, value: number): void {
    const { cmos } = this.#registers;
    if (offset === RtcPort.index) {
      this.#registers.index = value;
      return;
    }
    const register = this.#registers.index & indexMask;
    switch (register) {
      case RtcRegister.a:
        this.#settle();
        cmos[register] = value & ~RegisterA.updateInProgress;
        this.#reschedule();
        break;
      case RtcRegister.b:
        this.#settle();
        this.#writeB(value);
        break;
      case RtcRegister.c:
      case RtcRegister.d:
        break; // read-only
      default:
        if (isTime(register)) this.#writeTime(register, value);
        else {
          if (isAlarm(register)) this.#settle(); // what the old alarm was good for
          cmos[register] = value;
          if (isAlarm(register)) this.#reschedule();
        }
    }
  }

  get #held(): boolean {
    return has(asBits<'RTC B'>(this.#registers.cmos[RtcRegister.b]!), RegisterB.set);
  }

  get #updating(): boolean {
    return !this.#held && this.#wires.now() % 1000 >= 1000 - updateMs;
  }

  #readFlags(): number {
    const { cmos } = this.#registers;
    this.#settle();
    const value = interruptFlags(this.#registers);
    cmos[RtcRegister.c] = 0;
    updateRtcLine(this.#registers, this.#wires.setLine);
    return value;
  }

  /** The current time, in the time bytes of CMOS. While the driver holds SET they are its own. */
  #latchTime(): void {
    const { cmos } = this.#registers;
    if (!this.#held) storeTime(cmos, guestSeconds(this.#registers, this.#wires.now()), cmos[RtcRegister.b]!);
  }

  #writeTime(register: number, value: number): void {
    const { cmos } = this.#registers;
    this.#latchTime();
    cmos[register] = value;
    if (!this.#held) this.#commitTime();
  }

  #commitTime(): void {
    const { cmos } = this.#registers;
    setGuestSeconds(this.#registers, this.#wires.now(), loadTime(cmos, cmos[RtcRegister.b]!));
    this.#reschedule();
  }

  /** SET turned on freezes the time as it is and, as on the chip, ends "update ended" interrupts. */
  #writeB(value: number): void {
    const { cmos } = this.#registers;
    const wasHeld = this.#held;
    const holds = has(asBits<'RTC B'>(value), RegisterB.set);
    if (holds && !wasHeld) {
      // In the format that the driver has just chosen: it writes next.
      storeTime(cmos, guestSeconds(this.#registers, this.#wires.now()), value);
    }
    cmos[RtcRegister.b] = holds ? value & ~InterruptFlag.updateEnded : value;
    if (wasHeld && !holds) this.#commitTime();
    else this.#reschedule();
  }

  #settle(): void {
    advance(this.#registers, this.#wires.now());
  }

  #reschedule(): void {
    updateRtcLine(this.#registers, this.#wires.setLine);
    if ((this.#registers.cmos[RtcRegister.b]! & InterruptFlag.all) === 0) return;
    Atomics.store(this.#registers.attention, 0, 1);
    this.#wires.wakeMain();
  }
}

/** Seconds, minutes, hours and 6 to 9; between the former are the alarm's. */
const isTime = (register: number): boolean =>
  (register <= RtcRegister.year && !isAlarm(register)) || register === RtcRegister.century;
const isAlarm = (register: number): boolean => register <= RtcRegister.hoursAlarm && (register & 1) === 1;
