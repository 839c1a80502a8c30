/**
 * The PVH entry point of an ELF kernel: XEN_ELFNOTE_PHYS32_ENTRY (Xen public/elfnote.h; notes: gABI ch. 5). Main thread.
 */
import { getU64, viewOf } from '../x86/bytes.js';
import type { NoteSegment } from './elf.js';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const XEN_NAME = 'Xen\0';
/** Name size, descriptor size, type. */
const NOTE_HEADER = 12;
/** Kernels have a few hundred bytes of notes; what lies beyond this is not searched. */
const MAX_NOTE_BYTES = 64 * 1024;

/** Physical address of the 32-bit entry, or undefined if the kernel has none. A note that runs out of its segment ends the search there. */
export function findPvhEntry(notes: readonly NoteSegment[]): number | undefined {
  for (const { data, align } of notes) {
    const bytes = data.subarray(0, MAX_NOTE_BYTES);
    const view = viewOf(bytes);
    const padded = (n: number): number => Math.ceil(n / align) * align;
    let at = 0;
    while (at + NOTE_HEADER <= bytes.length) {
      const nameSize = view.getUint32(at, true);
      const descSize = view.getUint32(at + 4, true);
      const type = view.getUint32(at + 8, true);
      const nameAt = at + NOTE_HEADER;
      const descAt = padded(nameAt + nameSize);
      if (descAt + descSize > bytes.length) break;
      if (type === XEN_ELFNOTE_PHYS32_ENTRY && isXen(bytes.subarray(nameAt, nameAt + nameSize))) {
        if (descSize === 4) return view.getUint32(descAt, true);
        if (descSize === 8) return getU64(view, descAt);
      }
      at = padded(descAt + descSize); // at least the header's 12 bytes further
    }
  }
  return undefined;
}

const isXen = (name: Uint8Array): boolean => Buffer.from(name).toString('latin1') === XEN_NAME;
