/**
 * A machine's memory that comes from a source: what of it is there, and getting the rest. Main thread, which must not touch
 * what is not there.
 */
import type { TsvmmError } from '../errors.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { Pager } from '../threads/pager.js';
import { readEagerly } from './eager-pages.js';
import type { SourcedMemory } from './page-source-options.js';
import type { MemoryRange } from './prefault.js';

/** Beside this module once bundled (scripts/build.js). */
const pagerUrl = new URL('./pager-worker.cjs', import.meta.url);

export class SourceMemory {
  readonly #sourced: SourcedMemory;
  readonly #regions: readonly RamRegion[];
  /** Undefined where all of it is read before anybody runs. */
  readonly #pager: Pager | undefined;

  /** Of memory in which nothing was touched. `failed`: it will never be whole; the machine has to end. */
  constructor(sourced: SourcedMemory, regions: readonly RamRegion[], failed: (error: TsvmmError) => void) {
    const { source, ranges } = sourced;
    this.#sourced = sourced;
    this.#regions = regions;
    if (!source.eager) this.#pager = new Pager({ ...source, url: pagerUrl, regions, ranges, failed });
  }

  get failure(): TsvmmError | undefined {
    return this.#pager?.failure;
  }

  /** How long somebody may wait for a page. */
  get patienceMs(): number {
    return this.#pager === undefined ? 0 : this.#sourced.source.timeoutMs;
  }

  /** Of this process. */
  isThere(hostAddress: number, length: number): boolean {
    return this.#pager?.isThere(hostAddress - this.#regions[0]!.hostAddress, length) ?? true;
  }

  async load(hostAddress: number, length: number): Promise<void> {
    await this.#pager?.load({ offset: hostAddress - this.#regions[0]!.hostAddress, length });
  }

  /** What has to be there before anybody runs: ranges of guest-physical memory, or all of it. */
  async prepare(ranges: readonly MemoryRange[], signal: AbortSignal): Promise<void> {
    if (this.#pager === undefined) return readEagerly(this.#sourced, this.#regions, signal);
    for (const { start, size } of ranges) {
      const region = this.#regions.find((one) => start >= one.start && start < one.start + one.size)!;
      await this.load(region.hostAddress + start - region.start, size);
    }
  }

  /** Resolves when all of it is there, for who wants to share it. */
  async complete(): Promise<void> {
    await this.#pager?.complete();
  }

  cut(): void {
    this.#pager?.cut();
  }

  async close(): Promise<void> {
    await this.#pager?.close();
  }
}
