/**
 * Small kernels made up for tests: a bzImage and ELF files whose every field a test can set.
 */
import { TsvmmError } from '../../../../src/errors.js';

const MIB = 1024 * 1024;

export interface BzImageFields {
  version?: number;
  xloadflags?: number;
  loadflags?: number;
  setupSects?: number;
  jumpLength?: number;
  codeSize?: number;
  syssize?: number;
  prefAddress?: bigint;
  initSize?: number;
  alignment?: number;
  relocatable?: number;
  cmdlineSize?: number;
  initrdAddrMax?: number;
  release?: string;
  trailer?: number;
}

/** Like a Debian kernel of 64 KiB that runs at 16 MiB in 1 MiB. Its code is 0xc0, 0xc1, ... */
export function fakeBzImage(fields: BzImageFields = {}): Buffer {
  const setupSects = fields.setupSects ?? 3;
  const codeSize = fields.codeSize ?? 64 * 1024;
  const start = ((setupSects || 4) + 1) * 512;
  const file = Buffer.alloc(start + codeSize + (fields.trailer ?? 0));
  file.writeUInt8(setupSects, 0x1f1);
  file.writeUInt32LE(fields.syssize ?? Math.ceil(codeSize / 16), 0x1f4);
  file.writeUInt16LE(0xaa55, 0x1fe);
  file.writeUInt8(0xeb, 0x200);
  file.writeUInt8(fields.jumpLength ?? 0x6a, 0x201);
  file.write('HdrS', 0x202, 'latin1');
  file.writeUInt16LE(fields.version ?? 0x020f, 0x206);
  file.writeUInt16LE(0x300 - 0x200, 0x20e);
  file.write(`${fields.release ?? '6.1.0-test'} (somebody) #1 SMP`, 0x300, 'latin1');
  file.writeUInt8(fields.loadflags ?? 1, 0x211);
  file.writeUInt32LE(0x10_0000, 0x214);
  file.writeUInt32LE(fields.initrdAddrMax ?? 0x7fff_ffff, 0x22c);
  file.writeUInt32LE(fields.alignment ?? 0x20_0000, 0x230);
  file.writeUInt8(fields.relocatable ?? 1, 0x234);
  file.writeUInt8(21, 0x235);
  file.writeUInt16LE(fields.xloadflags ?? 0x3f, 0x236);
  file.writeUInt32LE(fields.cmdlineSize ?? 2047, 0x238);
  file.writeBigUInt64LE(fields.prefAddress ?? BigInt(16 * MIB), 0x258);
  file.writeUInt32LE(fields.initSize ?? MIB, 0x260);
  for (let i = 0; i < codeSize; i++) file[start + i] = 0xc0 + (i % 16);
  return file;
}

export interface FakeSegment {
  type?: number;
  offset?: number;
  paddr?: number;
  memsz?: number;
  align?: number;
  data?: Buffer;
  filesz?: number;
}

export interface ElfFields {
  bits?: 32 | 64;
  type?: number;
  machine?: number;
  entry?: number;
  phnum?: number;
  phentsize?: number;
  phoff?: number;
  segments?: FakeSegment[];
}

export const PT_LOAD = 1;
export const PT_NOTE = 4;

/** One PT_LOAD of 4 KiB at 1 MiB (8 KiB in memory) unless told otherwise. */
export function fakeElf(fields: ElfFields = {}): Buffer {
  const bits = fields.bits ?? 64;
  const [headerSize, entrySize] = bits === 64 ? [64, 56] : [52, 32];
  const segments = fields.segments ?? [{ paddr: MIB, memsz: 8192, data: Buffer.alloc(4096, 0x90) }];
  let at = headerSize + segments.length * entrySize;
  const header = Buffer.alloc(at);
  const word = (value: number, offset: number): void => {
    if (bits === 64) header.writeBigUInt64LE(BigInt(value), offset);
    else header.writeUInt32LE(value, offset);
  };
  header.write('\x7fELF', 'latin1');
  header.writeUInt8(bits / 32, 4);
  header.writeUInt8(1, 5);
  header.writeUInt16LE(fields.type ?? 2, 16);
  header.writeUInt16LE(fields.machine ?? (bits === 64 ? 62 : 3), 18);
  word(fields.entry ?? MIB, 24);
  word(fields.phoff ?? headerSize, bits === 64 ? 32 : 28);
  header.writeUInt16LE(fields.phentsize ?? entrySize, bits === 64 ? 54 : 42);
  header.writeUInt16LE(fields.phnum ?? segments.length, bits === 64 ? 56 : 44);
  for (const [i, segment] of segments.entries()) {
    const data = segment.data ?? Buffer.alloc(0);
    const filesz = segment.filesz ?? data.length;
    const ph = headerSize + i * entrySize;
    header.writeUInt32LE(segment.type ?? PT_LOAD, ph);
    const offsets = bits === 64 ? [8, 24, 32, 40, 48] : [4, 12, 16, 20, 28];
    const values = [segment.offset ?? at, segment.paddr ?? 0, filesz, segment.memsz ?? filesz, segment.align ?? 4];
    for (const [j, value] of values.entries()) word(value, ph + offsets[j]!);
    at += data.length;
  }
  return Buffer.concat([header, ...segments.map(({ data }) => data ?? Buffer.alloc(0))]);
}

/** An ELF note with its padding. */
export function fakeNote(name: string, type: number, desc: Buffer, align = 4): Buffer {
  const padded = (n: number): number => Math.ceil(n / align) * align;
  const descAt = padded(12 + name.length);
  const note = Buffer.alloc(padded(descAt + desc.length));
  note.writeUInt32LE(name.length, 0);
  note.writeUInt32LE(desc.length, 4);
  note.writeUInt32LE(type, 8);
  note.write(name, 12, 'latin1');
  desc.copy(note, descAt);
  return note;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** Runs `action`; returns the TsvmmError it throws, and lets anything else pass. */
export function refusal(action: () => unknown): TsvmmError {
  try {
    action();
  } catch (error) {
    if (error instanceof TsvmmError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
