/**
 * `struct boot_params`, the "zero page" that a 64-bit kernel finds in RSI (Documentation/arch/x86/zero-page.rst). Main thread.
 */
import type { MemoryRegion } from '../../devices/memory-map.js';
import { TsvmmError } from '../../errors.js';
import { setU64 } from '../../host/u64.js';
import { viewOf } from '../x86/bytes.js';
import type { E820Entry } from '../x86/e820.js';
import { LoadFlags, SetupHeader } from './bzimage.js';
import { lowMemory } from './low-memory.js';

/** Beside the setup header, whose offsets are the file's. */
const BootParams = {
  acpiRsdpAddr: 0x070,
  extRamdiskImage: 0x0c0,
  extRamdiskSize: 0x0c4,
  extCmdLinePtr: 0x0c8,
  e820Entries: 0x1e8,
  e820Table: 0x2d0,
} as const;

const E820_ENTRY_SIZE = 20;
/** E820_MAX_ENTRIES_ZEROPAGE; the PVH path of Linux copies its memory map into the same array. */
export const E820_MAX_ENTRIES = 128;
const LOADER_UNDEFINED = 0xff;
const VIDEO_MODE_NORMAL = 0xffff;

/** For a kernel that comes without a setup header (ELF): what the real-mode part of a bzImage would have held. */
const BOOT_FLAG = 0xaa55;
const HDRS = 0x5372_6448;
const PROTOCOL_VERSION = 0x020f;

export interface ZeroPageContents {
  /** Setup header of a bzImage, from file offset 0x1f1. */
  readonly header?: Uint8Array;
  /** Where the protected-mode part of a bzImage lies. */
  readonly loadAddress?: number;
  readonly commandLine: number;
  readonly setupData: number;
  readonly initrd?: MemoryRegion | undefined;
  readonly rsdp?: number | undefined;
  readonly e820: readonly E820Entry[];
}

export function buildZeroPage(contents: ZeroPageContents): Uint8Array {
  const page = new Uint8Array(lowMemory.zeroPage.size);
  const view = viewOf(page);
  if (contents.header !== undefined) page.set(contents.header, SetupHeader.setupSects);
  else {
    view.setUint16(SetupHeader.bootFlag, BOOT_FLAG, true);
    view.setUint32(SetupHeader.magic, HDRS, true);
    view.setUint16(SetupHeader.version, PROTOCOL_VERSION, true);
  }
  view.setUint16(SetupHeader.vidMode, VIDEO_MODE_NORMAL, true);
  view.setUint8(SetupHeader.typeOfLoader, LOADER_UNDEFINED);
  view.setUint8(SetupHeader.loadflags, LoadFlags.loadedHigh);
  if (contents.loadAddress !== undefined) view.setUint32(SetupHeader.code32Start, contents.loadAddress, true);
  setSplit(view, SetupHeader.cmdLinePtr, BootParams.extCmdLinePtr, contents.commandLine);
  setSplit(view, SetupHeader.ramdiskImage, BootParams.extRamdiskImage, contents.initrd?.start ?? 0);
  setSplit(view, SetupHeader.ramdiskSize, BootParams.extRamdiskSize, contents.initrd?.size ?? 0);
  setU64(view, SetupHeader.setupData, contents.setupData);
  setU64(view, BootParams.acpiRsdpAddr, contents.rsdp ?? 0);
  setE820(view, contents.e820);
  return page;
}

/** A 64-bit value whose high half lies in a field that was added later. */
function setSplit(view: DataView, lowAt: number, highAt: number, value: number): void {
  view.setUint32(lowAt, value % 0x1_0000_0000, true);
  view.setUint32(highAt, Math.floor(value / 0x1_0000_0000), true);
}

function setE820(view: DataView, entries: readonly E820Entry[]): void {
  checkE820Count(entries);
  view.setUint8(BootParams.e820Entries, entries.length);
  for (const [i, { start, size, type }] of entries.entries()) {
    const at = BootParams.e820Table + i * E820_ENTRY_SIZE;
    setU64(view, at, start);
    setU64(view, at + 8, size);
    view.setUint32(at + 16, type, true);
  }
}

export function checkE820Count(entries: readonly E820Entry[]): void {
  if (entries.length <= E820_MAX_ENTRIES) return;
  throw new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `the memory map has ${entries.length} entries; a kernel is handed at most ${E820_MAX_ENTRIES}`,
    {
      hint: 'use fewer memory regions',
    },
  );
}
