/**
 * Sockets, cores and threads: the APIC id of each vCPU, and the CPUID leaves that tell a guest how to read it. Any thread.
 *
 * An APIC id is bit fields, socket:core:thread, each as wide as its count needs (SDM vol. 3A §9.9.1, APM vol. 3 appendix
 * E.4.7), so counts that are no powers of two leave gaps: vCPU n has APIC id `apicIds(topology)[n]`, which is its number
 * in KVM and its id in the MADT.
 */
import { type CpuidEntry, SIGNIFICANT_INDEX } from './cpuid-entry.js';

/** Cores are counted in each socket, threads in each core. */
export interface CpuTopology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** The byte 255 addresses every APIC. */
export const maxApicId = 254;

/** Bits needed to tell `count` apart. */
export const idBits = (count: number): number => 32 - Math.clz32(count - 1);

const coreShift = ({ threads }: CpuTopology): number => idBits(threads);
const socketShift = (topology: CpuTopology): number => coreShift(topology) + idBits(topology.cores);
const threadsPerSocket = ({ cores, threads }: CpuTopology): number => cores * threads;

/** Ascending, from 0: threads of a core beside each other, then the socket's next core. */
export function apicIds(topology: CpuTopology): number[] {
  const { sockets, cores, threads } = topology;
  return Array.from({ length: sockets * cores * threads }, (_, cpu) => {
    const core = Math.floor(cpu / threads);
    const socket = Math.floor(core / cores);
    return socket * 2 ** socketShift(topology) + (core % cores) * 2 ** coreShift(topology) + (cpu % threads);
  });
}

const Leaf = {
  features: 1,
  cacheParameters: 4,
  topology: 0xb,
  v2Topology: 0x1f,
  amdFeatures: 0x8000_0001,
  amdSizes: 0x8000_0008,
  amdCacheProperties: 0x8000_001d,
  amdTopology: 0x8000_001e,
  amdV2Topology: 0x8000_0026,
} as const;
/** Level types of leaves 0xB and 0x1F, and of 0x80000026, whose socket is a level of its own. */
const Level = { none: 0, thread: 1, core: 2 } as const;
const AmdLevel = { core: 1, complex: 2, die: 3, socket: 4 } as const;
/** Leaf 1 EDX: more than one logical processor in the socket. */
const HTT = 2 ** 28;
/** Leaf 0x80000001 ECX: those are cores as well (APM vol. 3 E.4.2); without it Linux takes all of them for threads. */
const CMP_LEGACY = 2;

/** The entries with this topology in them and no other; `withApicId` then fills in each vCPU's own ids. */
export function withTopology(entries: readonly CpuidEntry[], topology: CpuTopology, amd: boolean): CpuidEntry[] {
  const shared = entries.filter((entry) => !extended.has(entry.function)).map((entry) => ({ ...entry }));
  const many = threadsPerSocket(topology) > 1;
  for (const entry of shared) {
    if (entry.function === Leaf.features) entry.edx = withBit(entry.edx, HTT, many);
    if (entry.function === Leaf.amdFeatures && amd) entry.ecx = withBit(entry.ecx, CMP_LEGACY, many);
    if (entry.function === Leaf.amdSizes) entry.ecx = amd ? amdSizes(topology) : 0;
    if (entry.function === Leaf.cacheParameters) shareCache(entry, topology, true);
    if (entry.function === Leaf.amdCacheProperties) shareCache(entry, topology, false);
  }
  const maxBasic = maxLeaf(entries, 0);
  const maxExtended = maxLeaf(entries, 0x8000_0000);
  for (const leaf of [Leaf.topology, Leaf.v2Topology]) if (leaf <= maxBasic) shared.push(...levels(leaf, topology));
  if (amd && Leaf.amdV2Topology <= maxExtended) shared.push(...amdLevels(topology));
  return shared;
}

const extended: ReadonlySet<number> = new Set([Leaf.topology, Leaf.v2Topology, Leaf.amdV2Topology]);

/** The same entries with one vCPU's APIC id in them. */
export function withApicId(
  entries: readonly CpuidEntry[],
  apicId: number,
  topology: CpuTopology,
  amd: boolean,
): CpuidEntry[] {
  // Intel counts the ids that are set aside for a socket (SDM vol. 2A, leaf 1 EBX), AMD the processors in it.
  const addressable = amd ? threadsPerSocket(topology) : 2 ** socketShift(topology);
  return entries.map((shared) => {
    const entry = { ...shared };
    if (entry.function === Leaf.features) {
      entry.ebx = ((entry.ebx & 0xffff) | (Math.min(addressable, 255) << 16) | (apicId << 24)) >>> 0;
    }
    if (extended.has(entry.function)) entry.edx = apicId;
    if (entry.function === Leaf.amdTopology) {
      const core = (apicId >>> coreShift(topology)) & (2 ** idBits(topology.cores) - 1);
      const socket = apicId >>> socketShift(topology);
      Object.assign(entry, { eax: apicId, ebx: core | ((topology.threads - 1) << 8), ecx: socket, edx: 0 });
    }
    return entry;
  });
}

const withBit = (word: number, bit: number, on: boolean): number => (on ? word | bit : word & ~bit) >>> 0;

const maxLeaf = (entries: readonly CpuidEntry[], range: number): number =>
  entries.find((entry) => entry.function === range)?.eax ?? range;

/** ECX: width of the ids inside a socket, processors in it - 1 (APM vol. 3 E.4.7). */
const amdSizes = (topology: CpuTopology): number => (socketShift(topology) << 12) | (threadsPerSocket(topology) - 1);

function level(leaf: number, index: number, type: number, shift: number, count: number): CpuidEntry {
  return { function: leaf, index, flags: SIGNIFICANT_INDEX, eax: shift, ebx: count, ecx: index | (type << 8), edx: 0 };
}

/** EAX: bits to the next level's id; EBX: processors at this level (SDM vol. 2A, leaf 0BH). */
const levels = (leaf: number, topology: CpuTopology): CpuidEntry[] => [
  level(leaf, 0, Level.thread, coreShift(topology), topology.threads),
  level(leaf, 1, Level.core, socketShift(topology), threadsPerSocket(topology)),
  level(leaf, 2, Level.none, 0, 0),
];

/** APM vol. 3 E.4.23. One complex and one die a socket. */
const amdLevels = (topology: CpuTopology): CpuidEntry[] => [
  level(Leaf.amdV2Topology, 0, AmdLevel.core, coreShift(topology), topology.threads),
  ...[AmdLevel.complex, AmdLevel.die, AmdLevel.socket].map((type, i) =>
    level(Leaf.amdV2Topology, 1 + i, type, socketShift(topology), threadsPerSocket(topology)),
  ),
  level(Leaf.amdV2Topology, 4, Level.none, 0, 0),
];

const firstSharedLevel = 3;
const maxCoresField = 63;

/**
 * Caches up to L2 belong to a core, L3 to a socket. EAX 25:14 is "ids sharing this cache - 1", and on Intel 31:26 "core ids
 * in the socket - 1"; both count ids and not processors, so that a guest can mask APIC ids with them.
 */
function shareCache(entry: CpuidEntry, topology: CpuTopology, intel: boolean): void {
  const type = entry.eax & 0x1f;
  if (type === 0) return;
  const cacheLevel = (entry.eax >>> 5) & 7;
  const sharing = 2 ** (cacheLevel >= firstSharedLevel ? socketShift(topology) : coreShift(topology)) - 1;
  const cores = intel ? Math.min(2 ** idBits(topology.cores) - 1, maxCoresField) : 0;
  entry.eax = ((entry.eax & 0x3fff) | (sharing << 14) | (cores << 26)) >>> 0;
}
