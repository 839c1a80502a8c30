/**
 * `hvm_start_info` version 1, what a kernel entered by its PVH note finds in EBX (Xen public/arch-x86/hvm/start_info.h).
 * Main thread.
 */
import type { MemoryRegion } from '../../devices/memory-map.js';
import { setU64 } from '../../host/u64.js';
import { viewOf } from '../x86/bytes.js';
import type { E820Entry } from '../x86/e820.js';
import { lowMemory } from './low-memory.js';
import { checkE820Count } from './zero-page.js';

const XEN_HVM_START_MAGIC = 0x336e_c578;
const VERSION_WITH_MEMMAP = 1;

const StartInfo = {
  magic: 0,
  version: 4,
  nrModules: 12,
  modlistPaddr: 16,
  cmdlinePaddr: 24,
  rsdpPaddr: 32,
  memmapPaddr: 40,
  memmapEntries: 48,
} as const;

const MODULE_LIST_AT = 0x40;
const MEMORY_MAP_AT = 0x80;
/** hvm_memmap_table_entry: address, size, type, reserved. */
const MEMMAP_ENTRY_SIZE = 24;

export interface StartInfoContents {
  readonly commandLine: number;
  readonly initrd?: MemoryRegion | undefined;
  readonly rsdp?: number | undefined;
  readonly e820: readonly E820Entry[];
}

/** The page at `lowMemory.startInfo`: start info, then the module list and the memory map that it points to. */
export function buildStartInfo(contents: StartInfoContents): Uint8Array {
  checkE820Count(contents.e820); // also what fits into the page
  const page = new Uint8Array(lowMemory.startInfo.size);
  const view = viewOf(page);
  view.setUint32(StartInfo.magic, XEN_HVM_START_MAGIC, true);
  view.setUint32(StartInfo.version, VERSION_WITH_MEMMAP, true);
  setU64(view, StartInfo.cmdlinePaddr, contents.commandLine);
  setU64(view, StartInfo.rsdpPaddr, contents.rsdp ?? 0);
  if (contents.initrd !== undefined) {
    view.setUint32(StartInfo.nrModules, 1, true);
    setU64(view, StartInfo.modlistPaddr, lowMemory.startInfo.start + MODULE_LIST_AT);
    setU64(view, MODULE_LIST_AT, contents.initrd.start);
    setU64(view, MODULE_LIST_AT + 8, contents.initrd.size);
  }
  setU64(view, StartInfo.memmapPaddr, lowMemory.startInfo.start + MEMORY_MAP_AT);
  view.setUint32(StartInfo.memmapEntries, contents.e820.length, true);
  for (const [i, { start, size, type }] of contents.e820.entries()) {
    const at = MEMORY_MAP_AT + i * MEMMAP_ENTRY_SIZE;
    setU64(view, at, start);
    setU64(view, at + 8, size);
    view.setUint32(at + 16, type, true);
  }
  return page;
}
