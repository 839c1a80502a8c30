import { expect, test } from 'vitest';
import { asBits, bit, has, join } from '../../../src/devices/bits.js';
import { DebugExit } from '../../../src/devices/debug-exit.js';
import { PvPanic } from '../../../src/devices/pvpanic.js';
import { MachineEvent } from '../../../src/devices/wires.js';
import { MockWires } from './mock-wires.js';

test('the debug exit port ends the machine with its byte', () => {
  const wires = new MockWires();
  const port = new DebugExit(wires);
  expect(port.read(0, 1)).toBe(0xff);
  port.write(0, 1, 0x2a);
  expect(wires.raised).toEqual([[MachineEvent.debugExit, 0x2a]]);
});

test('pvpanic announces both events; a panic is raised, a crash kernel taking over is told', () => {
  const wires = new MockWires();
  const port = new PvPanic(wires);
  expect(port.read(0, 1)).toBe(3);
  port.write(0, 1, 2);
  port.write(0, 1, 0x80);
  expect(wires.raised).toEqual([]);
  expect(wires.warnings).toHaveLength(2);
  port.write(0, 1, 1);
  expect(wires.raised).toEqual([[MachineEvent.panic, 1]]);
});

test('bits are unsigned, the 31st too', () => {
  expect(bit<'R'>(31)).toBe(0x8000_0000);
  expect(join(bit<'R'>(31), bit<'R'>(0))).toBe(0x8000_0001);
  expect(has(asBits<'R'>(0x8000_0000), bit<'R'>(31))).toBe(true);
  expect(has(asBits<'R'>(0x7fff_ffff), bit<'R'>(31))).toBe(false);
});
