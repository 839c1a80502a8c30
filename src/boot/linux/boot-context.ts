/**
 * What every loader shares: the memory map, the tables that both entries need, and room for an initrd. Main thread.
 */
import { deviceHole, endOf, highRamStart, legacyAreaStart, type MemoryRegion } from '../../devices/memory-map.js';
import { TsvmmError } from '../../errors.js';
import type { Segment } from '../boot-image.js';
import type { AcpiTables } from '../x86/acpi/tables.js';
import { type E820Entry, e820Map, usableRam } from '../x86/e820.js';
import { buildGdt } from '../x86/gdt.js';
import { encodeCommandLine } from './command-line.js';
import { mib } from './kernel-error.js';
import { lowMemory, minimumRam } from './low-memory.js';
import { Placement } from './placement.js';

const PAGE = 4096;
const MIB = 1024 * 1024;
/** An initrd is not put below this, although there is RAM. */
const INITRD_FLOOR = MIB;

export interface BootRequest {
  /** The whole file; bzImage or ELF. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly cmdline: string;
  readonly ram: readonly MemoryRegion[];
  /** What the memory map marks as reserved; `platformReserved` of a machine with a PCI bus if absent. */
  readonly reserved?: readonly MemoryRegion[] | undefined;
  readonly acpi?: AcpiTables | undefined;
  readonly mpTable?: Segment | undefined;
  /** 32 random bytes for the guest's generator; from the host's if absent. */
  readonly rngSeed?: Uint8Array | undefined;
}

/** What a kernel says about initrds. */
export interface InitrdLimits {
  /** End of the highest address it can take below 4 GiB. */
  readonly below: number;
  readonly above4G: boolean;
}

export class BootContext {
  readonly e820: readonly E820Entry[];
  readonly placement: Placement;
  readonly segments: Segment[] = [];
  readonly rsdp: number | undefined;
  readonly #request: BootRequest;
  /** End of the RAM region that begins at 1 MiB, where kernels go. */
  readonly #lowEnd: number;
  readonly #totalRam: number;

  constructor(request: BootRequest, reserved: readonly MemoryRegion[]) {
    this.#request = request;
    this.e820 = e820Map(request.ram, reserved);
    const ram = usableRam(this.e820);
    this.placement = new Placement(ram);
    this.#totalRam = request.ram.reduce((sum, region) => sum + region.size, 0);
    const low = ram.find((region) => region.start <= MIB && endOf(region) >= minimumRam);
    if (ram[0]?.start !== 0 || endOf(ram[0]) < legacyAreaStart || low === undefined) {
      throw new TsvmmError(
        'ERR_TSVMM_CONFIG',
        `the guest's memory of ${mib(this.#totalRam)} is too small to load anything into`,
        {
          hint: `give it at least ${mib(minimumRam)} from address 0, and what the kernel needs`,
        },
      );
    }
    this.#lowEnd = endOf(low);
    for (const [key, { start, size }] of Object.entries(lowMemory)) {
      const name = key.replace(/[A-Z]/g, (capital) => ` ${capital.toLowerCase()}`);
      this.placement.claim(`${name} area`, start, size);
    }
    this.rsdp = request.acpi?.rsdp; // the tables lie in the legacy area, which nothing can claim
    this.segments.push(...(request.acpi?.segments ?? []));
    if (request.mpTable !== undefined) this.segments.push(request.mpTable);
  }

  /** One of the tables in low memory, whose areas are claimed before any kernel is looked at. */
  add(name: string, at: MemoryRegion, data: Uint8Array): number {
    this.segments.push({ name, address: at.start, data });
    return at.start;
  }

  addGdt(mode: 'long64' | 'pvh32'): number {
    return this.add('descriptor table', lowMemory.gdt, buildGdt(mode));
  }

  addCommandLine(limit: number): number {
    return this.add('command line', lowMemory.commandLine, encodeCommandLine(this.#request.cmdline, limit));
  }

  /** Refuses with what is needed if `[start, end)` of a kernel reaches beyond RAM. */
  requireKernelRoom(end: number): void {
    if (end > this.#lowEnd && end <= deviceHole.start) throw this.#tooSmall(end, end);
  }

  /** Places the initrd as high as `limits` allow, away from everything placed before. Call it last. */
  addInitrd(kernelEnd: number, limits: InitrdLimits): MemoryRegion | undefined {
    const initrd = this.#request.initrd;
    if (initrd === undefined) return undefined;
    if (initrd.length === 0) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', 'the initrd is empty', { hint: 'pass a complete initrd, or none' });
    }
    const below = Math.min(limits.below, deviceHole.start);
    let start = this.placement.claimHighest('initrd', initrd.length, PAGE, INITRD_FLOOR, below);
    if (start === undefined && limits.above4G) {
      start = this.placement.claimHighest('initrd', initrd.length, PAGE, highRamStart, Number.MAX_SAFE_INTEGER);
    }
    if (start === undefined) throw this.#noRoomForInitrd(kernelEnd, initrd.length, below, limits.above4G);
    this.segments.push({ name: 'initrd', address: start, data: initrd });
    return { start, size: initrd.length };
  }

  #noRoomForInitrd(kernelEnd: number, size: number, below: number, above4G: boolean): TsvmmError {
    const pages = Math.ceil(size / PAGE) * PAGE;
    if (kernelEnd + pages <= below) return this.#tooSmall(kernelEnd + pages, kernelEnd);
    if (above4G) return this.#tooSmall(deviceHole.start + pages, kernelEnd);
    return new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `the initrd of ${mib(size)} is too large: this kernel takes it below ${mib(below)} and itself ends at ${mib(kernelEnd)}`,
      { hint: 'use a smaller initrd, or a kernel that takes one above 4 GiB (Linux 3.8 or newer as bzImage)' },
    );
  }

  #tooSmall(needed: number, kernelEnd: number): TsvmmError {
    const initrd = this.#request.initrd === undefined ? '' : ` and the initrd of ${mib(this.#request.initrd.length)}`;
    return new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `the guest has ${mib(this.#totalRam)} of memory, but to load the kernel (up to ${mib(kernelEnd)})${initrd} takes at least ${mib(needed)}`,
      {
        hint: `give it more than ${mib(needed)}, for example memory: '${Math.ceil(needed / (128 * MIB)) * 128 + 128}M'`,
        details: { neededBytes: needed, memoryBytes: this.#totalRam },
      },
    );
  }
}
