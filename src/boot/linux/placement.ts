/**
 * Who has which part of guest RAM while a boot image is put together. Main thread.
 *
 * Every table, kernel segment and initrd claims its range here first, so that nothing overlaps and nothing lies outside
 * RAM, whatever addresses a kernel file asks for.
 */
import { endOf, type MemoryRegion } from '../../devices/memory-map.js';
import { damaged, hex } from './kernel-error.js';

interface Claim extends MemoryRegion {
  readonly name: string;
}

const show = (region: MemoryRegion): string => `${hex(region.start)}-${hex(endOf(region))}`;

export class Placement {
  readonly #ram: readonly MemoryRegion[];
  readonly #claims: Claim[] = [];

  /** `ram` is what the guest may use, sorted and disjoint. */
  constructor(ram: readonly MemoryRegion[]) {
    this.#ram = ram;
  }

  /** A range at an address that a kernel file asks for. Throws `ERR_TSVMM_BOOT_KERNEL` if it is not free RAM. */
  claim(name: string, start: number, size: number): void {
    const wanted = { name, start, size };
    if (this.#ramAround(wanted) === undefined)
      throw damaged(`its ${name} at ${show(wanted)} does not lie in guest RAM`);
    const other = this.#claims.find((claim) => overlap(claim, wanted));
    if (other !== undefined)
      throw damaged(`its ${name} at ${show(wanted)} overlaps the ${other.name} at ${show(other)}`);
    this.#claims.push(wanted);
  }

  /** The RAM region that holds the whole range. */
  #ramAround(wanted: MemoryRegion): MemoryRegion | undefined {
    return this.#ram.find((region) => region.start <= wanted.start && endOf(wanted) <= endOf(region));
  }

  /** The highest free range of `size` bytes that begins on `alignment` inside [from, below); claimed if there is one. */
  claimHighest(name: string, size: number, alignment: number, from: number, below: number): number | undefined {
    let best: number | undefined;
    for (const region of this.#ram) {
      const floor = Math.max(region.start, from);
      let start = alignDown(Math.min(endOf(region), below) - size, alignment);
      // Each pass moves below one more claim, so there are at most as many passes as claims.
      for (let pass = 0; pass <= this.#claims.length && start >= floor; pass++) {
        const blocked = this.#claims.find((claim) => overlap(claim, { start, size }));
        if (blocked === undefined) break;
        start = alignDown(blocked.start - size, alignment);
      }
      if (start >= floor && (best === undefined || start > best)) best = start;
    }
    if (best !== undefined) this.#claims.push({ name, start: best, size });
    return best;
  }
}

const overlap = (a: MemoryRegion, b: MemoryRegion): boolean => a.start < endOf(b) && b.start < endOf(a);
const alignDown = (value: number, alignment: number): number => Math.floor(value / alignment) * alignment;
