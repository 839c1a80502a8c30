/**
 * /dev/kvm as this environment uses it: opened once, at the first machine, with what costs time to ask. Main thread.
 */

import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { errnoName } from '../host/errno.js';
import { offered } from '../kvm/cpuid.js';
import { type CpuidEntry, parseCpuid } from '../kvm/cpuid-entry.js';
import { xsaveSize } from '../kvm/ioctls.js';
import { Kvm } from '../kvm/kvm.js';
import type { VcpuSaveFacts } from '../kvm/vcpu-save.js';

export interface KvmContext {
  readonly kvm: Kvm;
  readonly supported: readonly CpuidEntry[];
  readonly runPageSize: number;
  readonly tscDeadline: boolean;
  /** What this host can give a guest. Made when it is first wanted. */
  readonly offered: () => readonly CpuidEntry[];
  /** Paravirtual features that CPUID does not have can be refused. */
  readonly enforcesPv: boolean;
  readonly maxVcpus: number;
  /** vCPU ids, which are APIC ids, are below this. */
  readonly maxVcpuId: number;
  /** For saving and loading vCPUs. Asked for when it is first wanted. */
  readonly saveFacts: () => VcpuSaveFacts;
}

let context: KvmContext | undefined;
let facts: VcpuSaveFacts | undefined;
let offer: readonly CpuidEntry[] | undefined;

/** Throws when KVM cannot be used, each reason with its own code; asks again the next time. */
export function kvmContext(): KvmContext {
  const signal = native().kickSignal();
  if (signal < 0) {
    throw new TsvmmError(
      'ERR_TSVMM_STATE',
      `no real-time signal is free to interrupt vCPUs with: ${errnoName(signal)}`,
      {
        hint: 'another library of this program has taken or replaced the signal; load tsvmm first',
      },
    );
  }
  if (context !== undefined) return context;
  const kvm = Kvm.open();
  try {
    kvm.requireAll();
    const supported = parseCpuid(kvm.supportedCpuid());
    const tscDeadline = kvm.capability('KVM_CAP_TSC_DEADLINE_TIMER') > 0;
    context = {
      kvm,
      supported,
      runPageSize: kvm.runPageSize(),
      tscDeadline,
      offered: () => {
        offer ??= offered(supported, tscDeadline);
        return offer;
      },
      enforcesPv: kvm.capability('KVM_CAP_ENFORCE_PV_FEATURE_CPUID') > 0,
      maxVcpus: kvm.maxVcpus(),
      maxVcpuId: kvm.maxVcpuId(),
      saveFacts: () => {
        facts ??= { msrs: kvm.msrIndices(), xsaveBytes: Math.max(kvm.capability('KVM_CAP_XSAVE2'), xsaveSize) };
        return facts;
      },
    };
    return context;
  } catch (error) {
    kvm.close();
    throw error;
  }
}
