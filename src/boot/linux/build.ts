/**
 * From a kernel file, an initrd and a command line to what the guest's memory and first vCPU must hold. Main thread.
 */
import { platformReserved } from '../../devices/memory-map.js';
import type { BootImage } from '../boot-image.js';
import { BootContext, type BootRequest } from './boot-context.js';
import { detectKernel } from './detect.js';
import { parseElf } from './elf.js';
import { kernelError } from './kernel-error.js';
import { loadBzImage, loadElf64 } from './load-linux64.js';
import { loadPvh } from './load-pvh.js';
import { findPvhEntry } from './pvh-note.js';

/**
 * Kernel and initrd are not copied: the image's segments are views of them. Throws `ERR_TSVMM_BOOT_KERNEL` for what is
 * wrong with the kernel file and `ERR_TSVMM_CONFIG` for what is wrong with the machine it is to run in.
 */
export function buildBootImage(request: BootRequest): BootImage {
  const format = detectKernel(request.kernel);
  const context = new BootContext(request, request.reserved ?? platformReserved.pci);
  if (format === 'bzImage') return loadBzImage(context, request);

  const elf = parseElf(request.kernel, format === 'ELF64' ? 64 : 32);
  const pvhEntry = findPvhEntry(elf.notes);
  if (pvhEntry !== undefined) return loadPvh(context, elf, pvhEntry);
  if (elf.bits === 64) return loadElf64(context, request, elf);
  throw kernelError(
    'the kernel is a 32-bit ELF file without PVH entry note',
    'use a bzImage, a 64-bit vmlinux, or a kernel built with CONFIG_PVH',
  );
}
