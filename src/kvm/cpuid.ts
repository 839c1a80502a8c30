/**
 * The CPUID policy: what of this host's CPU a guest sees. Main thread; the result is posted to the vCPU workers.
 *
 * Starts from KVM_GET_SUPPORTED_CPUID, removes what a machine of ours cannot honour (MWAIT, the PMU, nested
 * virtualization unless asked for), applies the model and the `add`/`remove` lists, and writes topology that agrees with
 * the APIC ids (contract §6.5): vCPU n has APIC id n, one socket of n cores with one thread each.
 */
import { TsvmmError } from '../errors.js';
import { cpuFeatures, cpuModels, type FeatureBit } from './cpu-features.js';
import { KvmCpuidEntry2 } from './structs.js';

export interface CpuChoice {
  /** `host`, or a name of `cpuModels`. */
  readonly model: string;
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

export interface CpuidEntry {
  readonly function: number;
  readonly index: number;
  readonly flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** Leaf numbers, as the SDM and the APM name them. */
const Leaf = {
  features: 1,
  cacheParameters: 4,
  mwait: 5,
  thermal: 6,
  performanceMonitoring: 0xa,
  topology: 0xb,
  xstate: 0xd,
  v2Topology: 0x1f,
  amdFeatures: 0x8000_0001,
  amdSizes: 0x8000_0008,
  amdCacheProperties: 0x8000_001d,
  amdTopology: 0x8000_001e,
  amdV2Topology: 0x8000_0026,
} as const;
const SIGNIFICANT_INDEX = 1;
const topologyThreads = 1;
const topologyCores = 2;
/** Not offered unless `add`ed: nested virtualization. Never offered: the guest would trap or misbehave. */
const nested = ['vmx', 'svm'];
const never = [
  'monitor',
  'mwaitx',
  'dtes64',
  'ds_cpl',
  'pdcm',
  'intel_pt',
  'arch_lbr',
  'perfctr_core',
  'perfctr_nb',
  'perfctr_llc',
  'sgx',
  'hybrid_cpu',
];

export function parseCpuid(bytes: Uint8Array): CpuidEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = KvmCpuidEntry2.offset;
  return Array.from({ length: bytes.length / KvmCpuidEntry2.size }, (_, i) => {
    const word = (offset: number): number => view.getUint32(i * KvmCpuidEntry2.size + offset, true);
    return {
      function: word(at.function),
      index: word(at.index),
      flags: word(at.flags),
      eax: word(at.eax),
      ebx: word(at.ebx),
      ecx: word(at.ecx),
      edx: word(at.edx),
    };
  });
}

export function encodeCpuid(entries: readonly CpuidEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * KvmCpuidEntry2.size);
  const view = new DataView(bytes.buffer);
  entries.forEach((entry, i) => {
    for (const field of ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const) {
      view.setUint32(i * KvmCpuidEntry2.size + KvmCpuidEntry2.offset[field], entry[field], true);
    }
  });
  return bytes;
}

/** What leaf 1 says to tables that repeat it: EAX and EDX. */
export function processorIdentity(entries: readonly CpuidEntry[]): { signature: number; features: number } {
  const entry = find(entries, Leaf.features, 0);
  return { signature: entry?.eax ?? 0, features: entry?.edx ?? 0 };
}

/** Bits of physical addresses the guest may use; 36 when the CPU does not say (SDM: leaf 0x80000008 absent). */
export function physicalAddressBits(entries: readonly CpuidEntry[]): number {
  return (find(entries, Leaf.amdSizes, 0)?.eax ?? 36) & 0xff;
}

/**
 * The entries every vCPU gets; `forVcpu` then fills in its own ids. Throws `ERR_TSVMM_CONFIG` for a name that is no
 * model or feature, and for an `add`ed feature that this host does not have.
 */
export function cpuidPolicy(
  supported: readonly CpuidEntry[],
  choice: CpuChoice,
  cpus: number,
  tscDeadline: boolean,
): CpuidEntry[] {
  const entries = supported.filter((entry) => !topologyLeaf(entry.function)).map((entry) => ({ ...entry }));
  const host = supported.map((entry) => ({ ...entry }));
  const allowed = choice.model === 'host' ? undefined : cpuModels.get(choice.model);
  if (choice.model !== 'host' && allowed === undefined) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: there is no model "${choice.model}"`, {
      hint: `use one of: host, ${[...cpuModels.keys()].join(', ')}`,
    });
  }
  if (tscDeadline) for (const list of [entries, host]) setFeature(list, feature('tsc_deadline_timer'), true);
  for (const list of [entries, host]) setFeature(list, feature('hypervisor'), true);
  for (const [name, bit] of cpuFeatures)
    if (allowed !== undefined && !allowed.has(name)) setFeature(entries, bit, false);
  for (const name of [...never, ...nested]) setFeature(entries, feature(name), false);
  for (const name of choice.add) {
    if (never.includes(name) || !hasFeature(host, feature(name))) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: this host cannot give a guest the feature "${name}"`, {
        hint: `leave out +${name}`,
      });
    }
    setFeature(entries, feature(name), true);
  }
  for (const name of choice.remove) setFeature(entries, feature(name), false);
  for (const leaf of [Leaf.mwait, Leaf.performanceMonitoring]) {
    const entry = find(entries, leaf, 0);
    if (entry !== undefined) Object.assign(entry, { eax: 0, ebx: 0, ecx: 0, edx: 0 });
  }
  // One socket of `cpus` cores: nothing else may claim another shape.
  for (const entry of entries) if (entry.function === Leaf.amdSizes) entry.ecx = amdCoreCount(cpus);
  for (const entry of entries) if (isCache(entry)) shareCache(entry, cpus);
  addTopology(entries, supported, cpus);
  return entries;
}

/** The same entries with one vCPU's APIC id in them. */
export function forVcpu(entries: readonly CpuidEntry[], apicId: number, cpus: number): CpuidEntry[] {
  return entries.map((shared) => {
    const entry = { ...shared };
    if (entry.function === Leaf.features) {
      entry.ebx = ((entry.ebx & 0xffff) | (Math.min(cpus, 255) << 16) | (apicId << 24)) >>> 0;
    }
    if (entry.function === Leaf.topology || entry.function === Leaf.v2Topology) entry.edx = apicId;
    if (entry.function === Leaf.amdTopology) Object.assign(entry, { eax: apicId, ebx: apicId & 0xff, ecx: 0 });
    return entry;
  });
}

const topologyLeaf = (leaf: number): boolean =>
  leaf === Leaf.topology || leaf === Leaf.v2Topology || leaf === Leaf.amdV2Topology;

/** Bits needed to tell `cpus` apart: the width of the core id inside an APIC id. */
export const idBits = (cpus: number): number => Math.ceil(Math.log2(Math.max(1, cpus)));

const amdCoreCount = (cpus: number): number => ((idBits(cpus) << 12) | (cpus - 1)) >>> 0;

/** Leaves 0xB and 0x1F: thread level (one a core), core level (`cpus` a socket), end (SDM vol. 2A, leaf 0BH). */
function addTopology(entries: CpuidEntry[], supported: readonly CpuidEntry[], cpus: number): void {
  const maxLeaf = find(supported, 0, 0)?.eax ?? 0;
  for (const leaf of [Leaf.topology, Leaf.v2Topology]) {
    if (leaf > maxLeaf) continue;
    const level = (index: number, type: number, shift: number, count: number): CpuidEntry => ({
      function: leaf,
      index,
      flags: SIGNIFICANT_INDEX,
      eax: shift,
      ebx: count,
      ecx: index | (type << 8),
      edx: 0,
    });
    entries.push(level(0, topologyThreads, 0, 1), level(1, topologyCores, idBits(cpus), cpus), level(2, 0, 0, 0));
  }
}

const isCache = (entry: CpuidEntry): boolean =>
  (entry.function === Leaf.cacheParameters || entry.function === Leaf.amdCacheProperties) && (entry.eax & 0x1f) !== 0;

/** EAX 25:14 is "logical processors sharing this cache - 1"; 31:26, on Intel, "cores in the package - 1". */
function shareCache(entry: CpuidEntry, cpus: number): void {
  const level = (entry.eax >>> 5) & 7;
  const sharing = level >= 3 ? cpus : 1;
  const low = entry.eax & 0x3fff;
  const cores = entry.function === Leaf.cacheParameters ? Math.min(cpus - 1, 63) : 0;
  entry.eax = (low | ((sharing - 1) << 14) | (cores << 26)) >>> 0;
}

const find = (entries: readonly CpuidEntry[], leaf: number, index: number): CpuidEntry | undefined =>
  entries.find(
    (entry) => entry.function === leaf && ((entry.flags & SIGNIFICANT_INDEX) === 0 || entry.index === index),
  );

function feature(name: string): FeatureBit {
  const bit = cpuFeatures.get(name);
  if (bit !== undefined) return bit;
  const close = [...cpuFeatures.keys()].filter((known) => known.includes(name) || name.includes(known)).slice(0, 5);
  throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: there is no feature "${name}"`, {
    hint: `use the names of /proc/cpuinfo${close.length > 0 ? `; did you mean ${close.join(', ')}?` : ''}`,
  });
}

export function hasFeature(entries: readonly CpuidEntry[], { leaf, index, register, bit }: FeatureBit): boolean {
  const entry = find(entries, leaf, index);
  return entry !== undefined && ((entry[register] >>> bit) & 1) === 1;
}

function setFeature(entries: readonly CpuidEntry[], { leaf, index, register, bit }: FeatureBit, on: boolean): void {
  const entry = find(entries, leaf, index);
  if (entry === undefined) return;
  const mask = 2 ** bit;
  entry[register] = (on ? entry[register] | mask : entry[register] & ~mask) >>> 0;
}
