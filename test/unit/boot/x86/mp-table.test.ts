import { describe, expect, test } from 'vitest';
import { buildMpTable, type MpConfig } from '../../../../src/boot/x86/mp-table.js';
import { gsi, mpArea, pciIntxGsi, virtioMmioPlace } from '../../../../src/devices/memory-map.js';

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const config: MpConfig = { apicIds: [0, 1], signature: 0xa0678, features: 0x1f8b_fbff, transport: 'pci' };
const sum = (bytes: Buffer): number => bytes.reduce((a, b) => (a + b) & 0xff, 0);
/** Bytes of an entry by its type (MP specification 1.4, table 4-3). */
const lengths = [20, 8, 8, 8, 8];

/** Follows the pointer as a guest does, checking both sums, and takes the table apart. */
function read(of: Partial<MpConfig> = {}) {
  const { address, data } = buildMpTable({ ...config, ...of });
  const memory = Buffer.from(data);
  expect(address % 16).toBe(0);
  const pointer = memory.subarray(0, 16);
  expect(pointer.toString('latin1', 0, 4)).toBe('_MP_');
  expect([pointer[8], pointer[9], sum(pointer)]).toEqual([1, 4, 0]);
  const table = memory.subarray(pointer.readUInt32LE(4) - address);
  expect(table.toString('latin1', 0, 4)).toBe('PCMP');
  expect([table.readUInt16LE(4), table.readUInt8(6), sum(table)]).toEqual([table.length, 4, 0]);
  expect(table.readUInt32LE(36)).toBe(0xfee0_0000);
  const entries: Buffer[] = [];
  for (let at = 44; at < table.length; at += lengths[table[at]!]!) {
    entries.push(table.subarray(at, at + lengths[table[at]!]!));
  }
  expect(entries).toHaveLength(table.readUInt16LE(34));
  const types = entries.map((entry) => entry[0]!);
  expect(types).toEqual([...types].sort());
  const ofType = (type: number): Buffer[] => entries.filter((entry) => entry[0] === type);
  const ioApic = ofType(2)[0]!;
  const buses = new Map(ofType(1).map((bus) => [bus[1]!, bus.toString('latin1', 2).trim()]));
  /** By bus and source: the IOAPIC's pin. */
  const pins = new Map(
    ofType(3).map((entry) => {
      expect([entry[1], entry.readUInt16LE(2), entry[6]]).toEqual([0, 0, ioApic[1]]);
      return [`${buses.get(entry[4]!)} ${entry[5]}`, entry[7]!];
    }),
  );
  return { memory, processors: ofType(0), buses, ioApic, pins, local: ofType(4) };
}

describe('the MP table', () => {
  test('has every processor, the first of them the boot processor, as CPUID shows it', () => {
    const { processors } = read({ apicIds: [0, 1, 4, 5] });
    expect(processors.map((entry) => [entry[1], entry[3]])).toEqual([
      [0, 3],
      [1, 1],
      [4, 1],
      [5, 1],
    ]);
    for (const entry of processors)
      expect([entry.readUInt32LE(4), entry.readUInt32LE(8)]).toEqual([0xa0678, 0x1f8b_fbff]);
  });

  test('has one IOAPIC, whose id no processor has', () => {
    for (const apicIds of [[0], range(254), [0, 1, 4, 5], range(16)]) {
      const { ioApic, processors } = read({ apicIds });
      expect(ioApic.readUInt32LE(4)).toBe(0xfec0_0000);
      expect(ioApic[3]).toBe(1);
      expect(processors.map((entry) => entry[1])).not.toContain(ioApic[1]);
    }
  });

  test('leaves out processors whose id is no byte', () => {
    const { processors } = read({ apicIds: range(300) });
    expect(processors).toHaveLength(255);
  });

  test.each(['pci', 'mmio'] as const)('has the ISA lines at their pins, the timer at pin 2 (%s)', (transport) => {
    const { pins } = read({ transport });
    for (const line of range(16)) {
      expect(pins.get(`ISA ${line}`)).toBe(line === 0 ? 2 : line === 2 ? undefined : line);
    }
  });

  test('has the INTx of every slot, on bus 0, where _PRT has it', () => {
    const { pins, buses } = read();
    expect([...buses]).toEqual([
      [0, 'PCI'],
      [1, 'ISA'],
    ]);
    for (const slot of range(32)) {
      for (const pin of range(4)) expect(pins.get(`PCI ${slot * 4 + pin}`)).toBe(pciIntxGsi(slot, pin));
    }
    expect(pins.size).toBe(15 + 128);
  });

  test('without a PCI bus has the lines of all virtio-mmio devices instead', () => {
    const { pins, buses } = read({ transport: 'mmio' });
    expect([...buses]).toEqual([[0, 'ISA']]);
    for (const device of range(gsi.virtioMmio.length)) {
      const { gsi: line } = virtioMmioPlace(device);
      expect(pins.get(`ISA ${line}`)).toBe(line);
    }
    expect(pins.size).toBe(23);
  });

  test('has the PICs at LINT0 and NMIs at LINT1', () => {
    const { local } = read();
    expect(local.map((entry) => [entry[1], entry[6], entry[7]])).toEqual([
      [3, 0, 0],
      [1, 255, 1],
    ]);
  });

  test('fits its place with as many processors as a machine can have', () => {
    expect(read({ apicIds: range(255) }).memory.length).toBeLessThan(mpArea.size);
  });
});
