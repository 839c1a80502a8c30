/** CPU models and features, and which of them this host can give a guest: `tsvmm run --cpu help`. Main thread. */

import { cpuFeatures } from '../kvm/cpu-features.js';
import { cpuModels } from '../kvm/cpu-models.js';
import { offered } from '../kvm/cpuid.js';
import { hasFeature } from '../kvm/cpuid-entry.js';
import { kvmContext } from './kvm-context.js';

export interface CpuList {
  /** `missing`: features of the model that this host cannot give. */
  readonly models: readonly { readonly name: string; readonly missing: readonly string[] }[];
  /** What `+` and `-` may name on this host. */
  readonly here: readonly string[];
  readonly elsewhere: readonly string[];
}

/** Throws where KVM cannot be used. */
export function cpuList(): CpuList {
  const { supported, tscDeadline } = kvmContext();
  const entries = offered(supported, tscDeadline);
  const has = (name: string): boolean => hasFeature(entries, cpuFeatures.get(name)!);
  const names = [...cpuFeatures.keys()].sort();
  // The topology decides about it.
  const lacks = (name: string): boolean => name !== 'ht' && !has(name);
  return {
    models: [...cpuModels].map(([name, { own }]) => ({ name, missing: [...own].filter(lacks) })),
    here: names.filter(has),
    elsewhere: names.filter((name) => !has(name)),
  };
}
