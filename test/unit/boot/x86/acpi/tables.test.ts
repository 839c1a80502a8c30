import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildAcpiTables } from '../../../../../src/boot/x86/acpi/tables.js';
import {
  acpiArea,
  bar64Window,
  endOf,
  generationId,
  gsi,
  ports,
  ramRegions,
} from '../../../../../src/devices/memory-map.js';
import { refusal } from '../../linux/kernels.js';
import { complaints, noIasl, roundTrip } from '../iasl.js';

const GIB = 1024 ** 3;

interface Tables {
  readonly rsdp: Buffer;
  /** By signature, in the order of the XSDT; DSDT and FACS from the FADT. */
  readonly all: Map<string, Buffer>;
}

const generation = Uint8Array.from({ length: 16 }, (_, i) => i);

/** Follows the pointers as a guest does, checking every checksum on the way. */
function read(config: Omit<Parameters<typeof buildAcpiTables>[0], 'generation'>): Tables {
  const { rsdp: rsdpAt, segments } = buildAcpiTables({ ...config, generation });
  expect(segments[1]).toEqual({ name: 'generation identifier', address: generationId.start, data: generation });
  const { address, data } = segments[0]!;
  expect(address).toBeGreaterThanOrEqual(acpiArea.start);
  expect(address + data.length).toBeLessThanOrEqual(endOf(acpiArea));
  const memory = Buffer.from(data);
  const sum = (bytes: Buffer): number => bytes.reduce((a, b) => (a + b) & 0xff, 0);
  const at = (gpa: number | bigint): Buffer => memory.subarray(Number(gpa) - address);
  const all = new Map<string, Buffer>();
  const table = (gpa: number | bigint): Buffer => {
    const bytes = at(gpa).subarray(0, at(gpa).readUInt32LE(4));
    const signature = bytes.toString('latin1', 0, 4);
    if (signature !== 'FACS') expect(sum(bytes), signature).toBe(0);
    all.set(signature, bytes);
    return bytes;
  };
  expect(rsdpAt % 16).toBe(0);
  const rsdp = at(rsdpAt).subarray(0, 36);
  expect(rsdp.toString('latin1', 0, 8)).toBe('RSD PTR ');
  expect([sum(rsdp.subarray(0, 20)), sum(rsdp), rsdp.readUInt8(15), rsdp.readUInt32LE(20)]).toEqual([0, 0, 2, 36]);
  const xsdt = table(rsdp.readBigUInt64LE(24));
  for (let i = 36; i < xsdt.length; i += 8) table(xsdt.readBigUInt64LE(i));
  const fadt = all.get('FACP')!;
  table(fadt.readBigUInt64LE(140));
  expect(fadt.readUInt32LE(36) % 64).toBe(0);
  table(fadt.readUInt32LE(36));
  return { rsdp, all };
}

const mmio = { transport: 'mmio', virtioMmio: 15 } as const;

/** The MADT's entries as [type, bytes after the two-byte header]. */
function madtEntries(madt: Buffer): [number, Buffer][] {
  const entries: [number, Buffer][] = [];
  for (let at = 44; at < madt.length; at += madt.readUInt8(at + 1)) {
    entries.push([madt.readUInt8(at), madt.subarray(at + 2, at + madt.readUInt8(at + 1))]);
  }
  return entries;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('the guest finds FACP, APIC, MCFG, DSDT and FACS', () => {
  expect([...read({ apicIds: [0] }).all.keys()]).toEqual(['XSDT', 'FACP', 'APIC', 'MCFG', 'DSDT', 'FACS']);
});

test('checksums and pointers hold for many machines', () => {
  const machine = fc.record({
    cpus: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 250, max: 600 })),
    stride: fc.constantFrom(1, 2, 8),
    memory: fc.integer({ min: 1, max: 2048 }),
    bits: fc.integer({ min: 32, max: 52 }),
  });
  fc.assert(
    fc.property(machine, ({ cpus, stride, memory, bits }) => {
      const apicIds = range(cpus).map((i) => i * stride);
      const { all } = read({ apicIds, bar64: bar64Window(endOf(ramRegions(memory * GIB).at(-1)!), bits) });
      const entries = madtEntries(all.get('APIC')!);
      const seen = entries.flatMap(([type, bytes]): [number, number][] => {
        if (type === 0) return [[bytes.readUInt8(0), bytes.readUInt8(1)]];
        if (type === 9) return [[bytes.readUInt32LE(10), bytes.readUInt32LE(2)]];
        return [];
      });
      expect(seen).toEqual(apicIds.map((id, uid) => [uid, id]));
      expect(entries.some(([type]) => type === 10)).toBe(apicIds.at(-1)! >= 255);
    }),
    { numRuns: 30 },
  );
});

test('MADT: x2APIC entries exactly from id 255 on, which a byte cannot hold', () => {
  const entries = madtEntries(read({ apicIds: [0, 254, 255, 256] }).all.get('APIC')!);
  expect(entries.map(([type]) => type)).toEqual([0, 0, 9, 9, 1, 2, 2, 4, 10]);
});

test('MADT: IOAPIC at GSI 0, timer on pin 2, SCI level and active high, NMI at LINT1', () => {
  const madt = read({ apicIds: [0] }).all.get('APIC')!;
  expect([madt.readUInt32LE(36), madt.readUInt32LE(40)]).toEqual([0xfee0_0000, 1]);
  const entries = madtEntries(madt);
  expect(entries.map(([type, bytes]) => [type, bytes.toString('hex')])).toEqual([
    [0, '000001000000'],
    [1, '00000000c0fe00000000'],
    [2, '0000020000000000'],
    [2, '0009090000000d00'],
    [4, 'ff000001'],
  ]);
});

describe('FADT', () => {
  const fadt = read({ apicIds: [0] }).all.get('FACP')!;
  const flags = fadt.readUInt32LE(112);

  test('is revision 6 with its whole length and not hardware-reduced', () => {
    expect([fadt.readUInt8(8), fadt.length]).toEqual([6, 276]);
    expect(flags & (1 << 20)).toBe(0);
  });

  test('says that ACPI mode is on, and where the registers are, twice the same', () => {
    expect([fadt.readUInt32LE(48), fadt.readUInt8(52), fadt.readUInt8(53)]).toEqual([0, 0, 0]); // SMI_CMD and values
    expect(fadt.readUInt16LE(46)).toBe(9);
    for (const [port, old, oldLength, gas] of [
      [ports.pm1Event, 56, 88, 148],
      [ports.pm1Control, 64, 89, 172],
      [ports.pmTimer, 76, 91, 208],
    ] as const) {
      expect([fadt.readUInt32LE(old), fadt.readUInt8(oldLength)]).toEqual([port.base, port.size]);
      expect([fadt.readUInt8(gas), fadt.readUInt8(gas + 1), fadt.readUInt32LE(gas + 4)]).toEqual([
        1,
        port.size * 8,
        port.base,
      ]);
    }
  });

  test('has a fixed power button, no sleep button, a 24-bit timer, a reset register', () => {
    expect([4, 5, 8, 10].map((bit) => (flags >>> bit) & 1)).toEqual([0, 1, 0, 1]);
    expect([fadt.readUInt8(116), fadt.readUInt8(117), fadt.readUInt32LE(120), fadt.readUInt8(128)]).toEqual([
      1, 8, 0x64, 0xfe,
    ]);
  });

  test('announces ISA devices, no VGA and no keyboard; no C2 and C3; a century register', () => {
    expect(fadt.readUInt16LE(109)).toBe(0b101);
    expect(fadt.readUInt16LE(96)).toBeGreaterThan(100);
    expect(fadt.readUInt16LE(98)).toBeGreaterThan(1000);
    expect(fadt.readUInt8(108)).toBe(0x32);
  });
});

test('MCFG: the one bus at the ECAM window', () => {
  const mcfg = read({ apicIds: [0] }).all.get('MCFG')!;
  expect(mcfg.length).toBe(60);
  expect(mcfg.subarray(44).toString('hex')).toBe('000000e0000000000000' + '0000' + '00000000');
});

test('without a PCI bus there is no MCFG', () => {
  expect([...read({ apicIds: [0], ...mmio }).all.keys()]).toEqual(['XSDT', 'FACP', 'APIC', 'DSDT', 'FACS']);
});

describe('refuses', () => {
  test.each([
    ['no vCPU', []],
    ['ids that do not ascend', [1, 0]],
    ['an id twice', [1, 1]],
    ['a negative id', [-1]],
    ['the broadcast id', [0xffff_ffff]],
    ['a fraction', [0.5]],
    ['more vCPUs than fit', range(4097)],
    ['more vCPUs than fit below 1 MiB', range(4096)],
  ])('%s', (_, apicIds) => {
    expect(refusal(() => buildAcpiTables({ apicIds, generation })).code).toBe('ERR_TSVMM_CONFIG');
  });
});

test('1024 vCPUs, the most that KVM had for long, do fit', () => {
  expect(() => read({ apicIds: range(1024) })).not.toThrow();
});

describe.skipIf(noIasl !== undefined)('iasl', () => {
  const bar64 = bar64Window(8 * GIB, 40);
  const flat = (source: string): string => source.replace(/\/\/.*$|\/\*.*?\*\//gm, '').replace(/\s+/g, ' ');

  test.each([
    ['1 vCPU', { apicIds: [0] }],
    ['4 vCPUs and a 64-bit window', { apicIds: range(4), bar64 }],
    ['300 vCPUs', { apicIds: range(300), bar64 }],
    ['virtio-mmio devices', { apicIds: [0, 1], ...mmio }],
  ])('compiles the disassembled DSDT of %s to the same bytes, without remark', (_, config) => {
    const dsdt = read(config).all.get('DSDT')!;
    const { messages, recompiled } = roundTrip(dsdt);
    expect(complaints(messages)).toEqual([]);
    expect(messages).toMatch(/0 Errors, 0 Warnings, 0 Remarks/);
    expect(recompiled.subarray(36).equals(dsdt.subarray(36))).toBe(true);
  });

  test.each(['XSDT', 'FACP', 'APIC', 'MCFG', 'FACS'])('reads and rebuilds the %s', (signature) => {
    const table = read({ apicIds: [0, 1, 300], bar64 }).all.get(signature)!;
    const { messages, recompiled } = roundTrip(table);
    expect(complaints(messages)).toEqual([]);
    if (signature === 'FACS') expect(recompiled.equals(table)).toBe(true);
    else expect(recompiled.subarray(36).equals(table.subarray(36))).toBe(true);
  });

  test('sees where the generation identifier is, and what tells of a change', () => {
    expect(generationId.start).toBeGreaterThanOrEqual(endOf(acpiArea));
    expect(generationId.start % 4096).toBe(0);
    const source = flat(roundTrip(read({ apicIds: [0] }).all.get('DSDT')!).source);
    expect(source).toContain(
      'Device (VGEN) { Name (_HID, "TSVM0001") Name (_CID, "VM_Gen_Counter") Name (_DDN, "VM_Gen_Counter") ' +
        `Name (ADDR, Package (0x02) { 0x${generationId.start.toString(16).toUpperCase().padStart(8, '0')}, Zero })`,
    );
    const line = `0x${gsi.events.toString(16).toUpperCase().padStart(8, '0')}`;
    expect(source).toContain(`Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { ${line}, }`);
    expect(source).toContain('Method (_EVT, 1, Serialized) { Notify (VGEN, 0x80)');
  });

  test('sees virtio-mmio devices with registers and an edge each, and no PCI bus', () => {
    const source = flat(roundTrip(read({ apicIds: [0], ...mmio }).all.get('DSDT')!).source);
    for (const [name, uid, address, line] of [
      ['V000', 'Zero', '0xFEB00000', '0x00000005'],
      ['V00E', '0x0E', '0xFEB0E000', '0x00000017'],
    ]) {
      expect(source).toContain(
        `Device (${name}) { Name (_HID, "LNRO0005") Name (_UID, ${uid}) Name (_CCA, One) Name (_CRS, ResourceTemplate () ` +
          `{ Memory32Fixed (ReadWrite, ${address}, 0x00001000, ) ` +
          `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { ${line}, } })`,
      );
    }
    expect(source.match(/LNRO0005/g)).toHaveLength(15);
    expect(source).not.toContain('PNP0A08');
    expect(source).not.toContain('0xE0000000');
    expect(flat(roundTrip(read({ apicIds: [0], transport: 'mmio' }).all.get('DSDT')!).source)).not.toContain('LNRO');
  });

  test('sees the devices, windows and routes that were meant', () => {
    const source = flat(roundTrip(read({ apicIds: [0, 1], bar64 }).all.get('DSDT')!).source);
    for (const expected of [
      'Device (C001) { Name (_HID, "ACPI0007" ) Name (_UID, One) }',
      'Device (PCI0) { Name (_HID, EisaId ("PNP0A08") ) Name (_CID, EisaId ("PNP0A03") )',
      'Package (0x04) { 0xFFFF, Zero, Zero, 0x10 }',
      'Package (0x04) { 0x001FFFFF, 0x03, Zero, 0x12 }',
      'Method (_OSC, 4, Serialized)',
      'ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")',
      'Device (MBRD) { Name (_HID, EisaId ("PNP0C02") )',
      'Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000',
      'Device (COM1) { Name (_HID, EisaId ("PNP0501") )',
      'IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08, ) IRQNoFlags () {4}',
      'Device (RTC) { Name (_HID, EisaId ("PNP0B00") )',
      'Device (PEVT) { Name (_HID, "QEMU0001") Name (_STA, 0x0F)',
      'Name (_S5, Package (0x04)',
    ]) {
      expect(source).toContain(expected);
    }
    expect(source).toContain('0xC0000000, 0xDFFFFFFF, 0x00000000, 0x20000000');
    expect(source).toContain('0x0000000200000000, 0x00000081FFFFFFFF');
    expect(source).not.toContain('PNP0303');
  });
});
