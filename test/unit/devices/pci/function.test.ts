import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import { barAddress } from '../../../../src/devices/pci/bars.js';
import { layoutPci } from '../../../../src/devices/pci/layout.js';
import { configTemplate } from '../../../../src/devices/pci/template.js';
import { Canary } from '../canary.js';
import { GIB, makeFunctions, spec, windows } from './mock-function.js';

const COMMAND = 4;
const STATUS = 6;
const BAR0 = 0x10;
const MEMORY = 2;
const MASTER = 4;

const bar64 = spec('wide', { bars: [{ index: 0, size: 0x8000, width: 64 }] });
const bar32 = spec('narrow', { bars: [{ index: 2, size: 0x1000, width: 32, prefetchable: true }] });

function make(of = bar64) {
  const { functions, bus, behaviours } = makeFunctions([of]);
  const f = functions[0]!;
  const address = (index = of.bars[0]!.index): number => barAddress(f.registers, index);
  return { f, bus, behaviour: behaviours[0]!, address };
}

describe('header', () => {
  test('identity, class, revision, subsystem; all of it read-only', () => {
    const { f } = make();
    expect(f.readConfig(0, 4)).toBe(0x5678_1234);
    expect(f.readConfig(8, 4)).toBe(0x0100_0001);
    expect(f.readConfig(0x2c, 4)).toBe(0x1100_1af4);
    expect(f.readConfig(0x3d, 1)).toBe(1);
    for (const at of [0, 8, 0x2c, 0x34, 0x3c]) f.writeConfig(at, 4, 0);
    expect(f.readConfig(0, 4)).toBe(0x5678_1234);
    expect(f.readConfig(8, 4)).toBe(0x0100_0001);
    expect(f.readConfig(0x2c, 4)).toBe(0x1100_1af4);
    expect(f.readConfig(0x3c, 2)).toBe(0x0100); // the line is the driver's, the pin is not
  });

  test('bytes and halves of a word, across its border too', () => {
    const { f } = make();
    expect(f.readConfig(1, 2)).toBe(0x7812);
    expect(f.readConfig(2, 4)).toBe(f.readConfig(2, 2) + f.readConfig(4, 2) * 0x1_0000);
    expect(f.readConfig(0xfe, 4)).toBe(0xffff_0000);
    expect(f.readConfig(0x100, 4)).toBe(0xffff_ffff); // no extended capabilities
    f.writeConfig(0xff, 4, 0xffff_ffff);
    f.writeConfig(0x100, 4, 0);
  });

  test('command holds what exists; a write of one byte leaves the other', () => {
    const { f, behaviour } = make();
    expect(f.readConfig(COMMAND, 2)).toBe(MEMORY); // as firmware leaves it
    f.writeConfig(COMMAND, 2, 0xffff);
    expect(f.readConfig(COMMAND, 2)).toBe(0x0546);
    f.writeConfig(COMMAND + 1, 1, 0);
    expect(f.readConfig(COMMAND, 2)).toBe(0x0046);
    expect(behaviour.commands).toEqual([
      [0x0546, MEMORY],
      [0x0046, 0x0546],
    ]);
  });

  test('T21: a command write does not reach into status; interrupt status is live', () => {
    const { f, behaviour } = make();
    f.writeConfig(COMMAND, 4, 0xffff_0006);
    expect(f.readConfig(STATUS, 2)).toBe(0);
    behaviour.pending = true;
    expect(f.readConfig(STATUS, 2)).toBe(0x08);
    expect(f.readConfig(COMMAND, 4)).toBe(0x0008_0006);
  });
});

describe('BARs', () => {
  test('size by writing ones, 64 bits', () => {
    const { f, address } = make();
    const placed = address();
    expect(placed % 0x8000).toBe(0);
    f.writeConfig(BAR0, 4, 0xffff_ffff);
    f.writeConfig(BAR0 + 4, 4, 0xffff_ffff);
    expect(f.readConfig(BAR0, 4)).toBe(0xffff_8004);
    expect(f.readConfig(BAR0 + 4, 4)).toBe(0xffff_ffff);
    expect(address()).toBe(placed);
    for (let index = 2; index < 6; index++) {
      f.writeConfig(BAR0 + 4 * index, 4, 0xffff_ffff);
      expect(f.readConfig(BAR0 + 4 * index, 4)).toBe(0);
    }
  });

  test('size, 32 bits and prefetchable; all ones do not move it', () => {
    const { f, address } = make(bar32);
    const placed = address();
    f.writeConfig(BAR0 + 8, 4, 0xffff_ffff);
    expect(f.readConfig(BAR0 + 8, 4)).toBe(0xffff_f008);
    expect(address()).toBe(placed);
    f.writeConfig(BAR0 + 8, 4, 0xd000_0000);
    expect(address()).toBe(0xd000_0000);
  });

  test('T21: with decode on, half an address moves nothing', () => {
    const { f, bus, address } = make();
    const placed = address();
    const generation = Atomics.load(bus.generation, 0);
    f.writeConfig(BAR0, 4, 0x1234_8000);
    expect(address()).toBe(placed);
    expect(Atomics.load(bus.generation, 0)).toBe(generation);
    f.writeConfig(BAR0 + 4, 4, 3);
    expect(address()).toBe(3 * 4 * GIB + 0x1234_8000);
    expect(Atomics.load(bus.generation, 0)).toBe(generation + 1);
  });

  test('the other half first', () => {
    const { f, address } = make();
    f.writeConfig(BAR0 + 4, 4, 3);
    f.writeConfig(BAR0, 4, 0x1234_8000);
    expect(address()).toBe(3 * 4 * GIB + 0x1234_8000);
  });

  test('sizing with decode on and putting the address back is no move', () => {
    const { f, bus, address } = make();
    const placed = address();
    const generation = Atomics.load(bus.generation, 0);
    for (const [at, old] of [
      [BAR0, f.readConfig(BAR0, 4)],
      [BAR0 + 4, f.readConfig(BAR0 + 4, 4)],
    ] as const) {
      for (const ones of [0xffff_ffff, 0xffff_fff0]) {
        f.writeConfig(at, 4, ones);
        expect(address()).toBe(placed);
        f.writeConfig(at, 4, old);
      }
    }
    expect(address()).toBe(placed);
    expect(Atomics.load(bus.generation, 0)).toBe(generation);
  });

  test('all ones in the high half never become an address', () => {
    const { f, address } = make();
    const placed = address();
    f.writeConfig(BAR0, 4, 0x1000_0000);
    f.writeConfig(BAR0 + 4, 4, 0xffff_ffff);
    expect(address()).toBe(placed);
    f.writeConfig(BAR0 + 4, 4, 1);
    expect(address()).toBe(4 * GIB + 0x1000_0000);
  });

  test('the last place below a 4 GiB border is an address', () => {
    const { f, address } = make();
    f.writeConfig(BAR0, 4, 0xffff_8000);
    f.writeConfig(BAR0 + 4, 4, 2);
    expect(address()).toBe(3 * 4 * GIB - 0x8000);
  });

  test('with decode off the address takes effect when decode is turned on', () => {
    const { f, bus, behaviour, address } = make();
    const placed = address();
    f.writeConfig(COMMAND, 2, 0);
    f.writeConfig(BAR0, 4, 0xffff_ffff);
    f.writeConfig(BAR0 + 4, 4, 0xffff_ffff);
    f.writeConfig(BAR0, 4, 0x2000_0000);
    f.writeConfig(BAR0 + 4, 4, 2);
    expect(address()).toBe(placed);
    const generation = Atomics.load(bus.generation, 0);
    f.writeConfig(COMMAND, 2, MEMORY | MASTER);
    expect(address()).toBe(2 * 4 * GIB + 0x2000_0000);
    expect(Atomics.load(bus.generation, 0)).toBe(generation + 1);
    expect(behaviour.barChanges).toBe(2);
  });

  test('with decode off one half may be written alone', () => {
    const { f, address } = make();
    f.writeConfig(COMMAND, 2, 0);
    f.writeConfig(BAR0, 4, 0x2000_0000);
    f.writeConfig(COMMAND, 2, MEMORY);
    expect(address()).toBe(0x2000_0000);
  });

  test('turning decode on during a size question leaves the old address', () => {
    const { f, address } = make();
    const placed = address();
    f.writeConfig(COMMAND, 2, 0);
    f.writeConfig(BAR0, 4, 0xffff_ffff);
    f.writeConfig(COMMAND, 2, MEMORY);
    expect(address()).toBe(placed);
  });

  test('16-bit writes make an address as well', () => {
    const { f, address } = make(bar32);
    f.writeConfig(COMMAND, 2, 0);
    f.writeConfig(BAR0 + 8, 2, 0x3000);
    f.writeConfig(BAR0 + 10, 2, 0xd123);
    f.writeConfig(COMMAND, 2, MEMORY);
    expect(address()).toBe(0xd123_3000);
  });

  test('a BAR of 8 GiB', () => {
    const { f, address } = make(spec('huge', { bars: [{ index: 4, size: 8 * GIB, width: 64, prefetchable: true }] }));
    expect(address()).toBe(windows.high.start);
    f.writeConfig(BAR0 + 16, 4, 0xffff_ffff);
    f.writeConfig(BAR0 + 20, 4, 0xffff_ffff);
    expect(f.readConfig(BAR0 + 16, 4)).toBe(0x0000_000c);
    expect(f.readConfig(BAR0 + 20, 4)).toBe(0xffff_fffe);
  });
});

describe('capabilities', () => {
  const capable = spec('capable', {
    capabilities: [
      { id: 0x09, body: Uint8Array.from([5, 1, 2]), writable: Uint8Array.from([0, 0, 0x0f]) },
      { id: 0x11, body: new Uint8Array(10) },
    ],
  });

  test('T21: form a list of aligned entries that writes cannot bend', () => {
    const { f, behaviour } = make(capable);
    expect(f.readConfig(STATUS, 1) & 0x10).toBe(0x10);
    for (let at = 0x34; at < 0x100; at++) f.writeConfig(at, 1, 0x40);
    expect(f.readConfig(0x34, 1)).toBe(0x40);
    expect(f.readConfig(0x40, 2)).toBe(0x4809);
    expect(f.readConfig(0x48, 2)).toBe(0x0011);
    expect(f.readConfig(0x44, 1)).toBe(0x00); // the writable nibble took the write
    expect(behaviour.writes).toBeGreaterThan(0);
    expect(behaviour.reads).toBeGreaterThan(0);
  });

  test('more than fits is our mistake, found at once', () => {
    const capabilities = Array.from({ length: 20 }, () => ({ id: 9, body: new Uint8Array(14) }));
    expect(() => configTemplate(spec('x', { capabilities }))).toThrow(RangeError);
    expect(() => configTemplate(spec('x', { bars: [{ index: 0, size: 0x3000, width: 32 }] }))).toThrow(RangeError);
    expect(() => configTemplate(spec('x', { bars: [{ index: 5, size: 0x1000, width: 64 }] }))).toThrow(RangeError);
  });
});

test('hostile drivers: any write keeps the read-only bits, the state and the order of the list', () => {
  const access = fc.record({
    write: fc.boolean(),
    offset: fc.oneof(fc.nat(0xfff), fc.integer({ min: 0x04, max: 0x28 })),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0xffff_ffff, 0)),
  });
  const of = spec('target', {
    bars: [
      { index: 0, size: 0x8000, width: 64 },
      { index: 2, size: 0x1000, width: 32 },
    ],
    capabilities: [{ id: 0x11, body: new Uint8Array(10), writable: Uint8Array.from([0, 0xc0]) }],
  });
  const template = configTemplate(of);
  fc.assert(
    fc.property(fc.array(access, { maxLength: 100 }), (accesses) => {
      const canary = new Canary(layoutPci([of], windows, 0).end);
      const { functions } = makeFunctions([of], canary.buffer, canary.base);
      const f = functions[0]!;
      const initial = f.registers.config.slice();
      for (const { write, offset, size, value } of accesses) {
        if (write) f.writeConfig(offset, size, value);
        else {
          const got = f.readConfig(offset, size);
          expect(got >= 0 && got < 2 ** (8 * size)).toBe(true);
        }
        const address = barAddress(f.registers, 0);
        expect(address % 0x8000).toBe(0);
      }
      for (let i = 0; i < 0x100; i++) {
        expect((f.registers.config[i]! ^ initial[i]!) & ~template.writable[i]!).toBe(0);
      }
      canary.check();
    }),
  );
});
