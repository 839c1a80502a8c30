import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type AccessSize, Bus, type BusDevice, BusOverlapError } from '../../../src/bus/bus.js';

const device = (name: string): BusDevice & { seen: [number, number, number?][] } => {
  const seen: [number, number, number?][] = [];
  return {
    name,
    seen,
    read(offset, size) {
      seen.push([offset, size]);
      return 0x11;
    },
    write(offset, size, value) {
      seen.push([offset, size, value]);
    },
  };
};

test('a device sees offsets from its own base', () => {
  const bus = new Bus('ports');
  const serial = device('serial');
  bus.insert(0x3f8, 8, serial);
  expect(bus.read(0x3fd, 1)).toBe(0x11);
  bus.write(0x3f8, 1, 65);
  expect(serial.seen).toEqual([
    [5, 1],
    [0, 1, 65],
  ]);
});

test('what nobody claims, or claims only in part, reads as all ones', () => {
  const bus = new Bus('ports');
  const one = device('one');
  bus.insert(0x10, 4, one);
  expect([bus.read(0xf, 1), bus.read(0x14, 2), bus.read(0x12, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
  bus.write(0x13, 2, 1);
  expect(one.seen).toEqual([]);
});

test("T19: an access that reaches beyond its device, or past the end of all addresses, is nobody's", () => {
  const bus = new Bus('mmio');
  const last = device('last');
  bus.insert(2 ** 53 - 0x1000, 0x1000, last);
  const first = device('first');
  bus.insert(0, 0x10, first);
  for (const address of [2 ** 53 - 2, 2 ** 53, 2 ** 64 - 4, 2 ** 64 - 1, 0xe, -1, Number.NaN]) {
    expect(bus.read(address, 4)).toBe(0xffff_ffff);
    bus.write(address, 4, 1);
  }
  expect([last.seen, first.seen]).toEqual([[], []]);
});

test('an overlap names both devices and their ranges', () => {
  const bus = new Bus('mmio');
  bus.insert(0x1000, 0x100, device('first'));
  expect(() => bus.insert(0x10ff, 1, device('second'))).toThrow(
    'mmio: second at 0x10ff-0x10ff overlaps first at 0x1000-0x10ff',
  );
  expect(() => bus.insert(0x2000, 0, device('empty'))).toThrow(BusOverlapError);
});

test('dispatch agrees with a linear search', () => {
  const ranges = fc.uniqueArray(fc.nat(60), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(ranges, fc.nat(1000), fc.constantFrom<AccessSize>(1, 2, 4), (slots, address, size) => {
      const bus = new Bus('b');
      const devices = slots.map((slot) => ({ slot, device: device(`d${slot}`) }));
      for (const { slot, device: d } of devices) bus.insert(slot * 16, 12, d);
      const owner = devices.find(({ slot }) => address >= slot * 16 && address + size <= slot * 16 + 12);
      expect(bus.claims(address, size)).toBe(owner !== undefined);
      bus.read(address, size);
      for (const { device: d } of devices) expect(d.seen.length).toBe(d === owner?.device ? 1 : 0);
    }),
  );
});
