/**
 * CPU models: which features a guest may see, if the host has them (docs/cpu.md). Any thread.
 *
 * The levels x86-64-v1 to v4 are those of the x86-64 psABI §3.1.1, by which distributions and compilers choose. `host`,
 * everything that KVM supports, is not in the table.
 */
import { featureWords } from './cpu-features.js';

/** v1 and what every 64-bit kernel expects beside it. */
const v1 =
  'fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm ht';
const v2 = `${v1} cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3`;
const v3 = `${v2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave xsaveopt xsavec xgetbv1 aes pclmulqdq fsgsbase`;
const v4 = `${v3} avx512f avx512bw avx512cd avx512dq avx512vl`;

const paravirtual = featureWords.find(([leaf]) => leaf === 0x4000_0001)![3];
/** What every model keeps: nothing that a program could come to depend on. */
const always = [
  'x2apic tsc_deadline_timer hypervisor tsc_adjust constant_tsc rdtscp pdpe1gb pcid invpcid topoext cmp_legacy',
  'smep smap umip xsaveerptr',
  // How the CPU is protected against its own speculation is the host's matter.
  'arch_capabilities spec_ctrl intel_stibp ssbd md_clear flush_l1d intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no',
  'amd_ibpb amd_ibrs amd_stibp amd_stibp_always_on amd_ssbd virt_ssbd amd_ssb_no lfence_rdtsc null_sel_clr_base',
  'no_nested_data_bp autoibrs no_smm_ctl_msr verw_clear sbpb ibpb_brtype srso_no srso_user_kernel_no',
  paravirtual,
].join(' ');

export interface CpuModel {
  /** What makes the level. */
  readonly own: ReadonlySet<string>;
  /** All that a guest may see. */
  readonly all: ReadonlySet<string>;
}

const setOf = (list: string): ReadonlySet<string> => new Set(list.split(' ').filter((feature) => feature !== '-'));

export const cpuModels: ReadonlyMap<string, CpuModel> = new Map(
  Object.entries({ 'x86-64-v1': v1, 'x86-64-v2': v2, 'x86-64-v3': v3, 'x86-64-v4': v4 }).map(([name, list]) => [
    name,
    { own: setOf(list), all: setOf(`${list} ${always}`) },
  ]),
);
