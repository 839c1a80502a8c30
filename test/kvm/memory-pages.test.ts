/** Pages of guest memory: which kind, when they are there, and what a host that lacks them says. */
import { readFileSync, writeFileSync } from 'node:fs';
import { TsvmmError, type Warning } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { runGuest, startGuest, whyNoKvm } from './support/guests.js';

const MiB = 1024 ** 2;

interface Area {
  readonly size: number;
  readonly rss: number;
  readonly flags: readonly string[];
  readonly pageSize: number;
}

/** The mappings of this process of at least that many bytes, from /proc/self/smaps. */
function areas(least: number): Area[] {
  return readFileSync('/proc/self/smaps', 'latin1')
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .map((text) => {
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
      const hugetlb = field('Private_Hugetlb') + field('Shared_Hugetlb');
      return {
        size: field('Size'),
        rss: field('Rss') + hugetlb,
        flags: (/^VmFlags: (.*)$/m.exec(text)?.[1] ?? '').trim().split(' '),
        pageSize: field('KernelPageSize'),
      };
    })
    .filter(({ size }) => size >= least);
}

/** The one mapping of exactly that size that may be written: guest RAM. */
const ramOf = (size: number): Area => areas(size).find((area) => area.size === size && area.flags.includes('wr'))!;

describe.skipIf(whyNoKvm !== undefined)('pages', () => {
  test('RAM is not copied into children, may use huge pages, and comes when it is touched', async () => {
    await using _vm = await startGuest('halt', { memory: '333M' });
    const ram = ramOf(333 * MiB);
    expect(ram.flags).toEqual(expect.arrayContaining(['dc', 'hg']));
    expect(ram.rss).toBeLessThan(64 * MiB);
  });

  test('hugepages: off keeps them away', async () => {
    await using _vm = await startGuest('halt', { memory: { size: '335M', hugepages: 'off' } });
    expect(ramOf(335 * MiB).flags).toEqual(expect.arrayContaining(['dc', 'nh']));
  });

  test('prefault has every page there before the guest starts, with one vCPU and with three', async () => {
    for (const cpus of [1, 3]) {
      await using vm = await startGuest('halt', { cpus, memory: { size: '337M', prefault: true } });
      expect(ramOf(337 * MiB).rss).toBe(337 * MiB);
      expect(vm.phases.map(({ name }) => name)).toContain('prefault');
    }
  });

  test('prefault does not harm what the guest is given, and gives all back', async () => {
    const { exit } = await runGuest('memory', { cpus: 2, memory: { size: '200M', prefault: true } });
    expect(exit).toMatchObject({ debugExit: 0 });
    expect(areas(200 * MiB).filter((area) => area.size === 200 * MiB && area.rss > 0)).toEqual([]);
  });

  test('a signal ends a start that is prefaulting', async () => {
    const signal = AbortSignal.timeout(150);
    const started = startGuest('halt', { memory: { size: '2G', prefault: true, hugepages: 'off' }, signal });
    await expect(started).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(areas(2048 * MiB).filter(({ rss }) => rss > 0)).toEqual([]);
  });

  test('more memory than the host has is a warning that comes after the start', async () => {
    await using vm = await startGuest('halt', { memory: '900G' });
    const warning = await new Promise<Warning>((resolve) => vm.once('warning', resolve));
    expect(warning).toMatchObject({ source: 'host', message: expect.stringContaining('may use 900G') });
  });

  test('huge pages that are not there are an error that says how many, and how to get them', async () => {
    const free = Number(readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'latin1'));
    const size = (free + 64) * 2 * MiB;
    const error = await startGuest('halt', { memory: { size, hugepages: 'hugetlb' } }).catch((reason) => reason);
    expect(error).toBeInstanceOf(TsvmmError);
    expect(error).toMatchObject({ code: 'ERR_TSVMM_CONFIG', details: { needed: free + 64, free } });
    expect(error.hint).toContain('sysctl vm.nr_hugepages=');
  });

  test('huge pages of the pool: all reserved, used, given back, also over a reboot', async ({ skip }) => {
    const pool = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages';
    const before = readFileSync(pool, 'latin1').trim();
    try {
      writeFileSync(pool, String(Number(before) + 40));
    } catch (error) {
      skip(`the huge page pool cannot be changed here: ${(error as Error).message}`);
    }
    try {
      const free = () => Number(readFileSync(pool.replace('nr_', 'free_'), 'latin1'));
      const there = free();
      if (there < 40) skip('the host has no 40 huge pages left');
      const memory = { size: '80M', hugepages: 'hugetlb', prefault: true } as const;
      {
        await using _vm = await startGuest('halt', { memory });
        expect(ramOf(80 * MiB)).toMatchObject({ pageSize: 2 * MiB, rss: 80 * MiB });
        expect(free()).toBe(there - 40);
      }
      expect(free()).toBe(there);
      const { output } = await runGuest('reset', { memory, cmdline: 'count=3' });
      expect(output).toContain('start 3 of 3');
      expect(free()).toBe(there);
    } finally {
      writeFileSync(pool, before);
    }
  });
});
