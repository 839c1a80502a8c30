import { expect, test } from 'vitest';
import { checkMemory, hostMemory } from '../../../src/machine/memory-check.js';
import type { MemoryConfig } from '../../../src/machine/memory-options.js';

const GiB = 1024 ** 3;
const host = { most: 24 * GiB, available: 20 * GiB, limitedBy: 'host' } as const;
const config = (size: number, more: Partial<MemoryConfig> = {}): MemoryConfig => ({
  size: size * GiB,
  hugepages: 'thp',
  prefault: false,
  ...more,
});

test('a guest larger than the host is warned about', () => {
  expect(checkMemory(config(900), host)).toBe(
    'memory: the guest may use 900G, this host has 24G; if it does, the kernel ends this program',
  );
  expect(checkMemory(config(24), host)).toBeUndefined();
  expect(checkMemory(config(2), { most: GiB, available: GiB, limitedBy: 'cgroup' })).toContain('cgroup allows 1G');
});

test('a prefault of more than there is is refused, and huge pages of the pool are not counted', () => {
  expect(() => checkMemory(config(21, { prefault: true }), host)).toThrow(
    '21G are to be faulted in, 20G are available',
  );
  expect(checkMemory(config(20, { prefault: true }), host)).toBeUndefined();
  expect(checkMemory(config(900, { hugepages: 'hugetlb', prefault: true }), host)).toBeUndefined();
});

test('this host says what it has', () => {
  const memory = hostMemory()!;
  expect(memory.available).toBeGreaterThan(0);
  expect(memory.most).toBeGreaterThanOrEqual(memory.available);
});
