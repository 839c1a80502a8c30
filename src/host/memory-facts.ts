/** What this host has of memory: /proc/meminfo, the huge page pool, sysctls, the cgroup's limit. Any thread; cold. */
import { readFileSync } from 'node:fs';

/** The file's text without its line end, or undefined where there is no such file or it may not be read. */
export function readFact(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return undefined;
  }
}

function readNumber(path: string): number | undefined {
  const text = readFact(path);
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

export interface MemInfo {
  /** Bytes. */
  readonly total: number;
  readonly available: number;
  readonly swapFree: number;
}

/** Undefined without /proc. */
export function memInfo(): MemInfo | undefined {
  const text = readFact('/proc/meminfo');
  const field = (name: string): number | undefined => {
    const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text ?? '')?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  };
  const total = field('MemTotal');
  const available = field('MemAvailable');
  if (total === undefined || available === undefined) return undefined;
  return { total, available, swapFree: field('SwapFree') ?? 0 };
}

const poolFolder = '/sys/kernel/mm/hugepages/hugepages-2048kB';

export interface HugePagePool {
  /** Pages of 2 MiB: set aside, and neither used nor promised to anybody. */
  readonly total: number;
  readonly free: number;
}

/** Undefined where the kernel has no hugetlb pages of 2 MiB. */
export function hugePagePool(): HugePagePool | undefined {
  const total = readNumber(`${poolFolder}/nr_hugepages`);
  const free = readNumber(`${poolFolder}/free_hugepages`);
  if (total === undefined || free === undefined) return undefined;
  return { total, free: Math.max(0, free - (readNumber(`${poolFolder}/resv_hugepages`) ?? 0)) };
}

/** always, madvise or never; undefined where the kernel has no transparent huge pages. */
export const transparentHugePages = (): string | undefined =>
  /\[(\w+)\]/.exec(readFact('/sys/kernel/mm/transparent_hugepage/enabled') ?? '')?.[1];

export const sysctl = (name: string): number | undefined => readNumber(`/proc/sys/${name.replaceAll('.', '/')}`);

/** How much this process may lock (RLIMIT_MEMLOCK), in bytes; with CAP_IPC_LOCK all of it. Undefined without /proc. */
export function lockable(): number | undefined {
  const capabilities = /^CapEff:\s+(\w+)$/m.exec(readFact('/proc/self/status') ?? '')?.[1];
  const soft = /^Max locked memory\s+(\w+)/m.exec(readFact('/proc/self/limits') ?? '')?.[1];
  if (capabilities === undefined || soft === undefined) return undefined;
  const mayAll = ((Number.parseInt(capabilities.slice(-8), 16) >>> 14) & 1) === 1;
  return mayAll || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Limits near 2^63, in bytes rounded to pages, stand for none. */
const noLimit = 2 ** 62;

/** Bytes that this process's own cgroup may use, both versions; undefined without a limit. */
export function cgroupLimit(): number | undefined {
  const groups = (readFact('/proc/self/cgroup') ?? '').split('\n');
  const limits: number[] = [];
  for (const group of groups) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(group) ?? [];
    if (controllers === '') limits.push(...limitsAlong('/sys/fs/cgroup', path!, 'memory.max'));
    else if (controllers?.split(',').includes('memory'))
      limits.push(...limitsAlong('/sys/fs/cgroup/memory', path!, 'memory.limit_in_bytes'));
  }
  const least = Math.min(...limits);
  return least < noLimit ? least : undefined;
}

/** A group's limit and those of all above it. In a container the path may be the host's: then the root is ours. */
function limitsAlong(root: string, path: string, file: string): number[] {
  const names = path.split('/').filter((name) => name !== '');
  const folders = names.map((_, i) => `${root}/${names.slice(0, i + 1).join('/')}`);
  return [root, ...folders].map((folder) => readNumber(`${folder}/${file}`)).filter((limit) => limit !== undefined);
}
