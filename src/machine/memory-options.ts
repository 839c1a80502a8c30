/** How much guest memory, and of which pages: options checked. Main thread. */
import { type HugePages, hugePageSize } from '../memory/ram.js';
import { bad, boolean, hasOptions, known, oneOf } from './checks.js';
import { formatSize, parseSize, type Size, show } from './units.js';

export interface MemoryOptions {
  /** Default 512M. */
  size?: Size | undefined;
  /**
   * `thp` (default): the kernel uses huge pages where it can. `off`: it uses none. `hugetlb`: 2 MiB pages of the pool that
   * `vm.nr_hugepages` sets aside; they are reserved at the start, which fails when there are too few.
   */
  hugepages?: HugePages | undefined;
  /** All pages are there before the guest starts: a longer start, and no page faults later. Default false. */
  prefault?: boolean | undefined;
}

export interface MemoryConfig {
  /** Bytes, a multiple of the page size. */
  readonly size: number;
  readonly hugepages: HugePages;
  readonly prefault: boolean;
}

const pageSize = 4096;
/** A zero page, a stack, tables and a small kernel need about this much. */
export const minMemory = 2 * 1024 ** 2;
const maxMemory = 1024 ** 4;

export function memory(value: Size | MemoryOptions): MemoryConfig {
  const options = hasOptions(value) ? value : { size: value };
  known('memory', options, ['size', 'hugepages', 'prefault']);
  const { prefault = false } = options;
  const bytes = parseSize('memory', options.size ?? '512M');
  if (bytes < minMemory || bytes > maxMemory) {
    throw bad(
      `memory: ${formatSize(bytes)} is not possible`,
      `use a size from ${formatSize(minMemory)} to ${formatSize(maxMemory)}`,
    );
  }
  const hugepages = oneOf('memory.hugepages', options.hugepages ?? 'thp', ['thp', 'hugetlb', 'off']);
  if (hugepages === 'hugetlb' && bytes % hugePageSize !== 0) {
    throw bad(
      `memory: ${show(options.size)} is no multiple of the 2M of a huge page`,
      'use a multiple of 2M, or other pages',
    );
  }
  return {
    size: Math.ceil(bytes / pageSize) * pageSize,
    hugepages,
    prefault: boolean('memory.prefault', prefault),
  };
}
