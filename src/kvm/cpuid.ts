/**
 * The CPUID policy: what of this host's CPU a guest sees (docs/cpu.md). Main thread; the result is posted to the vCPU
 * workers.
 *
 * Starts from KVM_GET_SUPPORTED_CPUID, removes what a machine of ours cannot honour (MWAIT, the PMU, nested
 * virtualization unless asked for), applies the model and the `add`/`remove` lists, drops what then lacks something it
 * needs, and writes the topology (contract §6.5).
 */
import { TsvmmError } from '../errors.js';
import { didYouMean } from '../suggest.js';
import { clearLeaf, dropUnusable, fitDetails, missingFor } from './cpu-dependencies.js';
import { cpuFeatures, type FeatureBit } from './cpu-features.js';
import { cpuModels, limitFeatures } from './cpu-models.js';
import { type CpuTopology, withApicId, withTopology } from './cpu-topology.js';
import { type CpuidEntry, findLeaf, hasFeature, isAmd, setFeature } from './cpuid-entry.js';

export interface CpuChoice {
  /** `host`, or a name of `cpuModels`. */
  readonly model: string;
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** Nested virtualization, offered only when `add`ed, and the KVM module that must allow it. */
const nested: ReadonlyMap<string, string> = new Map([
  ['vmx', 'kvm_intel'],
  ['svm', 'kvm_amd'],
]);
/** Never offered: the guest would trap or misbehave. */
const never = [
  ...['monitor', 'mwaitx', 'dtes64', 'ds_cpl', 'intel_pt', 'arch_lbr', 'sgx', 'hybrid_cpu'],
  ...['pdcm', 'perfctr_core', 'perfctr_nb', 'perfctr_llc', 'smx', 'lwp', 'ibs'],
];
/** MWAIT, the PMU (0xA, 0x23, 0x80000022), and memory encryption, which machines of ours do not use. */
const neverLeaves = [5, 0xa, 0x23, 0x8000_001f, 0x8000_0022];
/** Topology extensions: APM vol. 3 E.4.16. */
const amdTopology = 0x8000_001e;
/** What no kernel that can start here does without. */
const indispensable = ['lm', 'pae', 'msr', 'apic'];

/**
 * The entries every vCPU gets; `forVcpu` then fills in its own ids. Throws `ERR_TSVMM_CONFIG` for a name that is no
 * model or feature, for an `add`ed feature that this host does not have or that lacks another one, and for a `remove`d one
 * that is indispensable.
 */
export function cpuidPolicy(
  supported: readonly CpuidEntry[],
  choice: CpuChoice,
  topology: CpuTopology,
  tscDeadline: boolean,
): CpuidEntry[] {
  const host = offered(supported, tscDeadline);
  const entries = host.map((entry) => ({ ...entry }));
  if (choice.model !== 'host') limitToModel(entries, choice.model);
  for (const name of nested.keys()) setFeature(entries, feature(name), false);
  for (const name of choice.add) {
    if (!hasFeature(host, feature(name))) throw notHere(name, isAmd(host));
    setFeature(entries, feature(name), true);
  }
  for (const name of choice.remove) {
    if (indispensable.includes(name)) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: a machine cannot be without the feature "${name}"`, {
        hint: `leave out -${name}`,
      });
    }
    setFeature(entries, feature(name), false);
  }
  dropUnusable(entries);
  for (const name of choice.add)
    if (!hasFeature(entries, feature(name))) throw incomplete(name, missingFor(entries, name));
  fitDetails(entries);
  return withTopology(entries, topology, isAmd(supported));
}

/** The same entries with one vCPU's APIC id in them. */
export const forVcpu = (entries: readonly CpuidEntry[], apicId: number, topology: CpuTopology): CpuidEntry[] =>
  withApicId(entries, apicId, topology, isAmd(entries));

/** What this host can give a guest, nested virtualization included. */
export function offered(supported: readonly CpuidEntry[], tscDeadline: boolean): CpuidEntry[] {
  const entries = supported.map((entry) => ({ ...entry }));
  // KVM has both whatever the CPU has, and reports neither.
  if (tscDeadline) setFeature(entries, feature('tsc_deadline_timer'), true);
  setFeature(entries, feature('hypervisor'), true);
  // What it stands for is written here and not the host's; without it Linux on AMD takes threads for cores.
  if (isAmd(entries) && findLeaf(entries, amdTopology, 0) !== undefined) setFeature(entries, feature('topoext'), true);
  for (const name of never) setFeature(entries, feature(name), false);
  for (const leaf of neverLeaves) clearLeaf(entries, leaf);
  dropUnusable(entries);
  return entries;
}

/** Clears every feature that is not the model's, those among them that have no name here. */
function limitToModel(entries: readonly CpuidEntry[], model: string): void {
  const allowed = cpuModels.get(model)?.all;
  if (allowed === undefined) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: there is no model "${model}"`, {
      hint: didYouMean(model, ['host', ...cpuModels.keys()], `use one of: host, ${[...cpuModels.keys()].join(', ')}`),
    });
  }
  limitFeatures(entries, allowed);
}

function notHere(name: string, amd: boolean): TsvmmError {
  const module = nested.get(name);
  if (module === undefined || never.includes(name)) {
    return new TsvmmError('ERR_TSVMM_CONFIG', `cpu: this host cannot give a guest the feature "${name}"`, {
      hint: `leave out "${name}"; tsvmm run --cpu help lists what this host can give`,
    });
  }
  if (amd !== (name === 'svm')) {
    const other = amd ? 'svm' : 'vmx';
    return new TsvmmError('ERR_TSVMM_CONFIG', `cpu: "${name}" is not of this host's CPU, whose feature is "${other}"`, {
      hint: `add "${other}" instead`,
    });
  }
  return new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `cpu: this host does not let guests use "${name}": nested virtualization is off in ${module}`,
    {
      hint: `with no machine running: modprobe -r ${module} && modprobe ${module} nested=1; where that does not help, KVM here has no nested virtualization`,
    },
  );
}

function incomplete(name: string, missing: string | undefined): TsvmmError {
  return missing === undefined
    ? new TsvmmError('ERR_TSVMM_CONFIG', `cpu: the feature "${name}" is both added and removed`, {
        hint: 'add it or remove it, not both',
      })
    : new TsvmmError('ERR_TSVMM_CONFIG', `cpu: the feature "${name}" needs "${missing}", which is not there`, {
        hint: `add "${missing}" as well, or leave out "${name}"`,
      });
}

function feature(name: string): FeatureBit {
  const bit = cpuFeatures.get(name);
  if (bit !== undefined) return bit;
  throw new TsvmmError('ERR_TSVMM_CONFIG', `cpu: there is no feature "${name}"`, {
    hint: didYouMean(name, cpuFeatures.keys(), 'use the names of /proc/cpuinfo'),
  });
}
