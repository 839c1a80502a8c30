/**
 * The memory map a guest is given, in the form that the BIOS call INT 15h AX=E820h made common (ACPI 6.5 §15). Main thread.
 *
 * The Linux zero page and the PVH start info carry the same list. RAM is handed over without the area between 639 KiB
 * and 1 MiB, where PC software expects firmware data and where our ACPI tables lie.
 */

import { endOf, legacyAreaEnd, legacyAreaStart, type MemoryRegion } from '../../devices/memory-map.js';
import { TsvmmError } from '../../errors.js';

export const E820Type = { ram: 1, reserved: 2, acpiReclaimable: 3, acpiNvs: 4 } as const;
export type E820Type = (typeof E820Type)[keyof typeof E820Type];

export interface E820Entry extends MemoryRegion {
  readonly type: E820Type;
}

const PAGE = 4096;
const legacyArea: MemoryRegion = { start: legacyAreaStart, size: legacyAreaEnd - legacyAreaStart };

/**
 * Sorted, disjoint entries: `ram` as RAM but for the parts that `reserved` covers; `reserved` and the legacy area as
 * reserved, whether there is RAM below them or not. Neighbours of one type are merged.
 */
export function e820Map(ram: readonly MemoryRegion[], reserved: readonly MemoryRegion[]): E820Entry[] {
  const holes = [legacyArea, ...reserved].map(checked('reserved region')).sort(byStart);
  const regions = ram.map(checked('RAM region')).sort(byStart);
  const entries: E820Entry[] = [];
  let ramEnd = 0;
  for (const region of regions) {
    if (region.start < ramEnd) throw mapError(`RAM region ${show(region)} overlaps the one before it`);
    ramEnd = endOf(region);
    for (const piece of without(region, holes)) entries.push({ ...piece, type: E820Type.ram });
  }
  for (const hole of holes) entries.push({ ...hole, type: E820Type.reserved });
  return merged(entries.sort(byStart));
}

/** The RAM entries of `map`, which is where a loader may put something. */
export const usableRam = (map: readonly E820Entry[]): E820Entry[] => map.filter((entry) => entry.type === E820Type.ram);

/** What is left of `region` beside `holes`, which are sorted by start and may overlap each other. */
function* without(region: MemoryRegion, holes: readonly MemoryRegion[]): Iterable<MemoryRegion> {
  let at = region.start;
  for (const hole of holes) {
    if (hole.start >= endOf(region)) break;
    if (hole.start > at) yield { start: at, size: hole.start - at };
    at = Math.max(at, endOf(hole));
  }
  if (at < endOf(region)) yield { start: at, size: endOf(region) - at };
}

function merged(sorted: readonly E820Entry[]): E820Entry[] {
  const result: E820Entry[] = [];
  for (const entry of sorted) {
    const last = result.at(-1);
    if (last !== undefined && last.type === entry.type && entry.start <= endOf(last)) {
      const end = Math.max(endOf(last), endOf(entry));
      result[result.length - 1] = { start: last.start, size: end - last.start, type: last.type };
    } else result.push(entry);
  }
  return result;
}

const byStart = (a: MemoryRegion, b: MemoryRegion): number => a.start - b.start;
const show = (r: MemoryRegion): string => `0x${r.start.toString(16)}-0x${endOf(r).toString(16)}`;
const mapError = (message: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', `memory map: ${message}`);

const checked =
  (what: string) =>
  (region: MemoryRegion): MemoryRegion => {
    const { start, size } = region;
    const whole = Number.isSafeInteger(start) && Number.isSafeInteger(size) && Number.isSafeInteger(start + size);
    if (!whole || start < 0 || size <= 0) throw mapError(`${what} start ${start}, size ${size} is no address range`);
    const pages = region === legacyArea || (start % PAGE === 0 && size % PAGE === 0);
    if (!pages) throw mapError(`${what} ${show(region)} does not begin and end on a 4 KiB page`);
    return region;
  };
