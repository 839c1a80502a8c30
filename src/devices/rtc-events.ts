/**
 * Time and interrupt flags of the MC146818, worked out from the host clock when somebody looks. vCPU workers and main,
 * under the machine lock.
 *
 * No thread ticks for the clock. Guest time is host time plus an offset in whole seconds; flags are what happened between
 * the last look and now. Main looks again at `nextEvent` while the driver has an interrupt enabled (rtc-host.ts).
 */
import { asBits, has } from './bits.js';
import { gsi } from './memory-map.js';
import { alarmDontCare, InterruptFlag, RegisterB, RtcRegister, type RtcRegisters, rateMask } from './rtc-registers.js';
import { decodeByte, decodeHour } from './rtc-time.js';
import type { SetLine } from './wires.js';

const two32 = 0x1_0000_0000;
const secondsPerDay = 86_400;

/** Host milliseconds to seconds of guest time. */
export const guestSeconds = (registers: RtcRegisters, now: number): number =>
  Math.floor(now / 1000) + (registers.offsetHigh | 0) * two32 + registers.offsetLow;

export function setGuestSeconds(registers: RtcRegisters, now: number, seconds: number): void {
  const offset = seconds - Math.floor(now / 1000);
  registers.offsetLow = offset >>> 0; // modulo 2^32 also for what is negative or larger
  registers.offsetHigh = Math.floor(offset / two32) >>> 0;
}

/** Hertz of the periodic flag for the rate bits of register A with a 32.768 kHz crystal; 0 is none. */
function periodicRate(registerA: number): number {
  const rate = registerA & rateMask;
  return rate === 0 ? 0 : 32_768 >>> ((rate < 3 ? rate + 7 : rate) - 1);
}

const matches = (alarm: number, value: number): boolean => alarm < 0 || alarm === value;

/** Seconds from `seconds` to the next alarm, at least 1; Infinity if the alarm bytes are no time of day. */
function secondsToAlarm(cmos: Uint8Array, seconds: number): number {
  const b = cmos[RtcRegister.b]!;
  const field = (register: number, decode: (value: number, b: number) => number): number => {
    const value = cmos[register]!;
    return (value & alarmDontCare) === alarmDontCare ? -1 : decode(value, b);
  };
  const second = field(RtcRegister.secondsAlarm, decodeByte);
  const minute = field(RtcRegister.minutesAlarm, decodeByte);
  const hour = field(RtcRegister.hoursAlarm, decodeHour);
  if (second > 59 || minute > 59 || hour > 23) return Number.POSITIVE_INFINITY;
  // Each step goes to the start of the next unit that could match: at most 24 + 60 + 60 steps to a match within a day.
  const start = ((seconds % secondsPerDay) + secondsPerDay) % secondsPerDay;
  let at = start + 1;
  while (at <= start + secondsPerDay) {
    if (!matches(hour, Math.floor(at / 3600) % 24)) at += 3600 - (at % 3600);
    else if (!matches(minute, Math.floor(at / 60) % 60)) at += 60 - (at % 60);
    else if (!matches(second, at % 60)) at++;
    else return at - start;
  }
  return Number.POSITIVE_INFINITY;
}

const checkedAt = (registers: RtcRegisters): number => registers.checkedHigh * two32 + registers.checkedLow;

/** Brings the flags of register C up to host time `now` (milliseconds): from the last look, if there was one. */
export function advance(registers: RtcRegisters, now: number): void {
  const { cmos } = registers;
  const before = checkedAt(registers);
  registers.checkedLow = now >>> 0;
  registers.checkedHigh = Math.floor(now / two32) >>> 0;
  if (before === 0 || now <= before) return; // never looked, or the host clock went back

  const rate = periodicRate(cmos[RtcRegister.a]!);
  let flags = 0;
  if (rate > 0 && Math.floor((now * rate) / 1000) > Math.floor((before * rate) / 1000)) flags |= InterruptFlag.periodic;
  if (!has(asBits<'RTC B'>(cmos[RtcRegister.b]!), RegisterB.set)) {
    const from = guestSeconds(registers, before);
    const passed = guestSeconds(registers, now) - from;
    if (passed > 0) {
      flags |= InterruptFlag.updateEnded;
      if (passed >= secondsToAlarm(cmos, from)) flags |= InterruptFlag.alarm;
    }
  }
  cmos[RtcRegister.c] = cmos[RtcRegister.c]! | flags;
}

/** Enable bits are at the places of their flags. */
const enabled = (cmos: Uint8Array): number => cmos[RtcRegister.b]! & InterruptFlag.all;

/** Register C as a driver reads it. */
export function interruptFlags(registers: RtcRegisters): number {
  const flags = registers.cmos[RtcRegister.c]! & InterruptFlag.all;
  return (flags & enabled(registers.cmos)) !== 0 ? flags | InterruptFlag.request : flags;
}

export function updateRtcLine(registers: RtcRegisters, setLine: SetLine): void {
  const level = (interruptFlags(registers) & InterruptFlag.request) !== 0 ? 1 : 0;
  if (level === registers.line) return;
  registers.line = level;
  setLine(gsi.rtc, level);
}

/** Milliseconds from `now` to the next event whose interrupt is enabled; Infinity if there is none. */
export function nextEvent(registers: RtcRegisters, now: number): number {
  const { cmos } = registers;
  const wanted = enabled(cmos);
  let next = Number.POSITIVE_INFINITY;
  const rate = periodicRate(cmos[RtcRegister.a]!);
  if ((wanted & InterruptFlag.periodic) !== 0 && rate > 0) next = 1000 / rate;
  if (!has(asBits<'RTC B'>(cmos[RtcRegister.b]!), RegisterB.set)) {
    const toSecond = 1000 - (now % 1000);
    if ((wanted & InterruptFlag.updateEnded) !== 0) next = Math.min(next, toSecond);
    if ((wanted & InterruptFlag.alarm) !== 0) {
      next = Math.min(next, (secondsToAlarm(cmos, guestSeconds(registers, now)) - 1) * 1000 + toSecond);
    }
  }
  return next;
}
