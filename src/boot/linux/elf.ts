/**
 * The headers of an ELF kernel (vmlinux), read and checked (ELF-64 object file format, System V gABI ch. 4-5). Main thread.
 *
 * The file is untrusted: counts are bounded and every offset is compared with the file before use.
 */
import type { TsvmmError } from '../../errors.js';
import { getU64, viewOf } from '../x86/bytes.js';
import { damaged, hex, kernelError } from './kernel-error.js';

/** Linux has five; a linker script gone wild has dozens. */
const MAX_PROGRAM_HEADERS = 128;
const SegmentType = { load: 1, interpreter: 3, note: 4 } as const;
const FileType = { executable: 2, shared: 3 } as const;

export interface LoadSegment {
  /** Physical address. */
  readonly address: number;
  /** Bytes in memory; those past `data` are zero. */
  readonly memorySize: number;
  /** A view of the file. */
  readonly data: Uint8Array;
}

export interface NoteSegment {
  readonly data: Uint8Array;
  /** 4 or 8. */
  readonly align: number;
}

export interface ElfKernel {
  readonly bits: 32 | 64;
  readonly entry: number;
  readonly segments: readonly LoadSegment[];
  readonly notes: readonly NoteSegment[];
}

/** Field offsets of the two classes. */
const layouts = {
  32: {
    header: 52,
    entry: 24,
    phoff: 28,
    phentsize: 42,
    phnum: 44,
    ph: { size: 32, offset: 4, paddr: 12, filesz: 16, memsz: 20, align: 28 },
  },
  64: {
    header: 64,
    entry: 24,
    phoff: 32,
    phentsize: 54,
    phnum: 56,
    ph: { size: 56, offset: 8, paddr: 24, filesz: 32, memsz: 40, align: 48 },
  },
} as const;
const TYPE_AT = 16;

type Layout = (typeof layouts)[32 | 64];

/** `file` has been recognised as an ELF file for x86 of that class. */
export function parseElf(file: Uint8Array, bits: 32 | 64): ElfKernel {
  const layout = layouts[bits];
  const view = viewOf(file);
  if (file.length < layout.header) throw damaged(`the file ends at ${hex(file.length)}, inside the ELF header`);
  const word = (at: number): number => (bits === 64 ? getU64(view, at) : view.getUint32(at, true));
  const type = view.getUint16(TYPE_AT, true);
  if (type !== FileType.executable && type !== FileType.shared) throw notLinked();

  const segments: LoadSegment[] = [];
  const notes: NoteSegment[] = [];
  for (const [i, at] of programHeaders(view, layout, word(layout.phoff)).entries()) {
    const kind = view.getUint32(at, true);
    if (kind === SegmentType.interpreter) throw userProgram();
    if (kind !== SegmentType.load && kind !== SegmentType.note) continue;
    const offset = word(at + layout.ph.offset);
    const fileSize = word(at + layout.ph.filesz);
    if (offset + fileSize > file.length) {
      const extent = `${hex(fileSize)} bytes at ${hex(offset)} of the file`;
      throw damaged(`segment ${i} takes ${extent}, which has ${hex(file.length)}`);
    }
    const data = file.subarray(offset, offset + fileSize);
    if (kind === SegmentType.note) {
      notes.push({ data, align: word(at + layout.ph.align) === 8 ? 8 : 4 });
      continue;
    }
    const memorySize = word(at + layout.ph.memsz);
    if (fileSize > memorySize) {
      throw damaged(`segment ${i} has ${hex(fileSize)} bytes for ${hex(memorySize)} bytes of memory`);
    }
    if (memorySize > 0) segments.push({ address: word(at + layout.ph.paddr), memorySize, data });
  }
  if (segments.length === 0) throw damaged('it has nothing to load (no PT_LOAD segment)');
  return { bits, entry: word(layout.entry), segments, notes };
}

/** File offset of each program header; all lie inside the file. */
function programHeaders(view: DataView, layout: Layout, table: number): number[] {
  const count = view.getUint16(layout.phnum, true);
  const size = view.getUint16(layout.phentsize, true);
  if (count === 0 || count > MAX_PROGRAM_HEADERS) {
    throw damaged(`it has ${count} program headers; 1 to ${MAX_PROGRAM_HEADERS} are accepted`);
  }
  if (size !== layout.ph.size) throw damaged(`its program headers are ${size} bytes each, not ${layout.ph.size}`);
  if (table + count * size > view.byteLength) throw damaged('its program headers lie outside the file');
  return Array.from({ length: count }, (_, i) => table + i * size);
}

const instead = 'pass vmlinux or the bzImage (vmlinuz)';
const notLinked = (): TsvmmError =>
  kernelError('the ELF file is an object file or module, not a linked kernel', instead);
const userProgram = (): TsvmmError =>
  kernelError('the ELF file is a program to run under Linux, not a kernel', instead);
