/**
 * Puts the PT_LOAD segments of an ELF kernel where they ask to be. Main thread.
 */
import { deviceHole } from '../../devices/memory-map.js';
import type { BootContext } from './boot-context.js';
import type { ElfKernel } from './elf.js';
import { damaged, hex } from './kernel-error.js';

/** Returns the end of the highest segment. `entry` must lie in one of them. */
export function addElfSegments(context: BootContext, elf: ElfKernel, entry: number): number {
  const end = Math.max(...elf.segments.map(({ address, memorySize }) => address + memorySize));
  if (end > deviceHole.start)
    throw damaged(`it asks to be loaded up to ${hex(end)}, but there is RAM for it only below 3 GiB`);
  context.requireKernelRoom(end);
  for (const [i, { address, memorySize, data }] of elf.segments.entries()) {
    const name = `kernel segment ${i}`;
    context.placement.claim(name, address, memorySize);
    if (data.length > 0) context.segments.push({ name, address, data });
  }
  const inside = elf.segments.some(({ address, memorySize }) => address <= entry && entry < address + memorySize);
  if (!inside) throw damaged(`its entry point ${hex(entry)} lies in none of its segments`);
  return end;
}
