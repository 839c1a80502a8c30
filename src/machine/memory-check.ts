/** Does the host have what a guest may use? Main thread, once a start. */
import { TsvmmError } from '../errors.js';
import { monotonicMs } from '../host/clock.js';
import { cgroupLimit, memInfo } from '../host/memory-facts.js';
import type { MemoryConfig } from './memory-options.js';
import { formatSize } from './units.js';

export interface HostMemory {
  /** Bytes of RAM and free swap, or of the cgroup's limit where that is less. */
  readonly most: number;
  /** Bytes that can be had without swapping. */
  readonly available: number;
  readonly limitedBy: 'host' | 'cgroup';
}

/** Undefined where the host does not say. */
export function hostMemory(): HostMemory | undefined {
  const info = memInfo();
  if (info === undefined) return undefined;
  const most = info.total + info.swapFree;
  const limit = cgroupLimit();
  return limit !== undefined && limit < most
    ? { most: limit, available: Math.min(limit, info.available), limitedBy: 'cgroup' }
    : { most, available: info.available, limitedBy: 'host' };
}

/** Asking takes the better part of a millisecond, as much as some machines take to be made. */
const recentMs = 1000;
let recent: { readonly at: number; readonly memory: HostMemory | undefined } | undefined;

function recentMemory(mustBeExact: boolean): HostMemory | undefined {
  if (mustBeExact || recent === undefined || monotonicMs() - recent.at > recentMs)
    recent = { at: monotonicMs(), memory: hostMemory() };
  return recent.memory;
}

/**
 * What the user should know about a guest that may want more than there is; undefined if all is well. Throws
 * `ERR_TSVMM_CONFIG` when memory that is to be faulted in at once is not there. Huge pages of the pool are reserved, so
 * that they are there or the start fails.
 */
export function checkMemory(config: MemoryConfig, host = recentMemory(config.prefault)): string | undefined {
  if (host === undefined || config.hugepages === 'hugetlb') return undefined;
  if (config.prefault && config.size > host.available) {
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `memory.prefault: ${formatSize(config.size)} are to be faulted in, ${formatSize(host.available)} are available`,
      { hint: 'ask for less memory, or leave out prefault' },
    );
  }
  if (config.size <= host.most) return undefined;
  const whose = host.limitedBy === 'host' ? 'this host has' : "this program's cgroup allows";
  return `memory: the guest may use ${formatSize(config.size)}, ${whose} ${formatSize(host.most)}; if it does, the kernel ends this program`;
}
