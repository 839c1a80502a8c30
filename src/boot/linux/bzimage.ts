/**
 * The setup header of a bzImage, read and checked (Linux boot protocol §1.3, offsets in the file). Main thread.
 *
 * The file is untrusted: every size it claims is compared with the file before use, and nothing is allocated from it.
 */
import { TsvmmError } from '../../errors.js';
import { getU64, viewOf } from '../x86/bytes.js';
import { damaged, hex, kernelError } from './kernel-error.js';

/** Offsets in the file, and, from 0x1f1, in the zero page, where the header is copied to. */
export const SetupHeader = {
  setupSects: 0x1f1,
  syssize: 0x1f4,
  vidMode: 0x1fa,
  bootFlag: 0x1fe,
  jumpLength: 0x201,
  magic: 0x202,
  version: 0x206,
  kernelVersion: 0x20e,
  typeOfLoader: 0x210,
  loadflags: 0x211,
  code32Start: 0x214,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  cmdLinePtr: 0x228,
  initrdAddrMax: 0x22c,
  kernelAlignment: 0x230,
  relocatableKernel: 0x234,
  xloadflags: 0x236,
  cmdlineSize: 0x238,
  setupData: 0x250,
  prefAddress: 0x258,
  initSize: 0x260,
} as const;

export const LoadFlags = { loadedHigh: 1 << 0 } as const;
const XLoadFlags = { kernel64: 1 << 0, canBeLoadedAbove4G: 1 << 1 } as const;

/** The header may grow up to here: the next field of the zero page follows (§1.4). */
const HEADER_MAX_END = 0x290;
/** The first bytes we need, up to and with init_size. */
const HEADER_MIN_END = SetupHeader.initSize + 4;
/** The 64-bit entry's offset lies inside the protected-mode part. */
export const ENTRY64_OFFSET = 0x200;
/** Linux 3.8; the first version that says whether there is a 64-bit entry. */
const MIN_VERSION = 0x020c;
/** "HdrS". */
const HDRS_MAGIC = 0x5372_6448;
const SECTOR = 512;
const PARAGRAPH = 16;
const MIN_LOAD_ADDRESS = 0x10_0000;
const ALIGNMENT_MIN = 4096;
const ALIGNMENT_MAX = 0x4000_0000;
const VERSION_TEXT_MAX = 128;

export interface BzImage {
  /** Bytes 0x1f1 up to the header's end, to be copied into the zero page. */
  readonly header: Uint8Array;
  /** The protected-mode part: a view of the file. */
  readonly code: Uint8Array;
  readonly entryOffset: number;
  /** "6.1.0-13-cloud-amd64", or "" if the file does not say. */
  readonly release: string;
  readonly cmdlineSize: number;
  /** Last byte an initrd may occupy, for kernels that cannot take one above 4 GiB. */
  readonly initrdAddrMax: number;
  readonly initrdMayBeAbove4G: boolean;
  /** Where the kernel will run: it must be loaded here, and `runtimeSize` bytes from here must be free RAM. */
  readonly runtimeStart: number;
  readonly runtimeSize: number;
}

/** `file` has been recognised as a bzImage. */
export function parseBzImage(file: Uint8Array): BzImage {
  const view = viewOf(file);
  if (file.length < HEADER_MIN_END) throw damaged(`the file ends at ${hex(file.length)}, inside the setup header`);
  const version = view.getUint16(SetupHeader.version, true);
  const xloadflags = view.getUint16(SetupHeader.xloadflags, true);
  if (version < MIN_VERSION) {
    throw kernelError(
      `the kernel is too old: boot protocol ${version >> 8}.${String(version & 0xff).padStart(2, '0')}, at least 2.12 is needed`,
      'use Linux 3.8 or newer',
    );
  }
  if ((xloadflags & XLoadFlags.kernel64) === 0) {
    throw kernelError('the kernel is a 32-bit one: it has no 64-bit entry', 'use a kernel built for x86-64');
  }
  if ((view.getUint8(SetupHeader.loadflags) & LoadFlags.loadedHigh) === 0) {
    throw kernelError('the kernel is a zImage, not a bzImage', 'use a kernel built as bzImage');
  }
  const code = protectedModePart(file, view);
  return {
    header: file.subarray(SetupHeader.setupSects, headerEnd(file, view)),
    code,
    entryOffset: ENTRY64_OFFSET,
    release: release(file, view),
    cmdlineSize: view.getUint32(SetupHeader.cmdlineSize, true),
    initrdAddrMax: view.getUint32(SetupHeader.initrdAddrMax, true),
    initrdMayBeAbove4G: (xloadflags & XLoadFlags.canBeLoadedAbove4G) !== 0,
    runtimeStart: runtimeStart(view),
    runtimeSize: Math.max(view.getUint32(SetupHeader.initSize, true), code.length),
  };
}

/** "The end of setup header can be calculated as 0x0202 + byte value at offset 0x0201" (§1.15). */
function headerEnd(file: Uint8Array, view: DataView): number {
  const end = SetupHeader.magic + view.getUint8(SetupHeader.jumpLength);
  if (end < HEADER_MIN_END) throw damaged(`the setup header ends at ${hex(end)}, before the fields of its version`);
  return Math.min(end, HEADER_MAX_END, file.length);
}

/** "For backwards compatibility, if setup_sects is 0, the real value is 4." */
const codeStart = (view: DataView): number => ((view.getUint8(SetupHeader.setupSects) || 4) + 1) * SECTOR;

/** What follows the real-mode part. The file may go on after it (signatures); it may not end before. */
function protectedModePart(file: Uint8Array, view: DataView): Uint8Array {
  const start = codeStart(view);
  const size = view.getUint32(SetupHeader.syssize, true) * PARAGRAPH;
  // Some builds round syssize up without padding the file, so the last paragraph may be short.
  if (start + size - PARAGRAPH >= file.length) {
    throw damaged(`its header says that it has ${start + size} bytes, but the file has ${file.length}`);
  }
  if (size <= ENTRY64_OFFSET)
    throw damaged(`its protected-mode part of ${size} bytes has no room for the 64-bit entry`);
  return file.subarray(start, Math.min(start + size, file.length));
}

/**
 * §1.3 "init_size": a relocatable kernel runs where it was loaded, aligned up, but never below pref_address, where the
 * decompressor would move itself. So pref_address, aligned, is both the preferred and the lowest place.
 */
function runtimeStart(view: DataView): number {
  const preferred = Math.max(getU64(view, SetupHeader.prefAddress), MIN_LOAD_ADDRESS);
  if (view.getUint8(SetupHeader.relocatableKernel) === 0) return preferred;
  const alignment = view.getUint32(SetupHeader.kernelAlignment, true);
  const powerOfTwo = alignment !== 0 && Number.isInteger(Math.log2(alignment));
  if (!powerOfTwo || alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX) {
    throw damaged(`kernel_alignment ${hex(alignment)} is no power of two between 4 KiB and 1 GiB`);
  }
  return Math.ceil(preferred / alignment) * alignment;
}

/**
 * Where the protected-mode part begins in the file, and where it will run, from the first bytes of a file; undefined where
 * they announce no such kernel. `parseBzImage` decides: this only says where the file may be read to.
 */
export function bzImagePlace(head: Uint8Array): { readonly start: number; readonly address: number } | undefined {
  const view = viewOf(head);
  if (head.length < HEADER_MIN_END || view.getUint32(SetupHeader.magic, true) !== HDRS_MAGIC) return undefined;
  try {
    return { start: codeStart(view), address: runtimeStart(view) };
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    return undefined;
  }
}

/** `kernel_version` points to "6.1.0 (builder) #1 ..."; only its first word is wanted. */
function release(file: Uint8Array, view: DataView): string {
  const pointer = view.getUint16(SetupHeader.kernelVersion, true);
  if (pointer === 0) return '';
  const start = pointer + SECTOR;
  const text = Buffer.from(file.subarray(start, start + VERSION_TEXT_MAX)).toString('latin1');
  return /^[\w.+~:-]+/.exec(text)?.[0] ?? '';
}
