/**
 * Resource descriptors and templates (ACPI 6.5 §6.4). Main thread.
 */
import type { MemoryRegion, PortRange } from '../../../devices/memory-map.js';
import { buffer } from './data.js';
import type { Aml } from './writer.js';

/** Small items carry their length in the tag (§6.4.2); large ones in two bytes (§6.4.3). */
const Small = { irq: 0x22, io: 0x47, end: 0x79 } as const;
const Large = { memory32Fixed: 0x86, dwordSpace: 0x87, wordSpace: 0x88, interrupt: 0x89, qwordSpace: 0x8a } as const;
const SpaceType = { memory: 0, io: 1, bus: 2 } as const;

const DECODE_16 = 1;
const READ_WRITE = 1;
const MEMORY_NON_CACHEABLE = READ_WRITE;
/** §6.4.3.5.5: neither ISA ranges only nor non-ISA ranges only. */
const ENTIRE_RANGE = 3;
/** A window that the bridge passes on, with both ends where it says (§6.4.3.5). */
const PRODUCER_FIXED = 0x0c;
/** The end tag's checksum may be zero: "the resource data is treated as if the checksum were correct". */
const NO_CHECKSUM = 0;

export const resourceTemplate = (...descriptors: Aml[]): Aml =>
  buffer(...descriptors, (out) => {
    out.byte(Small.end);
    out.byte(NO_CHECKSUM);
  });

/** Ports that a device decodes with 16 bits, here and nowhere else. */
export const io =
  ({ base, size }: PortRange): Aml =>
  (out) => {
    const align = 1;
    out.byte(Small.io);
    out.byte(DECODE_16);
    out.u16(base);
    out.u16(base);
    out.byte(align);
    out.byte(size);
  };

/** An ISA interrupt: edge, active high, not shared. */
export const irq =
  (line: number): Aml =>
  (out) => {
    out.byte(Small.irq);
    out.u16(1 << line);
  };

/** Any GSI (§6.4.3.6). */
export const interrupt =
  (gsi: number, trigger: 'edge' | 'level', polarity: 'high' | 'low'): Aml =>
  (out) => {
    const consumer = 1;
    out.byte(Large.interrupt);
    out.u16(6);
    out.byte(consumer | (trigger === 'edge' ? 2 : 0) | (polarity === 'low' ? 4 : 0));
    out.byte(1); // how many
    out.u32(gsi);
  };

export const memory32Fixed =
  ({ start, size }: MemoryRegion): Aml =>
  (out) => {
    out.byte(Large.memory32Fixed);
    out.u16(9);
    out.byte(READ_WRITE);
    out.u32(start);
    out.u32(size);
  };

/** Type, general flags and type flags, then granularity, minimum, maximum, translation and length of `width` bytes each. */
const addressSpace =
  (tag: number, width: 2 | 4 | 8, type: number, typeFlags: number, first: number, size: number): Aml =>
  (out) => {
    out.byte(tag);
    out.u16(3 + 5 * width);
    out.byte(type);
    out.byte(PRODUCER_FIXED);
    out.byte(typeFlags);
    for (const field of [0, first, first + size - 1, 0, size]) {
      if (width === 2) out.u16(field);
      else if (width === 4) out.u32(field);
      else out.u64(field);
    }
  };

export const wordBusNumber = (first: number, count: number): Aml =>
  addressSpace(Large.wordSpace, 2, SpaceType.bus, 0, first, count);
export const wordIo = (first: number, size: number): Aml =>
  addressSpace(Large.wordSpace, 2, SpaceType.io, ENTIRE_RANGE, first, size);
export const dwordMemory = ({ start, size }: MemoryRegion): Aml =>
  addressSpace(Large.dwordSpace, 4, SpaceType.memory, MEMORY_NON_CACHEABLE, start, size);
export const qwordMemory = ({ start, size }: MemoryRegion): Aml =>
  addressSpace(Large.qwordSpace, 8, SpaceType.memory, MEMORY_NON_CACHEABLE, start, size);
