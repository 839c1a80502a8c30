/**
 * The MP configuration table, for guests without ACPI: processors, the IOAPIC and how interrupts arrive (Intel
 * MultiProcessor Specification 1.4, §4). Main thread.
 *
 * It says what MADT and _PRT say, and is there in every machine: a kernel with ACPI does not look at it, one that has none
 * or was started with acpi=off finds all processors and lines by it.
 */
import {
  gsi,
  ioapic,
  localApic,
  mpArea,
  pciIntxGsi,
  pciPins,
  pciSlots,
  type Transport,
} from '../../devices/memory-map.js';
import type { Segment } from '../boot-image.js';
import { seal, setAscii } from './acpi/table.js';
import { ByteWriter } from './byte-writer.js';
import { viewOf } from './bytes.js';

export interface MpConfig {
  /** APIC id of each vCPU, ascending; the first is the boot processor's. */
  readonly apicIds: readonly number[];
  /** What leaf 1 of the CPUID shows: EAX and EDX. */
  readonly signature: number;
  readonly features: number;
  readonly transport: Transport;
}

/** §4.1. */
const pointerSize = 16;
const pointerChecksum = 10;
/** §4.2. */
const headerSize = 44;
const headerChecksum = 7;
const specification = 4; // 1.4

const EntryType = { processor: 0, bus: 1, ioApic: 2, ioInterrupt: 3, localInterrupt: 4 } as const;
const InterruptType = { int: 0, nmi: 1, extInt: 3 } as const;
/** Polarity and trigger as the bus has them: ISA edge and high, PCI level and low. */
const conforms = 0;
const processorEnabled = 1;
const bootProcessor = 2;
const ioApicEnabled = 1;
/** What KVM's version registers read as. */
const localApicVersion = 0x14;
const ioApicVersion = 0x11;
const allLocalApics = 0xff;
const isaLines = 16;
/** ISA line 2 is the second PIC's cascade. */
const cascade = 2;

/** Local APIC ids here are bytes, and 255 means all: processors above cannot be reached without ACPI. */
const describable = (id: number): boolean => id < allLocalApics;

export function buildMpTable(config: MpConfig): Segment {
  const entries = new ByteWriter();
  const count = addEntries(entries, config);
  const area = new Uint8Array(pointerSize + headerSize + entries.length);
  const table = area.subarray(pointerSize);
  table.set(entries.bytes, headerSize);
  const view = viewOf(table);
  setAscii(table, 0, 'PCMP');
  view.setUint16(4, table.length, true);
  view.setUint8(6, specification);
  setAscii(table, 8, 'TSVMM   ');
  setAscii(table, 16, 'MACHINE     ');
  view.setUint16(34, count, true);
  view.setUint32(36, localApic.start, true);
  seal(table, headerChecksum);

  const pointer = area.subarray(0, pointerSize);
  setAscii(pointer, 0, '_MP_');
  viewOf(pointer).setUint32(4, mpArea.start + pointerSize, true);
  pointer[8] = pointerSize / 16;
  pointer[9] = specification;
  // Feature bytes are zero: there is a table, and interrupts come in virtual wire mode.
  seal(pointer, pointerChecksum);
  return { name: 'MP table', address: mpArea.start, data: area };
}

/** How many there are; they are sorted by type. */
function addEntries(out: ByteWriter, { apicIds, signature, features, transport }: MpConfig): number {
  let count = 0;
  const entry = (type: number): void => {
    out.byte(type);
    count++;
  };
  const ids = apicIds.filter(describable);
  for (const [index, id] of ids.entries()) {
    entry(EntryType.processor);
    out.byte(id);
    out.byte(localApicVersion);
    out.byte(processorEnabled | (index === 0 ? bootProcessor : 0));
    out.u32(signature);
    out.u32(features);
    out.u32(0);
    out.u32(0);
  }
  // Linux takes the number of a PCI bus here for the bus's own, so PCI comes first (§4.3.2).
  const isa = transport === 'pci' ? 1 : 0;
  for (const [bus, name] of (transport === 'pci' ? ['PCI   ', 'ISA   '] : ['ISA   ']).entries()) {
    entry(EntryType.bus);
    out.byte(bus);
    out.ascii(name);
  }
  const ioApicId = freeId(ids);
  entry(EntryType.ioApic);
  out.byte(ioApicId);
  out.byte(ioApicVersion);
  out.byte(ioApicEnabled);
  out.u32(ioapic.start);

  const interrupt = (type: number, kind: number, bus: number, source: number, apic: number, pin: number): void => {
    entry(type);
    out.byte(kind);
    out.u16(conforms);
    out.byte(bus);
    out.byte(source);
    out.byte(apic);
    out.byte(pin);
  };
  for (let line = 0; line < isaLines; line++) {
    if (line === cascade) continue;
    const pin = line === gsi.timer ? gsi.timerPin : line;
    interrupt(EntryType.ioInterrupt, InterruptType.int, isa, line, ioApicId, pin);
  }
  if (transport === 'pci') {
    for (let slot = 0; slot < pciSlots; slot++) {
      for (let pin = 0; pin < pciPins; pin++) {
        interrupt(EntryType.ioInterrupt, InterruptType.int, 0, (slot << 2) | pin, ioApicId, pciIntxGsi(slot, pin));
      }
    }
  } else {
    // Lines that no ISA bus ever had, as edges: those are what a word on the command line can name.
    for (const line of gsi.virtioMmio) {
      if (line >= isaLines) interrupt(EntryType.ioInterrupt, InterruptType.int, isa, line, ioApicId, line);
    }
  }
  interrupt(EntryType.localInterrupt, InterruptType.extInt, isa, 0, ids[0]!, 0);
  interrupt(EntryType.localInterrupt, InterruptType.nmi, isa, 0, allLocalApics, 1);
  return count;
}

/** An id that no processor has (§3.6.6). */
function freeId(ids: readonly number[]): number {
  let id = 0;
  for (const taken of ids) if (taken === id) id++;
  return id;
}
