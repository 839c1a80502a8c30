/**
 * Where BARs are when the machine starts: what firmware would have decided (PCI firmware spec §3.5). Any thread; pure.
 *
 * Small BARs go into the 32-bit window whatever their width, where every kernel reaches them; large ones of 64 bits go
 * above RAM. Within a window a BAR is aligned to its size.
 */
import { TsvmmError } from '../../errors.js';
import { endOf, type MemoryRegion } from '../memory-map.js';
import type { FunctionSpec } from './template.js';

/** From this size on a 64-bit BAR leaves the 32-bit window to those that need it. */
const largeBar = 16 * 1024 * 1024;

export interface BarWindows {
  readonly low: MemoryRegion;
  /** Undefined if the guest's address width leaves no room above RAM. */
  readonly high: MemoryRegion | undefined;
}

/** Addresses by function, then by BAR in the order of its specification. */
export function placeBars(specs: readonly FunctionSpec[], windows: BarWindows): number[][] {
  const placed = specs.map((spec) => spec.bars.map(() => 0));
  const order = specs
    .flatMap((spec, f) => spec.bars.map((bar, b) => ({ spec, bar, f, b })))
    .sort((x, y) => y.bar.size - x.bar.size || x.f - y.f || x.b - y.b); // largest first leaves no gaps
  const next = { low: windows.low.start, high: windows.high?.start ?? 0 };
  const take = (kind: 'low' | 'high', size: number): number | undefined => {
    const window = windows[kind];
    if (window === undefined) return undefined;
    const address = Math.ceil(next[kind] / size) * size;
    if (address + size > endOf(window)) return undefined;
    next[kind] = address + size;
    return address;
  };
  for (const { spec, bar, f, b } of order) {
    const preferHigh = bar.width === 64 && bar.size >= largeBar;
    const address =
      (preferHigh ? take('high', bar.size) : undefined) ??
      take('low', bar.size) ??
      (bar.width === 64 ? take('high', bar.size) : undefined);
    if (address === undefined) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `no room for ${bar.size} bytes of device memory of ${spec.name}`, {
        hint: 'give the machine fewer or smaller devices',
      });
    }
    placed[f]![b] = address;
  }
  return placed;
}
