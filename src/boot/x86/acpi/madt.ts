/**
 * MADT: the interrupt controllers and the processors (ACPI 6.5 §5.2.12). Main thread.
 */
import { gsi, ioapic, localApic } from '../../../devices/memory-map.js';
import { ByteWriter } from '../byte-writer.js';
import { HEADER_SIZE, newTable, seal } from './table.js';

const REVISION = 5;
/** KVM has the two 8259s of a PC as well. */
const PCAT_COMPAT = 1;
const ENABLED = 1;
/** Local APIC entries hold ids below this; the byte 255 means "all" (§5.2.12.2, §5.2.12.12). */
const X2APIC_FROM = 255;
const ALL_PROCESSORS = 0xff;
const ALL_PROCESSORS_X2 = 0xffff_ffff;
const LINT1 = 1;
const IOAPIC_ID = 0;
const ISA_BUS = 0;
/** MPS INTI flags (§5.2.12.5): zero means "as the bus has it", for ISA edge and active high. */
const Inti = { conforms: 0, activeHighLevel: 0x0d } as const;

const EntryType = {
  localApic: 0,
  ioApic: 1,
  sourceOverride: 2,
  localApicNmi: 4,
  localX2Apic: 9,
  localX2ApicNmi: 10,
} as const;
/** Bytes of an entry of that type. */
const entrySize: Record<number, number> = { 0: 8, 1: 12, 2: 10, 4: 6, 9: 16, 10: 12 };

/** Processor n has UID n in the DSDT and `apicIds[n]` here. */
export function buildMadt(apicIds: readonly number[]): Uint8Array {
  const body = new ByteWriter();
  body.u32(localApic.start);
  body.u32(PCAT_COMPAT);
  for (const [uid, apicId] of apicIds.entries()) addProcessor(body, uid, apicId);
  addIoApic(body);
  addOverride(body, gsi.timer, gsi.timerPin, Inti.conforms);
  // KVM takes a raised line as active whatever polarity a guest programs; "high" is what is really meant.
  addOverride(body, gsi.sci, gsi.sci, Inti.activeHighLevel);
  addNmis(body, apicIds.at(-1)! >= X2APIC_FROM);

  const { bytes } = newTable('APIC', REVISION, HEADER_SIZE + body.length);
  bytes.set(body.bytes, HEADER_SIZE);
  return seal(bytes);
}

function begin(out: ByteWriter, type: number): void {
  out.byte(type);
  out.byte(entrySize[type]!);
}

function addProcessor(out: ByteWriter, uid: number, apicId: number): void {
  if (apicId < X2APIC_FROM) {
    begin(out, EntryType.localApic);
    out.byte(uid);
    out.byte(apicId);
    out.u32(ENABLED);
  } else {
    begin(out, EntryType.localX2Apic);
    out.u16(0);
    out.u32(apicId);
    out.u32(ENABLED);
    out.u32(uid);
  }
}

function addIoApic(out: ByteWriter): void {
  const firstGsi = 0;
  begin(out, EntryType.ioApic);
  out.byte(IOAPIC_ID);
  out.byte(0);
  out.u32(ioapic.start);
  out.u32(firstGsi);
}

/** ISA interrupt `source` arrives at `target`. */
function addOverride(out: ByteWriter, source: number, target: number, flags: number): void {
  begin(out, EntryType.sourceOverride);
  out.byte(ISA_BUS);
  out.byte(source);
  out.u32(target);
  out.u16(flags);
}

/** NMIs arrive at LINT1 of every processor. */
function addNmis(out: ByteWriter, x2apic: boolean): void {
  begin(out, EntryType.localApicNmi);
  out.byte(ALL_PROCESSORS);
  out.u16(Inti.conforms);
  out.byte(LINT1);
  if (!x2apic) return;
  begin(out, EntryType.localX2ApicNmi);
  out.u16(Inti.conforms);
  out.u32(ALL_PROCESSORS_X2);
  out.byte(LINT1);
  for (let reserved = 0; reserved < 3; reserved++) out.byte(0);
}
