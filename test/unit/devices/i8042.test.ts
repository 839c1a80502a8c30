import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { I8042Map, makeI8042, resetI8042 } from '../../../src/devices/i8042.js';
import { MachineEvent } from '../../../src/devices/wires.js';
import { Canary } from './canary.js';
import { MockWires } from './mock-wires.js';

const OBF = 0x01;
const AUXDATA = 0x20;
const TIMEOUT = 0x40;
const keyboardGsi = 1;

function make() {
  const canary = new Canary(I8042Map.size);
  const wires = new MockWires();
  resetI8042(canary.buffer, canary.base);
  const { data, command } = makeI8042(I8042Map.over(canary.buffer, canary.base), wires);
  const status = (): number => command.read(0, 1);
  const outb60 = (value: number): void => data.write(0, 1, value);
  const outb64 = (value: number): void => command.write(0, 1, value);
  /** Linux's i8042_command with one byte of answer; undefined is its time-out. */
  const ask = (value: number): number | undefined => {
    outb64(value);
    return (status() & OBF) !== 0 ? data.read(0, 1) : undefined;
  };
  return { canary, wires, data, command, status, outb60, outb64, ask };
}

describe('Linux i8042 probe', () => {
  test('flush, self test, configuration: every answer at once', () => {
    const { status, ask, outb64, outb60 } = make();
    expect(status() & OBF).toBe(0);
    expect(ask(0xaa)).toBe(0x55);
    const config = ask(0x20)!;
    expect(ask(0x20)).toBe(config);
    outb64(0x60);
    outb60(config | 0x10);
    expect(ask(0x20)).toBe(config | 0x10);
    expect(ask(0xab)).toBe(0x00);
  });

  test('i8042_check_aux finds no mouse port, without a time-out', () => {
    const { status, data, ask, outb64, outb60 } = make();
    outb64(0xd3); // AUX_LOOP
    outb60(0x5a);
    expect(status() & (OBF | AUXDATA)).toBe(OBF); // not from AUX: "auxerr"
    expect(data.read(0, 1)).toBe(0x5a);
    const auxTest = ask(0xa9)!;
    expect([0x00, 0xfa, 0xff]).not.toContain(auxTest);
  });

  test('enabling and disabling ports shows in the configuration', () => {
    const { ask, outb64 } = make();
    for (const [command, bit, on] of [
      [0xa7, 0x20, true],
      [0xa8, 0x20, false],
      [0xad, 0x10, true],
      [0xae, 0x10, false],
    ] as const) {
      outb64(command);
      expect((ask(0x20)! & bit) !== 0).toBe(on);
    }
  });

  test('a command for the absent keyboard comes back at once, with its interrupt', () => {
    const { status, data, outb64, outb60, wires } = make();
    outb64(0x60);
    outb60(0x01);
    outb60(0xf2); // GETID
    expect(status() & (OBF | TIMEOUT | AUXDATA)).toBe(OBF | TIMEOUT);
    expect(wires.line(keyboardGsi)).toBe(1);
    expect(data.read(0, 1)).toBe(0xfe);
    expect(wires.line(keyboardGsi)).toBe(0);
    expect(status() & OBF).toBe(0);
  });

  test('a command for the absent mouse comes back as its own, without the keyboard interrupt', () => {
    const { status, outb64, outb60, wires } = make();
    outb64(0x60);
    outb60(0x03);
    outb64(0xd4);
    outb60(0xf2);
    expect(status() & (OBF | AUXDATA | TIMEOUT)).toBe(OBF | AUXDATA | TIMEOUT);
    expect(wires.line(keyboardGsi)).toBe(0);
  });

  test('the last write shows in the status', () => {
    const { status, outb64, outb60 } = make();
    outb64(0xae);
    expect(status() & 0x08).toBe(0x08);
    outb60(0);
    expect(status() & 0x08).toBe(0);
  });
});

describe('reset', () => {
  test('pulse of output bit 0', () => {
    const { wires, outb64 } = make();
    outb64(0xff);
    outb64(0xf1);
    expect(wires.raised).toEqual([]);
    outb64(0xfe);
    expect(wires.raised).toEqual([[MachineEvent.reset, 0]]);
  });

  test('output port bit 0 low', () => {
    const { wires, outb64, outb60, ask } = make();
    outb64(0xd1);
    outb60(0x03);
    expect(ask(0xd0)).toBe(0x03);
    expect(wires.raised).toEqual([]);
    outb64(0xd1);
    outb60(0x02);
    expect(wires.raised).toEqual([[MachineEvent.reset, 0]]);
  });
});

test('hostile drivers: any bytes in any order', () => {
  const access = fc.tuple(fc.constantFrom('command', 'data', 'status', 'read'), fc.nat(255));
  fc.assert(
    fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
      const { canary, data, outb64, outb60, status } = make();
      for (const [kind, value] of accesses) {
        if (kind === 'command') outb64(value);
        else if (kind === 'data') outb60(value);
        else expect(kind === 'status' ? status() : data.read(0, 1)).toBeLessThanOrEqual(0xff);
        expect(status() & 0x02).toBe(0); // never "input full": a driver would wait for it
      }
      canary.check();
    }),
  );
});
