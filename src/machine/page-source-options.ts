/** Where the memory of a machine that is restored comes from, as a program says it: checked. Main thread. */
import type { RequestContext } from '../disk/user-disk.js';
import type { RamRange } from '../memory/page-blocks.js';
import type { SourceFunction } from '../threads/page-source.js';
import { bad, boolean, hasOptions, known } from './checks.js';
import { type Duration, parseDuration, parseSize, type Size, show } from './units.js';

export interface PageSource {
  /**
   * Fills `into` with guest RAM from guest-physical `address` on, whole pages: what `snapshot.memory.read(address, into.length)`
   * would give of the snapshot. Called for what the guest, its devices or the program touch, several times at once; the buffer
   * is this call's alone. The machine ends when it throws or rejects.
   */
  read(address: number, into: Uint8Array, context: RequestContext): void | Promise<void>;
  /** For one call, after which the machine ends. Default 30 s. */
  timeout?: Duration | undefined;
  /** The most bytes of one call: a power of two, 4 KiB to 16 MiB. Default 64 KiB. */
  blockSize?: Size | undefined;
  /** All of it is read before the guest goes on: for hosts that do not permit userfaultfd. */
  eager?: boolean | undefined;
}

export interface PageSourceConfig {
  readonly read: SourceFunction;
  readonly timeoutMs: number;
  readonly blockSize: number;
  readonly eager: boolean;
}

/** Memory that comes from a source: which of it, in one region of RAM each; the rest is zeroes. */
export interface SourcedMemory {
  readonly source: PageSourceConfig;
  readonly ranges: readonly RamRange[];
}

const defaults = { timeout: '30s', blockSize: '64K' } as const;
const blockSizes = { least: 4096, most: 16 * 2 ** 20 };

export function pageSource(value: unknown): PageSourceConfig {
  if (typeof value === 'function') return pageSource({ read: value });
  if (!hasOptions(value)) throw bad(`pages: expected a function, got ${show(value)}`, 'pass (address, into) => ...');
  known('pages', value, ['read', 'timeout', 'blockSize', 'eager']);
  const { read, timeout = defaults.timeout, blockSize = defaults.blockSize, eager = false } = value as PageSource;
  if (typeof read !== 'function') throw bad('pages: read is no function', 'pass { read: (address, into) => ... }');
  const size = parseSize('pages: blockSize', blockSize);
  if (size < blockSizes.least || size > blockSizes.most || !Number.isInteger(Math.log2(size)))
    throw bad(`pages: blockSize: ${show(blockSize)} is not possible`, 'use a power of two from 4K to 16M');
  return {
    read: (address, into, context) => read.call(value, address, into, context),
    timeoutMs: parseDuration('pages: timeout', timeout),
    blockSize: size,
    eager: boolean('pages: eager', eager),
  };
}

/** Ranges of RAM, cut where its regions end: there a guest-physical address is followed by another. */
export function inRegions(ranges: readonly RamRange[], regions: readonly { readonly size: number }[]): RamRange[] {
  const cut: RamRange[] = [];
  let start = 0;
  for (const { size } of regions) {
    for (const range of ranges) {
      const offset = Math.max(range.offset, start);
      const end = Math.min(range.offset + range.length, start + size);
      if (end > offset) cut.push({ offset, length: end - offset });
    }
    start += size;
  }
  return cut;
}
