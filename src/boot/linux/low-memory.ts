/**
 * Where the tables of a boot lie in the guest's first 640 KiB, and what each is. Main thread.
 *
 * Kernels copy what they need of it early and then use the memory as any other. The real-mode interrupt vectors and BIOS
 * data area (0 to 0x500) stay zero, which kernels read as "no BIOS".
 */
import { gdtLimit } from '../x86/gdt.js';
import { pageTablesSize } from '../x86/page-tables.js';

const PAGE = 4096;

export const lowMemory = {
  gdt: { start: 0x500, size: gdtLimit + 1 },
  /** PVH: start info, module list, memory map. */
  startInfo: { start: 0x6000, size: PAGE },
  /** Linux: struct boot_params. */
  zeroPage: { start: 0x7000, size: PAGE },
  stack: { start: 0x8000, size: PAGE },
  pageTables: { start: 0x9000, size: pageTablesSize },
  setupData: { start: 0xf000, size: PAGE },
  commandLine: { start: 0x2_0000, size: 0x1_0000 },
} as const;

/** Below this not even the tables above and the ACPI tables fit. */
export const minimumRam = 0x20_0000;
