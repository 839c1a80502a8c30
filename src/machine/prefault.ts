/** Faulting guest memory in before the guest is entered, by the threads of its vCPUs, which have nothing to do yet. Main thread. */
import type { RamRegion } from '../memory/guest-memory.js';
import type { HostRange } from '../memory/populate.js';
import { hugePageSize } from '../memory/ram.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { bad, hasOptions, integer } from './checks.js';

/** Guest-physical: a part of memory that a guest has touched. */
export interface MemoryRange {
  readonly start: number;
  readonly size: number;
}

/** RAM is one range: all of it, and each thread takes its part. */
export async function prefaultAll(vcpus: readonly VcpuHandle[], regions: readonly RamRegion[]): Promise<void> {
  const size = regions.reduce((sum, region) => sum + region.size, 0);
  const start = regions[0]!.hostAddress;
  const share = Math.ceil(size / vcpus.length / hugePageSize) * hugePageSize;
  await Promise.all(
    vcpus.map((vcpu, i) => {
      const length = Math.min(share, size - i * share);
      return length > 0 ? vcpu.prefault([{ address: start + i * share, length }], true) : undefined;
    }),
  );
}

/** What another guest has touched, by turns: the pages stay those of the snapshot until somebody writes them. */
export async function prefaultRanges(
  vcpus: readonly VcpuHandle[],
  regions: readonly RamRegion[],
  ranges: readonly MemoryRange[],
): Promise<void> {
  const shares = vcpus.map((): HostRange[] => []);
  ranges.forEach(({ start, size }, i) => {
    const region = regions.find((candidate) => start >= candidate.start && start < candidate.start + candidate.size)!;
    shares[i % shares.length]!.push({ address: region.hostAddress + start - region.start, length: size });
  });
  await Promise.all(vcpus.map((vcpu, i) => (shares[i]!.length > 0 ? vcpu.prefault(shares[i]!, false) : undefined)));
}

const pageSize = 4096;
const mostRanges = 1_000_000;

/** Ranges that a program passed, each whole pages in one region of RAM. */
export function memoryRanges(value: unknown, ram: readonly MemoryRange[]): MemoryRange[] {
  if (!Array.isArray(value) || value.length > mostRanges)
    throw bad(
      'prefault: expected a list of ranges',
      'pass what vm.memory.touched() gave of another machine of that snapshot',
    );
  return Array.from(value as unknown[], (range) => {
    if (!hasOptions(range)) throw bad('prefault: a range has a start and a size', 'pass { start, size }');
    const { start, size } = range as { start?: unknown; size?: unknown };
    const from = Math.floor(integer('prefault: start', start, 0, 2 ** 52) / pageSize) * pageSize;
    const to = Math.ceil((from + integer('prefault: size', size, 1, 2 ** 52)) / pageSize) * pageSize;
    if (ram.some((region) => from >= region.start && to <= region.start + region.size))
      return { start: from, size: to - from };
    throw bad(
      `prefault: 0x${from.toString(16)} to 0x${to.toString(16)} are not all guest RAM`,
      'pass what vm.memory.touched() gave of another machine of that snapshot',
    );
  });
}
