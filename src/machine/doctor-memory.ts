/** What `tsvmm doctor` says of memory: how much there is, huge pages, and the limits that many machines meet. Main thread. */
import { release } from 'node:os';
import { hugePagePool, lockable, sysctl, transparentHugePages } from '../host/memory-facts.js';
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

/** What an I/O worker's rings take, somewhat more. Until Linux 5.12 they count as locked memory (io_uring_setup(2)). */
const ringBytes = 512 * 1024;
const ringsAreLockedUntil = [5, 12] as const;

/** What the checks look at; tests bring their own. */
export interface MemoryFacts {
  readonly memory: HostMemory | undefined;
  readonly pool: { readonly total: number; readonly free: number } | undefined;
  readonly transparent: string | undefined;
  readonly maxMapCount: number | undefined;
  readonly overcommit: number | undefined;
  /** Bytes. */
  readonly lockable: number | undefined;
  /** The kernel's, such as 6.1.0-18-amd64. */
  readonly release: string;
}

export const memoryFacts = (): MemoryFacts => ({
  memory: hostMemory(),
  pool: hugePagePool(),
  transparent: transparentHugePages(),
  maxMapCount: sysctl('vm.max_map_count'),
  overcommit: sysctl('vm.overcommit_memory'),
  lockable: lockable(),
  release: release(),
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

function limits(facts: MemoryFacts): DoctorCheck[] {
  const { maxMapCount, overcommit } = facts;
  const checks = lockedMemory(facts);
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

/** Guest memory is never locked, huge pages and `prefault` included; rings are, in older kernels. */
function lockedMemory({ lockable, release }: MemoryFacts): DoctorCheck[] {
  if (lockable === undefined) return [];
  const name = 'locked memory';
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  const counts = major < ringsAreLockedUntil[0] || (major === ringsAreLockedUntil[0] && minor < ringsAreLockedUntil[1]);
  const limit = lockable === Number.POSITIVE_INFINITY ? 'no limit' : `up to ${formatSize(lockable)}`;
  if (!counts) return [{ name, status: 'ok', message: `${limit}; with this kernel nothing of tsvmm counts` }];
  const message = `${limit}; with this kernel each program's io_uring takes ${formatSize(ringBytes)} of it`;
  return lockable < ringBytes
    ? [
        {
          name,
          status: 'warn',
          message,
          fix: 'raise it, or disks go through epoll, which is slower: ulimit -l unlimited',
        },
      ]
    : [{ name, status: 'ok', message }];
}
