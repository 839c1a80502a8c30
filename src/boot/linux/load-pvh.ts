/**
 * An ELF kernel by its PVH note: 32-bit protected mode, paging off, start info in EBX (Xen docs/misc/pvh.pandoc).
 * Main thread.
 */
import type { BootImage } from '../boot-image.js';
import type { BootContext } from './boot-context.js';
import { DEFAULT_CMDLINE_SIZE } from './command-line.js';
import type { ElfKernel } from './elf.js';
import { addElfSegments } from './elf-segments.js';
import { hex } from './kernel-error.js';
import { lowMemory } from './low-memory.js';
import { buildStartInfo } from './start-info.js';

export function loadPvh(context: BootContext, elf: ElfKernel, entry: number): BootImage {
  const kernelEnd = addElfSegments(context, elf, entry);
  const gdt = context.addGdt('pvh32');
  const commandLine = context.addCommandLine(DEFAULT_CMDLINE_SIZE);
  // Linux takes the module's address into a 32-bit field on this path.
  const initrd = context.addInitrd(kernelEnd, { below: Number.MAX_SAFE_INTEGER, above4G: false });
  const { e820, rsdp } = context;
  const ebx = context.add('start info', lowMemory.startInfo, buildStartInfo({ commandLine, initrd, rsdp, e820 }));
  return {
    segments: context.segments,
    entry: { mode: 'pvh32', rip: entry, ebx, gdt },
    description: `ELF${elf.bits} kernel, PVH entry at ${hex(entry)}`,
  };
}
