import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as map from '../../../src/devices/memory-map.js';

const GIB = 1024 ** 3;

test('the device hole holds its parts, and they do not overlap', () => {
  const { bar32Window, ecam, ioapic, localApic, kvmIdentityMap, kvmTss } = map;
  const parts = [bar32Window, ecam, ioapic, localApic, kvmIdentityMap, kvmTss].sort((a, b) => a.start - b.start);
  let end = map.deviceHole.start;
  for (const part of parts) {
    expect(part.start).toBeGreaterThanOrEqual(end);
    end = map.endOf(part);
  }
  expect(end).toBeLessThanOrEqual(map.endOf(map.deviceHole));
  expect(map.endOf(map.deviceHole)).toBe(map.highRamStart);
});

test('no two port ranges overlap', () => {
  const ranges = Object.entries(map.ports).sort(([, a], [, b]) => a.base - b.base);
  for (const [i, [name, range]] of ranges.entries()) {
    const [before, other] = ranges[i - 1] ?? ['', { base: 0, size: 0 }];
    expect(range.base, `${before} and ${name}`).toBeGreaterThanOrEqual(other.base + other.size);
  }
});

test.each(map.transports)('interrupt lines are used once and exist (%s)', (transport) => {
  const { timerPin, serial, rtc, sci, virtioMmio, pciFirst, pciCount, msiFirst } = map.gsi;
  const intx = Array.from({ length: pciCount }, (_, i) => pciFirst + i);
  const lines = [timerPin, serial, rtc, sci, ...(transport === 'pci' ? intx : virtioMmio)];
  expect(new Set(lines).size).toBe(lines.length);
  expect(Math.max(...lines)).toBeLessThan(map.ioapicPins);
  expect(msiFirst).toBe(map.ioapicPins);
});

test('virtio-mmio devices have a page and a line each, beside everything else below 4 GiB', () => {
  const { bar32Window, ecam, ioapic, localApic, kvmIdentityMap, kvmTss, deviceHole, virtioMmioPlace } = map;
  const places = Array.from({ length: map.maxVirtioMmio }, (_, device) => virtioMmioPlace(device));
  expect(new Set(places.map(({ gsi }) => gsi)).size).toBe(map.maxVirtioMmio);
  const parts = [bar32Window, ecam, ioapic, localApic, kvmIdentityMap, kvmTss, ...places.map(({ region }) => region)];
  let end = deviceHole.start;
  for (const part of parts.sort((a, b) => a.start - b.start)) {
    expect(part.start).toBeGreaterThanOrEqual(end);
    end = map.endOf(part);
  }
});

test('the INTx lines of neighbouring slots differ, and all are PCI lines', () => {
  for (let slot = 0; slot < map.pciSlots; slot++) {
    const lines = [0, 1, 2, 3].map((pin) => map.pciIntxGsi(slot, pin));
    expect(new Set(lines).size).toBe(4);
    expect(lines.every((line) => line >= 16 && line <= 23)).toBe(true);
  }
  expect(map.pciIntxGsi(0, 0)).not.toBe(map.pciIntxGsi(1, 0));
});

test('RAM of any size is cut at the hole and nothing is lost', () => {
  expect(map.ramRegions(GIB)).toEqual([{ start: 0, size: GIB }]);
  expect(map.ramRegions(3 * GIB)).toEqual([{ start: 0, size: 3 * GIB }]);
  expect(map.ramRegions(5 * GIB)).toEqual([
    { start: 0, size: 3 * GIB },
    { start: 4 * GIB, size: 2 * GIB },
  ]);
});

test('the 64-bit BAR window lies above RAM, on a GiB, inside the address width, or does not exist', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 44 }), fc.integer({ min: 32, max: 52 }), (ramBytes, bits) => {
      const ramEnd = map.endOf(map.ramRegions(ramBytes).at(-1)!);
      const window = map.bar64Window(ramEnd, bits);
      if (window === undefined) {
        expect(2 ** bits - Math.max(ramEnd, 4 * GIB)).toBeLessThan(2 * GIB);
        return;
      }
      expect(window.start % GIB).toBe(0);
      expect(window.start).toBeGreaterThanOrEqual(Math.max(ramEnd, 4 * GIB));
      expect(window.start - Math.max(ramEnd, 4 * GIB)).toBeLessThan(GIB);
      expect(window.size).toBeGreaterThanOrEqual(GIB);
      expect(map.endOf(window)).toBeLessThanOrEqual(2 ** bits);
    }),
  );
});
