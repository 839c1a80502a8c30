/**
 * Dates as an MC146818 shows them: BCD or binary, 12 or 24 hours. Any thread.
 *
 * Pure conversion between seconds since 1970 (UTC) and the time bytes of CMOS. A driver may write any byte, so what is
 * out of range counts on (the 75th minute is a quarter past) instead of being refused; no input throws. The century is
 * encoded as register B says, like the rest: that is what drivers that follow register B expect.
 */
import { asBits, has } from './bits.js';
import { pm, RegisterB, RtcRegister } from './rtc-registers.js';

const secondsPerDay = 86_400;
const halfDay = 12;
/** Days from 0000-03-01 to 1970-01-01, and in 400, 100 and 4 years. Years here begin in March: leap days come last. */
const epochDays = 719_468;
const days400 = 146_097;
const days100 = 36_524;
const days4 = 1_461;

const toBcd = (value: number): number => (Math.floor(value / 10) << 4) | (value % 10);
const fromBcd = (value: number): number => (value >>> 4) * 10 + (value & 0x0f);
const same = (value: number): number => value;
const modulo = (value: number, by: number): number => ((value % by) + by) % by;

const isBinary = (registerB: number): boolean => has(asBits<'RTC B'>(registerB), RegisterB.binary);
const is24Hours = (registerB: number): boolean => has(asBits<'RTC B'>(registerB), RegisterB.hours24);

/** A time or alarm byte, other than an hour, as a number. */
export const decodeByte = (value: number, registerB: number): number => (isBinary(registerB) ? value : fromBcd(value));

/** Hour 0-23 of an hour byte, of the time or of the alarm. */
export function decodeHour(value: number, registerB: number): number {
  if (is24Hours(registerB)) return decodeByte(value, registerB);
  return (decodeByte(value & ~pm, registerB) % halfDay) + ((value & pm) !== 0 ? halfDay : 0);
}

/** Days from the 1st of March to the first of each month: months alternate 31 and 30 in groups of five (153 days). */
const daysBeforeMonth = (fromMarch: number): number => Math.floor((153 * fromMarch + 2) / 5);

/** Writes the time bytes of `cmos` for `seconds` since 1970. */
export function storeTime(cmos: Uint8Array, seconds: number, registerB: number): void {
  const encode = isBinary(registerB) ? same : toBcd;
  const days = Math.floor(seconds / secondsPerDay);
  const second = seconds - days * secondsPerDay;

  const era = Math.floor((days + epochDays) / days400);
  const dayOfEra = days + epochDays - era * days400;
  const leapDays =
    Math.floor(dayOfEra / (days4 - 1)) - Math.floor(dayOfEra / days100) + Math.floor(dayOfEra / (days400 - 1));
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);

  const hour = Math.floor(second / 3600);
  const hour12 = hour % halfDay === 0 ? halfDay : hour % halfDay;
  cmos[RtcRegister.seconds] = encode(second % 60);
  cmos[RtcRegister.minutes] = encode(Math.floor(second / 60) % 60);
  cmos[RtcRegister.hours] = is24Hours(registerB) ? encode(hour) : encode(hour12) | (hour >= halfDay ? pm : 0);
  cmos[RtcRegister.dayOfWeek] = encode(modulo(days + 4, 7) + 1); // 1970-01-01 was a Thursday; Sunday is 1
  cmos[RtcRegister.dayOfMonth] = encode(dayOfYear - daysBeforeMonth(fromMarch) + 1);
  cmos[RtcRegister.month] = encode(month);
  cmos[RtcRegister.year] = encode(modulo(year, 100));
  cmos[RtcRegister.century] = encode(modulo(Math.floor(year / 100), 100));
}

/** Seconds since 1970 that the time bytes of `cmos` say. */
export function loadTime(cmos: Uint8Array, registerB: number): number {
  const at = (register: number): number => decodeByte(cmos[register]!, registerB);
  const months = (at(RtcRegister.century) * 100 + at(RtcRegister.year)) * 12 + at(RtcRegister.month) - 1;
  const year = Math.floor((months - 2) / 12); // the one that began in March
  const day =
    year * 365 +
    Math.floor(year / 4) -
    Math.floor(year / 100) +
    Math.floor(year / 400) +
    daysBeforeMonth(modulo(months - 2, 12)) +
    at(RtcRegister.dayOfMonth) -
    1 -
    epochDays;
  const hour = decodeHour(cmos[RtcRegister.hours]!, registerB);
  return day * secondsPerDay + hour * 3600 + at(RtcRegister.minutes) * 60 + at(RtcRegister.seconds);
}
