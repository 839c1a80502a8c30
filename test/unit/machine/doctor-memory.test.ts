import { expect, test } from 'vitest';
import { type MemoryFacts, memoryChecks, memoryFacts } from '../../../src/machine/doctor-memory.js';

const GiB = 1024 ** 3;
const good: MemoryFacts = {
  memory: { most: 16 * GiB, available: 8 * GiB, limitedBy: 'host' },
  pool: { total: 512, free: 256 },
  transparent: 'madvise',
  maxMapCount: 65_530,
  overcommit: 0,
  lockable: 8 * 1024 ** 2,
  release: '6.1.0-18-amd64',
};
const said = (facts: Partial<MemoryFacts>) =>
  memoryChecks({ ...good, ...facts }).map(({ name, status, message, fix }) => ({
    name,
    status,
    text: `${message} ${fix ?? ''}`,
  }));

test('a good host', () => {
  const checks = memoryChecks(good);
  expect(checks.map(({ name, status }) => [name, status])).toEqual([
    ['memory', 'ok'],
    ['huge pages', 'ok'],
    ['locked memory', 'ok'],
    ['mappings', 'ok'],
  ]);
  expect(checks.map(({ message }) => message)).toEqual([
    '8G of 16G available',
    'transparent ones: madvise; 512M of 1G set aside are free',
    'up to 8M; with this kernel nothing of tsvmm counts',
    'vm.max_map_count is 65530, enough for about 1638 machines in a program',
  ]);
});

test('each shortage has its remedy', () => {
  const only = (facts: Partial<MemoryFacts>) => said(facts).filter(({ status }) => status === 'warn');
  expect(only({ memory: { most: GiB, available: GiB / 8, limitedBy: 'cgroup' } })).toEqual([
    {
      name: 'memory',
      status: 'warn',
      text: expect.stringMatching(/128M of 1G available, the limit of the cgroup.*-m/),
    },
  ]);
  expect(only({ memory: undefined })[0]!.text).toContain('/proc/meminfo');
  expect(only({ transparent: 'never' })[0]!.text).toContain('echo madvise');
  expect(only({ maxMapCount: 1000 })[0]!.text).toContain('sysctl vm.max_map_count');
  const old = { release: '5.11.22' };
  expect(only({ ...old, lockable: 64 * 1024 })[0]).toEqual({
    name: 'locked memory',
    status: 'warn',
    text: expect.stringMatching(/^up to 64K; .*io_uring takes 512K.*ulimit -l unlimited$/),
  });
  for (const lockable of [8 * 1024 ** 2, Number.POSITIVE_INFINITY]) expect(only({ ...old, lockable })).toEqual([]);
  for (const release of ['5.12.0', '6.1.0']) expect(only({ release, lockable: 64 * 1024 })).toEqual([]);
  expect(only({ overcommit: 2 })[0]!.text).toContain('vm.overcommit_memory is 2');
});

test('a kernel without huge pages is told, not complained of', () => {
  expect(said({ pool: undefined, transparent: undefined })[1]).toMatchObject({
    status: 'ok',
    text: expect.stringContaining('not in this kernel; this kernel has no pool'),
  });
  expect(said({ pool: { total: 0, free: 0 } })[1]!.text).toContain('none set aside');
});

test('this host answers', () => {
  expect(memoryFacts().maxMapCount).toBeGreaterThan(0);
  expect(memoryFacts().lockable).toBeGreaterThan(0);
});
