import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AccessSize, Bus } from '../../../../src/bus/bus.js';
import { PciBars } from '../../../../src/devices/pci/bar-map.js';
import { placeBars } from '../../../../src/devices/pci/bar-placement.js';
import { PciBus } from '../../../../src/devices/pci/bus.js';
import { PciConfigAddress, PciConfigData } from '../../../../src/devices/pci/config-ports.js';
import { Ecam } from '../../../../src/devices/pci/ecam.js';
import { hostBridgeSpec } from '../../../../src/devices/pci/host-bridge.js';
import { layoutPci } from '../../../../src/devices/pci/layout.js';
import type { FunctionSpec } from '../../../../src/devices/pci/template.js';
import { MachineEvent } from '../../../../src/devices/wires.js';
import { TsvmmError } from '../../../../src/errors.js';
import { MockWires } from '../mock-wires.js';
import { GIB, MIB, makeFunctions, spec, windows } from './mock-function.js';

const COMMAND = 4;
const BAR0 = 0x10;
const MEMORY = 2;
const size = 0x8000;
const device = (name: string): FunctionSpec => spec(name, { bars: [{ index: 0, size, width: 64 }] });
const ram = { start: 0, size: GIB };
const ecam = { start: 0xe000_0000, size: 256 * MIB };

function make(...specs: FunctionSpec[]) {
  const made = makeFunctions([hostBridgeSpec, ...specs]);
  const wires = new MockWires();
  const pci = new PciBus();
  made.functions.forEach((f, slot) => {
    pci.insert(slot, f);
  });
  const address = new PciConfigAddress(made.bus, wires);
  const data = new PciConfigData(made.bus, pci);
  const view = () => new PciBars(made.functions, made.bus, [ram, ecam], 2 ** 39, wires);
  const outl = (value: number): void => address.write(0, 4, value);
  const place = (slot: number, where: number): void => {
    const f = made.functions[slot]!;
    f.writeConfig(BAR0, 4, where % 2 ** 32);
    f.writeConfig(BAR0 + 4, 4, Math.floor(where / 2 ** 32));
  };
  return { ...made, wires, pci, address, data, ecam: new Ecam(pci), view, outl, place };
}

describe('configuration mechanism 1', () => {
  test("Linux's pci_check_type1: bytes at 0xCF8 are not the address register", () => {
    const { address, outl } = make();
    address.write(3, 1, 0x01);
    outl(0x8000_0000);
    expect(address.read(0, 4)).toBe(0x8000_0000);
    address.write(0, 1, 0x55);
    address.write(0, 2, 0x5555);
    expect(address.read(0, 4)).toBe(0x8000_0000);
    outl(0xffff_ffff);
    expect(address.read(0, 4)).toBe(0x80ff_fffc);
  });

  test('the host bridge is 00:00.0 and looks like one', () => {
    const { outl, data } = make();
    outl(0x8000_0000);
    expect(data.read(0, 4)).toBe(0x0008_1b36);
    outl(0x8000_0008);
    expect(data.read(2, 2)).toBe(0x0600);
    expect(data.read(3, 1)).toBe(0x06);
  });

  test('byte offsets inside the data register, writes of each width', () => {
    const { outl, data, functions } = make(device('a'));
    outl(0x8000_0000 | (1 << 11) | 0x0c);
    data.write(0, 1, 0x11);
    data.write(1, 1, 0x22);
    expect(functions[1]!.readConfig(0x0c, 2)).toBe(0x2211);
    expect(data.read(1, 2)).toBe(0x0022);
    outl(0x8000_0000 | (1 << 11) | 0x3c);
    data.write(0, 2, 0xff0b);
    expect(functions[1]!.readConfig(0x3c, 2)).toBe(0x010b);
  });

  test('without the enable bit, and for what is not there: all ones, writes nowhere', () => {
    const { outl, data, functions } = make(device('a'));
    const before = functions.map((f) => [...f.registers.config]);
    for (const at of [0, 0x8001_0000, 0x8000_f800, 0x8000_0900]) {
      outl(at);
      expect(data.read(0, 4)).toBe(0xffff_ffff);
      expect(data.read(1, 2)).toBe(0xffff);
      data.write(0, 4, 0);
    }
    expect(functions.map((f) => [...f.registers.config])).toEqual(before);
  });

  test('reset control at 0xCF9', () => {
    const { address, wires } = make();
    address.write(1, 1, 0x02);
    expect(wires.raised).toEqual([]);
    expect(address.read(1, 1)).toBe(0x02);
    address.write(1, 1, 0x06);
    expect(wires.raised).toEqual([[MachineEvent.reset, 0]]);
  });
});

describe('ECAM', () => {
  test('shows the same bytes as the ports, 4 KiB a function', () => {
    const { ecam: window, outl, data } = make(device('a'));
    const at = 1 << 15;
    window.write(at + 0x3c, 1, 0x0b);
    outl(0x8000_083c);
    expect(data.read(0, 1)).toBe(0x0b);
    for (let register = 0; register < 0x100; register += 4) {
      outl((0x8000_0800 | register) >>> 0);
      expect(window.read(at + register, 4)).toBe(data.read(0, 4));
    }
    expect(window.read(at + 0x100, 4)).toBe(0xffff_ffff);
    expect(window.read(at + 0xffe, 4)).toBe(0xffff_ffff); // does not run on into the next function
    expect(window.read(2 ** 28 - 4, 4)).toBe(0xffff_ffff);
    expect(window.read(1 << 12, 4)).toBe(0xffff_ffff);
  });
});

describe('BAR map', () => {
  test('a BAR is decoded where it is, by every vCPU, after it has moved', () => {
    const { view, place, functions, behaviours, layout } = make(device('a'));
    const vcpus = [0, 1].map(() => ({ bus: new Bus('mmio'), bars: view() }));
    const where = layout.barAddresses[1]![0]!;
    for (const { bus, bars } of vcpus) {
      bars.sync(bus);
      expect(bus.read(where + 0x10, 4)).toBe(0x11);
      expect(bus.claims(where + size, 1)).toBe(false);
    }
    place(1, 8 * GIB);
    for (const { bus, bars } of vcpus) {
      bars.sync(bus);
      expect(bus.claims(where, 1)).toBe(false);
      expect(bus.read(8 * GIB + size - 4, 4)).toBe(0x11);
      expect(bars.addressOf(functions[1]!, 0)).toBe(8 * GIB);
    }
    expect(behaviours[1]!.bars[0]!.accesses).toEqual(['r4@10', 'r4@10', 'r4@7ffc', 'r4@7ffc']);
  });

  test('decode off takes it away, decode on brings it back', () => {
    const { view, functions, layout } = make(device('a'));
    const bus = new Bus('mmio');
    const bars = view();
    const where = layout.barAddresses[1]![0]!;
    functions[1]!.writeConfig(COMMAND, 2, 0);
    bars.sync(bus);
    expect(bus.claims(where, 4)).toBe(false);
    expect(bars.addressOf(functions[1]!, 0)).toBe(0);
    functions[1]!.writeConfig(COMMAND, 2, MEMORY);
    bars.sync(bus);
    expect(bus.claims(where, 4)).toBe(true);
  });

  test.each([
    ['RAM', GIB - size],
    ['ECAM', 0xe000_0000],
    ['address 0', 0],
    ['beyond 39 bits', 2 ** 39],
    ['beyond every width', 2 ** 63],
  ])('over %s: not decoded, one warning whichever vCPUs look', (_, where) => {
    const { view, place, wires } = make(device('a'));
    const first = view();
    const second = view();
    place(1, where);
    const bus = new Bus('mmio');
    first.sync(bus);
    second.sync(new Bus('mmio'));
    first.sync(bus);
    expect(bus.claims(where, 4)).toBe(false);
    expect(wires.warnings).toHaveLength(1);
  });

  test('of two that overlap the first function wins; the other appears when there is room', () => {
    const { view, place, behaviours, functions, wires } = make(device('a'), device('b'));
    const bus = new Bus('mmio');
    const bars = view();
    place(2, 16 * GIB);
    place(1, 16 * GIB);
    bars.sync(bus);
    bus.write(16 * GIB, 4, 1);
    expect(behaviours[1]!.bars[0]!.accesses).toHaveLength(1);
    expect(bars.addressOf(functions[2]!, 0)).toBe(0);
    expect(wires.warnings.join()).toMatch(/b: .*over a/);
    place(1, 17 * GIB);
    bars.sync(bus);
    bus.write(16 * GIB, 4, 1);
    expect(behaviours[2]!.bars[0]!.accesses).toHaveLength(1);
  });

  test('any placement: never throws, decoded BARs never overlap RAM or each other', () => {
    const where = fc.oneof(
      fc.nat(2 ** 21).map((n) => n * size),
      fc.constantFrom(0, GIB, 0xe000_0000, 2 ** 39 - size),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), where, fc.boolean()), { maxLength: 30 }),
        (moves) => {
          const { view, place, functions } = make(device('a'), device('b'), device('c'));
          const bus = new Bus('mmio');
          const bars = view();
          for (const [slot, to, decode] of moves) {
            place(slot, to);
            functions[slot]!.writeConfig(COMMAND, 2, decode ? MEMORY : 0);
            bars.sync(bus);
            const placed = [1, 2, 3].map((n) => bars.addressOf(functions[n]!, 0)).filter((at) => at !== 0);
            for (const at of placed) {
              expect(at >= GIB && (at + size <= ecam.start || at >= ecam.start + ecam.size)).toBe(true);
              expect(placed.filter((other) => Math.abs(other - at) < size)).toHaveLength(1);
              expect(bus.claims(at, 4)).toBe(true);
            }
          }
        },
      ),
    );
  });
});

describe('placement', () => {
  const of = (...sizes: number[]): FunctionSpec[] =>
    sizes.map((s, i) => spec(`d${i}`, { bars: [{ index: 0, size: s, width: 64 }] }));

  test('aligned, disjoint, inside the windows; large ones above RAM', () => {
    const sizes = [0x1000, 0x8000, 32 * MIB, 0x1000, GIB, 1 * MIB];
    const placed = placeBars(of(...sizes), windows).map((p) => p[0]!);
    placed.forEach((at, i) => {
      const window = sizes[i]! >= 16 * MIB ? windows.high : windows.low;
      expect(at % sizes[i]!).toBe(0);
      expect(at >= window.start && at + sizes[i]! <= window.start + window.size).toBe(true);
      placed.forEach((other, j) => {
        if (i !== j) expect(at + sizes[i]! <= other || other + sizes[j]! <= at).toBe(true);
      });
    });
  });

  test('without a high window large BARs go below 4 GiB, until there is no room: an error that names the device', () => {
    const low = { low: windows.low, high: undefined };
    expect(placeBars(of(256 * MIB), low)[0]![0]).toBe(windows.low.start);
    expect(() => placeBars(of(512 * MIB, 0x1000), low)).toThrow(TsvmmError);
    expect(() => placeBars(of(512 * MIB, 0x1000), low)).toThrow(/d1/);
  });

  test('more functions than slots: an error that says how many fit', () => {
    expect(() => layoutPci(of(...new Array(33).fill(0x1000)), windows, 0)).toThrow(/room for 31/);
  });
});

test('hostile drivers: configuration ports at any offset, width and value', () => {
  const access = fc.record({
    port: fc.nat(7),
    write: fc.boolean(),
    size: fc.constantFrom<AccessSize>(1, 2, 4),
    value: fc.oneof(
      fc.nat(0xffff_ffff),
      fc.nat(0xffff).map((n) => (0x8000_0000 + n) >>> 0),
    ),
  });
  fc.assert(
    fc.property(fc.array(access, { maxLength: 100 }), (accesses) => {
      const { address, data, view } = make(device('a'), device('b'));
      const bus = new Bus('mmio');
      const bars = view();
      const ports = new Bus('ports');
      ports.insert(0, 4, address);
      ports.insert(4, 4, data);
      for (const { port, write, size: width, value } of accesses) {
        if (write) ports.write(port, width, value);
        else expect(ports.read(port, width)).toBeLessThan(2 ** (8 * width));
        bars.sync(bus);
      }
    }),
  );
});
