/**
 * The MC146818 real-time clock and its CMOS memory: registers and where they live in machine state (MC146818A datasheet;
 * the meaning of bytes from 0x10 on is that of PC firmware). Any thread.
 */
import { bytes, type RegistersOf, registerMap, u8, u32, words } from '../memory/registers.js';
import { type Bits, bit } from './bits.js';
import { rtcCenturyRegister } from './memory-map.js';

export const RtcPort = { index: 0, data: 1 } as const;
/** Bit 7 of the index port masks NMI; the rest is the index. */
export const indexMask = 0x7f;

export const RtcRegister = {
  seconds: 0x00,
  secondsAlarm: 0x01,
  minutes: 0x02,
  minutesAlarm: 0x03,
  hours: 0x04,
  hoursAlarm: 0x05,
  dayOfWeek: 0x06,
  dayOfMonth: 0x07,
  month: 0x08,
  year: 0x09,
  a: 0x0a,
  b: 0x0b,
  c: 0x0c,
  d: 0x0d,
  century: rtcCenturyRegister,
} as const;

/** What PC firmware leaves in CMOS about the machine. */
export const Cmos = {
  equipment: 0x14,
  baseMemory: 0x15,
  extendedMemory: 0x17,
  extendedMemoryAgain: 0x30,
  /** Above 16 MiB, below 4 GiB, in 64 KiB units; QEMU's convention, which SeaBIOS reads. */
  memoryAbove16M: 0x34,
  /** Above 4 GiB, 24 bits, in 64 KiB units. */
  memoryAbove4G: 0x5b,
  /** Processors less one. */
  processors: 0x5f,
} as const;
/** Mathematics coprocessor and pointing device of INT 11h, no floppy drive. */
export const equipmentByte = 0x06;

export type RegisterA = Bits<'RTC A'>;
export const RegisterA = { updateInProgress: bit<'RTC A'>(7) } as const;
/** Divider for a 32.768 kHz crystal, and the rate PC firmware sets: 1024 Hz. */
export const registerAReset = 0x26;
export const rateMask = 0x0f;

export type RegisterB = Bits<'RTC B'>;
export const RegisterB = {
  /** 1: binary, 0: BCD. */
  binary: bit<'RTC B'>(2),
  /** 1: 24 hours, 0: 12 hours with bit 7 of the hour for "pm". */
  hours24: bit<'RTC B'>(1),
  updateEnded: bit<'RTC B'>(4),
  alarm: bit<'RTC B'>(5),
  periodic: bit<'RTC B'>(6),
  /** Stops updates while the driver sets the time. */
  set: bit<'RTC B'>(7),
} as const;
export const registerBReset: number = RegisterB.hours24;

/** Register C: why the interrupt is asserted; reading clears it. Bits 4-6 are at the places of their enables in B. */
export const InterruptFlag = {
  updateEnded: 0x10,
  alarm: 0x20,
  periodic: 0x40,
  all: 0x70,
  /** Any flag whose enable is on. */
  request: 0x80,
} as const;

/** Register D: the battery is good. */
export const validRam = 0x80;
export const pm = 0x80;
/** An alarm byte with both upper bits on matches anything. */
export const alarmDontCare = 0xc0;

export const cmosSize = 128;

export const RtcMap = registerMap('rtc', {
  /** As written to the index port, NMI mask included. */
  index: u8,
  /** Level last given to the interrupt line. */
  line: u8,
  /** Guest time less host time in seconds, two's complement of 64 bits: the time survives as an offset. */
  offsetLow: u32,
  offsetHigh: u32,
  /** Host time, in milliseconds, up to which interrupt flags have been worked out. */
  checkedLow: u32,
  checkedHigh: u32,
  /** A vCPU changed when the next interrupt is due; crossed by Atomics. */
  attention: words(1),
  cmos: bytes(cmosSize),
});
export type RtcRegisters = RegistersOf<typeof RtcMap>;
