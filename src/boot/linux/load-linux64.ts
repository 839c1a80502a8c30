/**
 * Kernels entered in 64-bit mode with a zero page: a bzImage (Linux boot protocol §1.15), or an ELF64 vmlinux, which is
 * what a bzImage unpacks to. Main thread.
 */
import { randomBytes } from '../../host/random.js';
import type { BootImage } from '../boot-image.js';
import { buildPageTables } from '../x86/page-tables.js';
import type { BootContext, BootRequest, InitrdLimits } from './boot-context.js';
import { parseBzImage } from './bzimage.js';
import { DEFAULT_CMDLINE_SIZE } from './command-line.js';
import type { ElfKernel } from './elf.js';
import { addElfSegments } from './elf-segments.js';
import { hex } from './kernel-error.js';
import { lowMemory } from './low-memory.js';
import { buildRngSeed } from './setup-data.js';
import { buildZeroPage } from './zero-page.js';

const RNG_SEED_BYTES = 32;

export function loadBzImage(context: BootContext, request: BootRequest): BootImage {
  const image = parseBzImage(request.kernel);
  const kernelEnd = image.runtimeStart + image.runtimeSize;
  context.requireKernelRoom(kernelEnd);
  context.placement.claim('kernel', image.runtimeStart, image.runtimeSize);
  context.segments.push({ name: 'kernel', address: image.runtimeStart, data: image.code });
  return finish(context, request, {
    header: image.header,
    loadAddress: image.runtimeStart,
    rip: image.runtimeStart + image.entryOffset,
    kernelEnd,
    cmdlineSize: image.cmdlineSize,
    initrd: {
      // With the flag, initrd_addr_max is only what 32-bit loaders must keep to.
      below: image.initrdMayBeAbove4G ? Number.MAX_SAFE_INTEGER : image.initrdAddrMax + 1,
      above4G: image.initrdMayBeAbove4G,
    },
    description: `bzImage ${image.release || '(no version)'}, 64-bit entry`,
  });
}

/** For a vmlinux without PVH note. Its entry point takes a zero page as the unpacked bzImage does. */
export function loadElf64(context: BootContext, request: BootRequest, elf: ElfKernel): BootImage {
  return finish(context, request, {
    rip: elf.entry,
    kernelEnd: addElfSegments(context, elf, elf.entry),
    cmdlineSize: DEFAULT_CMDLINE_SIZE,
    initrd: { below: Number.MAX_SAFE_INTEGER, above4G: false },
    description: `ELF64 kernel, 64-bit entry at ${hex(elf.entry)}`,
  });
}

interface Linux64 {
  readonly header?: Uint8Array;
  readonly loadAddress?: number;
  readonly rip: number;
  readonly kernelEnd: number;
  readonly cmdlineSize: number;
  readonly initrd: InitrdLimits;
  readonly description: string;
}

function finish(context: BootContext, request: BootRequest, kernel: Linux64): BootImage {
  const gdt = context.addGdt('long64');
  const pageTables = context.add('page tables', lowMemory.pageTables, buildPageTables(lowMemory.pageTables.start));
  const seed = request.rngSeed ?? randomBytes(RNG_SEED_BYTES);
  const setupData = context.add('setup data', lowMemory.setupData, buildRngSeed(seed));
  const commandLine = context.addCommandLine(kernel.cmdlineSize);
  const initrd = context.addInitrd(kernel.kernelEnd, kernel.initrd);
  const { e820, rsdp } = context;
  const page = buildZeroPage({ ...kernel, commandLine, setupData, initrd, rsdp, e820 });
  const rsi = context.add('zero page', lowMemory.zeroPage, page);
  return {
    segments: context.segments,
    entry: {
      mode: 'long64',
      rip: kernel.rip,
      rsi,
      pageTables,
      gdt,
      stack: lowMemory.stack.start + lowMemory.stack.size,
    },
    description: kernel.description,
  };
}
