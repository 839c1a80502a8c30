/** What `tsvmm doctor` says of memory: how much there is, huge pages, and the limits that many machines meet. Main thread. */
import { hugePagePool, sysctl, transparentHugePages } from '../host/memory-facts.js';
import { hugePageSize } from '../memory/ram.js';
import type { DoctorCheck } from './doctor.js';
import { type HostMemory, hostMemory } from './memory-check.js';
import { formatSize } from './units.js';

const littleMemory = 512 * 1024 ** 2;
/** A machine takes about 40 mappings, its threads and their heaps included. */
const mappingsOfMachine = 40;
const manyMachines = 100;
/** vm.overcommit_memory: 2 counts all that is mapped, guest memory that nobody has touched as well. */
const strictOvercommit = 2;

/** What the checks look at; tests bring their own. */
export interface MemoryFacts {
  readonly memory: HostMemory | undefined;
  readonly pool: { readonly total: number; readonly free: number } | undefined;
  readonly transparent: string | undefined;
  readonly maxMapCount: number | undefined;
  readonly overcommit: number | undefined;
}

export const memoryFacts = (): MemoryFacts => ({
  memory: hostMemory(),
  pool: hugePagePool(),
  transparent: transparentHugePages(),
  maxMapCount: sysctl('vm.max_map_count'),
  overcommit: sysctl('vm.overcommit_memory'),
});

export function memoryChecks(facts = memoryFacts()): DoctorCheck[] {
  return [available(facts.memory), hugePages(facts), ...limits(facts)];
}

function available(memory: HostMemory | undefined): DoctorCheck {
  const name = 'memory';
  if (memory === undefined) return { name, status: 'warn', message: '/proc/meminfo cannot be read' };
  const limit = memory.limitedBy === 'cgroup' ? ', the limit of the cgroup' : '';
  const message = `${formatSize(memory.available)} of ${formatSize(memory.most)} available${limit}`;
  return memory.available < littleMemory
    ? { name, status: 'warn', message, fix: 'stop other programs, or give machines less than the default 512M (-m)' }
    : { name, status: 'ok', message };
}

function hugePages({ pool, transparent }: MemoryFacts): DoctorCheck {
  const name = 'huge pages';
  const pages =
    pool === undefined
      ? 'this kernel has no pool of 2M pages'
      : pool.total === 0
        ? 'none set aside for --hugepages hugetlb (vm.nr_hugepages)'
        : `${formatSize(pool.free * hugePageSize)} of ${formatSize(pool.total * hugePageSize)} set aside are free`;
  const message = `transparent ones: ${transparent ?? 'not in this kernel'}; ${pages}`;
  return transparent === 'never'
    ? {
        name,
        status: 'warn',
        message,
        fix: 'guests run faster with them: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled',
      }
    : { name, status: 'ok', message };
}

function limits({ maxMapCount, overcommit }: MemoryFacts): DoctorCheck[] {
  const checks: DoctorCheck[] = [];
  if (maxMapCount !== undefined) {
    const machines = Math.floor(maxMapCount / mappingsOfMachine);
    const message = `vm.max_map_count is ${maxMapCount}, enough for about ${machines} machines in a program`;
    const name = 'mappings';
    checks.push(
      machines < manyMachines
        ? { name, status: 'warn', message, fix: 'for many machines raise it: sysctl vm.max_map_count=65530' }
        : { name, status: 'ok', message },
    );
  }
  if (overcommit === strictOvercommit) {
    checks.push({
      name: 'overcommit',
      status: 'warn',
      message: 'vm.overcommit_memory is 2: all of the memory that guests are given counts, touched or not',
      fix: 'sysctl vm.overcommit_memory=0, or give guests less',
    });
  }
  return checks;
}
