import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../src/bus/bus.js';
import {
  AcpiPmMap,
  Pm1ControlBlock,
  Pm1EventBlock,
  PmTimer,
  pressPowerButton,
  resetAcpiPm,
  setTimer,
  timerTicks,
} from '../../../src/devices/acpi-pm.js';
import { hostClocks } from '../../../src/devices/clocks.js';
import { gsi } from '../../../src/devices/memory-map.js';
import { MachineEvent } from '../../../src/devices/wires.js';
import { Canary } from './canary.js';
import { MockWires } from './mock-wires.js';

const PWRBTN = 0x100;
const SLP_EN = 0x2000;

function make() {
  const canary = new Canary(AcpiPmMap.size);
  const wires = new MockWires();
  resetAcpiPm(canary.buffer, canary.base);
  const registers = AcpiPmMap.over(canary.buffer, canary.base);
  return {
    canary,
    wires,
    registers,
    events: new Pm1EventBlock(registers, wires.setLine),
    control: new Pm1ControlBlock(registers, wires),
  };
}

describe('power button', () => {
  test('status, SCI level, acknowledge by writing 1', () => {
    const { wires, registers, events } = make();
    events.write(2, 2, PWRBTN);
    pressPowerButton(registers, wires.setLine);
    expect(wires.line(gsi.sci)).toBe(1);
    expect(events.read(0, 2)).toBe(PWRBTN);
    expect(events.read(0, 4)).toBe((PWRBTN << 16) | PWRBTN);
    events.write(0, 2, 0);
    expect(wires.line(gsi.sci)).toBe(1);
    events.write(0, 2, PWRBTN);
    expect(wires.line(gsi.sci)).toBe(0);
    expect(events.read(0, 2)).toBe(0);
  });

  test('pressed before the driver is ready: the interrupt comes with the enable bit', () => {
    const { wires, registers, events } = make();
    pressPowerButton(registers, wires.setLine);
    expect(wires.line(gsi.sci)).toBe(0);
    events.write(2, 2, PWRBTN);
    expect(wires.line(gsi.sci)).toBe(1);
    events.write(2, 2, 0);
    expect(wires.line(gsi.sci)).toBe(0);
  });

  test('byte accesses reach their half of a register alone', () => {
    const { registers, wires, events } = make();
    pressPowerButton(registers, wires.setLine);
    events.write(3, 1, 0x01);
    expect(events.read(2, 2)).toBe(PWRBTN);
    events.write(0, 1, 0xff);
    expect(events.read(1, 1)).toBe(0x01);
    events.write(1, 1, 0x01);
    expect(events.read(0, 2)).toBe(0);
  });

  test('enable bits that nothing could set do not stick', () => {
    const { events } = make();
    events.write(2, 2, 0xffff);
    expect(events.read(2, 2)).toBe(0x0521);
  });
});

describe('PM1 control', () => {
  test('SCI_EN reads as one and cannot be cleared', () => {
    const { control } = make();
    expect(control.read(0, 2) & 1).toBe(1);
    control.write(0, 2, 0);
    expect(control.read(0, 2) & 1).toBe(1);
  });

  test('S5 as ACPICA does it: type, then type and enable', () => {
    const { control, wires } = make();
    const s5 = 5 << 10;
    control.write(0, 2, control.read(0, 2) | s5);
    expect(wires.raised).toEqual([]);
    expect(control.read(0, 2) & 0x1c00).toBe(s5);
    control.write(0, 2, s5 | SLP_EN | 1);
    expect(wires.raised).toEqual([[MachineEvent.powerOff, 0]]);
    expect(control.read(0, 2) & SLP_EN).toBe(0);
  });

  test('the upper byte alone is enough', () => {
    const { control, wires } = make();
    control.write(1, 1, (5 << 2) | 0x20);
    expect(wires.raised).toEqual([[MachineEvent.powerOff, 0]]);
  });

  test('another sleep type does nothing but a warning', () => {
    const { control, wires } = make();
    control.write(0, 2, SLP_EN | (1 << 10));
    expect(wires.raised).toEqual([]);
    expect(wires.warnings).toHaveLength(1);
  });
});

describe('PM timer', () => {
  test('3.579545 MHz, 24 bits, read-only', () => {
    let now = 0;
    const timer = new PmTimer(make().registers, () => now);
    expect(timer.read(0, 4)).toBe(0);
    now = 1e9;
    expect(timer.read(0, 4)).toBe(3_579_545);
    now = 5e9;
    expect(timer.read(0, 4)).toBe((5 * 3_579_545) % 2 ** 24);
    timer.write();
    expect(timer.read(0, 4)).toBe((5 * 3_579_545) % 2 ** 24);
  });

  test('goes on elsewhere from what it showed, later by what has passed', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 46), fc.nat(2 ** 46), fc.nat(2 ** 46), fc.nat(1e9), (then, now, elapsed, later) => {
        const { registers } = make();
        registers.timerOffset = 12_345;
        const shown = timerTicks(registers, then);
        setTimer(registers, now, shown, elapsed);
        const passed = (timerTicks(registers, now + later) - shown + 2 ** 24) % 2 ** 24;
        const wanted = Math.floor((elapsed + later) * (3_579_545 / 1e9)) % 2 ** 24;
        expect([0, 1, 2, 2 ** 24 - 1, 2 ** 24 - 2]).toContain((passed - wanted + 2 ** 24) % 2 ** 24);
      }),
    );
  });

  test('never goes back within its modulus', () => {
    const clock = hostClocks();
    const timer = new PmTimer(make().registers, clock.monotonicNs);
    let last = timer.read(0, 4);
    for (let i = 0; i < 2000; i++) {
      const now = timer.read(0, 4);
      expect((now - last + 2 ** 24) % 2 ** 24).toBeLessThan(2 ** 23);
      last = now;
    }
  });

  test('two clocks of different threads agree with the host', () => {
    const [seconds, nanoseconds] = process.hrtime();
    expect(Math.abs(hostClocks().monotonicNs() - (seconds * 1e9 + nanoseconds))).toBeLessThan(1e9);
    expect(Math.abs(hostClocks().now() - Date.now())).toBeLessThan(1000);
  });
});

test('hostile drivers: any offset, width and value', () => {
  const access = fc.record({
    block: fc.constantFrom('events', 'control'),
    write: fc.boolean(),
    offset: fc.nat(3),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.nat(0xffff_ffff),
    press: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
      const { canary, wires, registers, events, control } = make();
      for (const { block, write, offset, size, value, press } of accesses) {
        const device = block === 'events' ? events : control;
        if (press) pressPowerButton(registers, wires.setLine);
        if (write) device.write(offset, size, value);
        else {
          const got = device.read(offset, size);
          expect(got >= 0 && got < 2 ** (8 * size)).toBe(true);
        }
        expect(wires.line(gsi.sci)).toBe((registers.status & registers.enable) !== 0 ? 1 : 0);
      }
      canary.check();
    }),
  );
});
