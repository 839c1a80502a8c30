import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gsi } from '../../../src/devices/memory-map.js';
import { Rtc } from '../../../src/devices/rtc.js';
import { type RtcContents, RtcHost, resetRtc } from '../../../src/devices/rtc-host.js';
import { RtcRegister as Reg, RtcMap } from '../../../src/devices/rtc-registers.js';
import { loadTime, storeTime } from '../../../src/devices/rtc-time.js';
import { Canary } from './canary.js';
import { MockWires } from './mock-wires.js';

const MIB = 1024 * 1024;
const SET = 0x80;
const PIE = 0x40;
const AIE = 0x20;
const UIE = 0x10;
const BINARY = 0x04;
const H24 = 0x02;

function make(
  at = '2024-02-29T23:59:57.250Z',
  contents: RtcContents = { cpus: 2, ram: [{ start: 0, size: 512 * MIB }] },
) {
  const canary = new Canary(RtcMap.size);
  const wires = new MockWires();
  const clock = { now: Date.parse(at) };
  resetRtc(canary.buffer, canary.base, contents);
  const rtc = new Rtc(RtcMap.over(canary.buffer, canary.base), {
    ...wires,
    setLine: wires.setLine,
    wakeMain: wires.wakeMain,
    now: () => clock.now,
  });
  const host = new RtcHost(canary.buffer, canary.base, wires.setLine, () => clock.now);
  const read = (register: number): number => {
    rtc.write(0, 1, register);
    return rtc.read(1, 1);
  };
  const write = (register: number, value: number): void => {
    rtc.write(0, 1, register);
    rtc.write(1, 1, value);
  };
  const timeBytes = (): number[] =>
    [Reg.century, Reg.year, Reg.month, Reg.dayOfMonth, Reg.hours, Reg.minutes, Reg.seconds].map(read);
  const setTime = (bytes: number[]): void =>
    [Reg.century, Reg.year, Reg.month, Reg.dayOfMonth, Reg.hours, Reg.minutes, Reg.seconds].forEach((register, i) => {
      write(register, bytes[i]!);
    });
  return { canary, wires, clock, rtc, host, read, write, timeBytes, setTime };
}

describe('dates', () => {
  const second = fc.integer({ min: 0, max: Date.UTC(2199, 11, 31, 23, 59, 59) / 1000 });
  const mode = fc.constantFrom(0, H24, BINARY, BINARY | H24);

  test('agree with Date in every mode, and read back', () => {
    fc.assert(
      fc.property(second, mode, (seconds, b) => {
        const cmos = new Uint8Array(128);
        storeTime(cmos, seconds, b);
        expect(loadTime(cmos, b)).toBe(seconds);
        const date = new Date(seconds * 1000);
        const decode = (v: number): number => ((b & BINARY) !== 0 ? v : Number(v.toString(16)));
        expect(decode(cmos[Reg.century]!) * 100 + decode(cmos[Reg.year]!)).toBe(date.getUTCFullYear());
        expect(decode(cmos[Reg.month]!)).toBe(date.getUTCMonth() + 1);
        expect(decode(cmos[Reg.dayOfMonth]!)).toBe(date.getUTCDate());
        expect(decode(cmos[Reg.dayOfWeek]!)).toBe(date.getUTCDay() + 1);
        expect(decode(cmos[Reg.minutes]!)).toBe(date.getUTCMinutes());
        expect(decode(cmos[Reg.seconds]!)).toBe(date.getUTCSeconds());
        const hour = cmos[Reg.hours]!;
        if ((b & H24) !== 0) expect(decode(hour)).toBe(date.getUTCHours());
        else {
          expect((hour & 0x80) !== 0).toBe(date.getUTCHours() >= 12);
          expect(decode(hour & 0x7f)).toBe(((date.getUTCHours() + 11) % 12) + 1);
        }
      }),
    );
  });

  test('no bytes make a time that is not an integer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 128, maxLength: 128 }), fc.nat(255), (cmos, b) => {
        expect(Number.isSafeInteger(loadTime(cmos, b))).toBe(true);
      }),
    );
  });
});

describe('time of day', () => {
  test('is the host time, in BCD and 24 hours at power-on', () => {
    expect(make().timeBytes()).toEqual([0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x57]);
  });

  test('goes on with the host clock', () => {
    const { clock, timeBytes } = make();
    clock.now += 3000;
    expect(timeBytes()).toEqual([0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00]);
  });

  test('mc146818_set_time: SET, new bytes, SET off; the difference to the host stays', () => {
    const { clock, write, read, timeBytes, setTime } = make();
    const b = read(Reg.b);
    write(Reg.b, b | SET);
    write(Reg.a, read(Reg.a) | 0x70);
    setTime([0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58]);
    clock.now += 5000; // the time stands still meanwhile
    expect(timeBytes()).toEqual([0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58]);
    write(Reg.b, b);
    write(Reg.a, 0x26);
    expect(timeBytes()).toEqual([0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58]);
    clock.now += 2000;
    expect(timeBytes()).toEqual([0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
  });

  test('a byte written without SET counts at once', () => {
    const { write, timeBytes } = make();
    write(Reg.hours, 0x01);
    expect(timeBytes()).toEqual([0x20, 0x24, 0x02, 0x29, 0x01, 0x59, 0x57]);
  });

  test('"update in progress" ends by itself and never shows while SET is on', () => {
    const { clock, read, write } = make('2024-02-29T23:59:57.998Z');
    expect(read(Reg.a) & 0x80).toBe(0x80);
    clock.now += 2;
    expect(read(Reg.a) & 0x80).toBe(0);
    clock.now += 999;
    write(Reg.b, read(Reg.b) | SET);
    expect(read(Reg.a) & 0x80).toBe(0);
  });

  test('the battery is good, the index port cannot be read, bit 7 of the index is the NMI mask', () => {
    const { read, rtc } = make();
    expect(read(Reg.d)).toBe(0x80);
    expect(rtc.read(0, 1)).toBe(0xff);
    rtc.write(0, 1, 0x80 | Reg.d);
    expect(rtc.read(1, 1)).toBe(0x80);
  });
});

describe('CMOS memory', () => {
  const word = (read: (r: number) => number, at: number): number => read(at) | (read(at + 1) << 8);

  test('memory sizes as firmware writes them', () => {
    const { read } = make();
    expect(word(read, 0x15)).toBe(640);
    expect(word(read, 0x17)).toBe(0xffff); // 511 MiB in KiB does not fit
    expect(word(read, 0x34)).toBe((512 - 16) * 16);
    expect(read(0x5b) | (read(0x5c) << 8) | (read(0x5d) << 16)).toBe(0);
    expect(read(0x5f)).toBe(1);
  });

  test('a large and a tiny machine', () => {
    const GIB = 1024 * MIB;
    const large = make(undefined, {
      cpus: 1,
      ram: [
        { start: 0, size: 3 * GIB },
        { start: 4 * GIB, size: 13 * GIB },
      ],
    });
    expect(word(large.read, 0x34)).toBe((3 * 1024 - 16) * 16);
    expect(large.read(0x5b) | (large.read(0x5c) << 8) | (large.read(0x5d) << 16)).toBe((13 * GIB) / 65_536);
    const tiny = make(undefined, { cpus: 1, ram: [{ start: 0, size: 8 * MIB }] });
    expect(word(tiny.read, 0x17)).toBe(7 * 1024);
    expect(word(tiny.read, 0x34)).toBe(0);
  });

  test('other bytes are plain memory', () => {
    const { read, write } = make();
    write(0x0f, 0x0a);
    expect(read(0x0f)).toBe(0x0a);
  });
});

describe('interrupts', () => {
  test('update-ended: one a second while enabled, acknowledged by reading C', () => {
    const { clock, read, write, host, wires } = make();
    read(Reg.c);
    write(Reg.b, H24 | UIE);
    expect(host.unsettled).toBe(true);
    expect(host.service()).toBe(750);
    expect(host.unsettled).toBe(false);
    expect(wires.line(gsi.rtc)).toBe(0);
    clock.now += 750;
    host.service();
    expect(wires.line(gsi.rtc)).toBe(1);
    expect(read(Reg.c)).toBe(0xd0); // the periodic flag runs along without its enable
    expect(wires.line(gsi.rtc)).toBe(0);
    expect(read(Reg.c)).toBe(0);
    expect(host.service()).toBe(1000);
  });

  test('alarm: at its time of day, with "any" bytes, tomorrow if it has passed', () => {
    const { clock, read, write, host, wires } = make('2024-02-29T10:00:00.000Z');
    read(Reg.c);
    write(Reg.hoursAlarm, 0x10);
    write(Reg.minutesAlarm, 0x01);
    write(Reg.secondsAlarm, 0x30);
    write(Reg.b, H24 | AIE);
    expect(host.service()).toBe(90_000);
    clock.now += 89_999;
    host.service();
    expect(wires.line(gsi.rtc)).toBe(0);
    clock.now += 1;
    expect(host.service()).toBe(86_400_000);
    expect(wires.line(gsi.rtc)).toBe(1);
    expect(read(Reg.c)).toBe(0xf0); // all three
    write(Reg.hoursAlarm, 0xff);
    write(Reg.minutesAlarm, 0xc0);
    expect(host.service()).toBe(60_000);
    write(Reg.secondsAlarm, 0x75);
    expect(host.service()).toBe(Number.POSITIVE_INFINITY);
  });

  test('periodic: the flag at its rate, the host not faster than it can bear', () => {
    const { clock, read, write, host, wires } = make();
    read(Reg.c);
    write(Reg.a, 0x23); // 8192 Hz
    write(Reg.b, H24 | PIE);
    expect(host.service()).toBe(10);
    clock.now += 1;
    host.service();
    expect(wires.line(gsi.rtc)).toBe(1);
    expect(read(Reg.c)).toBe(0xc0);
    write(Reg.a, 0x20); // no rate
    clock.now += 5;
    expect(read(Reg.c) & 0x40).toBe(0);
    expect(host.service()).toBe(Number.POSITIVE_INFINITY);
  });

  test('flags can be polled without interrupts', () => {
    const { clock, read, wires } = make();
    read(Reg.c);
    clock.now += 1000;
    expect(read(Reg.c)).toBe(0x50); // periodic and update-ended, no request
    expect(wires.lineCalls).toEqual([]);
  });

  test('SET ends update-ended interrupts', () => {
    const { write, read } = make();
    write(Reg.b, H24 | UIE);
    write(Reg.b, H24 | UIE | SET);
    expect(read(Reg.b)).toBe(H24 | SET);
  });
});

test('hostile drivers: nothing throws, nothing outside is touched, the clock never takes the host along', () => {
  const access = fc.record({
    write: fc.boolean(),
    register: fc.nat(255),
    value: fc.nat(255),
    pass: fc.constantFrom(0, 1, 998, 1000, 86_400_000, -5000, 4e12),
  });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
      const { canary, read, write, clock, host } = make();
      for (const { write: isWrite, register, value, pass } of accesses) {
        clock.now = Math.min(Math.max(clock.now + pass, 1e9), 2e13);
        if (isWrite) write(register, value);
        else expect(read(register)).toBeLessThanOrEqual(0xff);
        expect(host.service()).toBeGreaterThanOrEqual(10);
      }
      canary.check();
    }),
  );
});
