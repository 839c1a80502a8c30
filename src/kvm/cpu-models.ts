/**
 * CPU models: which features a guest may see, if the host has them (docs/cpu.md). Any thread.
 *
 * The levels x86-64-v1 to v4 are those of the x86-64 psABI §3.1.1, by which distributions and compilers choose. `host`,
 * everything that KVM supports, is not in the table.
 */
import { type CpuidRegister, featureWords } from './cpu-features.js';
import { type CpuidEntry, SIGNIFICANT_INDEX } from './cpuid-entry.js';

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
  'smep smap umip xsaveerptr arat',
  // How the CPU is protected against its own speculation is the host's matter.
  'arch_capabilities spec_ctrl intel_stibp ssbd md_clear flush_l1d intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no',
  'amd_ibpb amd_ibrs amd_stibp amd_stibp_always_on amd_ssbd virt_ssbd amd_ssb_no lfence_rdtsc null_sel_clr_base',
  'no_nested_data_bp autoibrs no_smm_ctl_msr verw_clear sbpb ibpb_brtype srso_no srso_user_kernel_no',
  'tsa_sq_no tsa_l1_no',
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

const registers = ['eax', 'ebx', 'ecx', 'edx'] as const;
const all = 'eax ebx ecx edx';
/** What describes the CPU, or a feature that is there (cpu-dependencies.ts), and is no feature itself; `index`: only there. */
const descriptions: readonly (readonly [leaves: readonly number[], registers: string, index?: number])[] = [
  [[0, 0x4000_0000, 0x8000_0000], all], // largest leaf, vendor
  [[1, 0x8000_0001], 'eax ebx'], // family, model and stepping
  [[0x8000_0002, 0x8000_0003, 0x8000_0004], all], // brand
  [[2, 4, 0x8000_0005, 0x8000_0006, 0x8000_0019, 0x8000_001d], all], // caches and TLBs
  [[7], 'eax', 0], // largest subleaf
  [[0xb, 0x1f, 0x8000_001e, 0x8000_0026], all], // topology
  [[0x15, 0x16], all], // frequencies
  [[0xd], all], // state components
  [[0x1d], all], // AMX palettes
  [[0x1e], all, 0], // AMX multiplication
  [[0x24], all, 0], // AVX10 version and vector lengths
  [[0x8000_0008], 'eax ecx'], // address sizes, topology
  [[0x8000_000a], all], // nested virtualization on AMD
];

/**
 * Clears what is neither a feature of `allowed` nor a description. Other bits, of leaves too that are not known here, may
 * each be a feature of a later CPU.
 */
export function limitFeatures(entries: readonly CpuidEntry[], allowed: ReadonlySet<string>): void {
  for (const entry of entries)
    for (const register of registers) entry[register] = (entry[register] & maskFor(entry, register, allowed)) >>> 0;
}

function maskFor(entry: CpuidEntry, register: CpuidRegister, allowed: ReadonlySet<string>): number {
  const at = (index: number): boolean => (entry.flags & SIGNIFICANT_INDEX) === 0 || entry.index === index;
  const word = featureWords.find(
    ([leaf, index, where]) => leaf === entry.function && where === register && at(index),
  )?.[3];
  if (word !== undefined)
    return word.split(' ').reduce((mask, name, bit) => (allowed.has(name) ? mask | (1 << bit) : mask), 0);
  const isDescription = descriptions.some(
    ([leaves, where, index]) =>
      leaves.includes(entry.function) && where.includes(register) && (index === undefined || at(index)),
  );
  return isDescription ? -1 : 0;
}
