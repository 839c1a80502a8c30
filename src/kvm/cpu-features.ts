/**
 * CPU features by the names of Linux's /proc/cpuinfo, and where CPUID reports them. Any thread.
 *
 * Sources: Intel SDM vol. 2A "CPUID", AMD APM vol. 3 appendix E, KVM cpuid.rst for the paravirtual ones.
 */
export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';
export interface FeatureBit {
  readonly leaf: number;
  readonly index: number;
  readonly register: CpuidRegister;
  readonly bit: number;
}

/** Names in bit order; `-` marks a bit that is not a feature or that the policy decides itself. */
export const featureWords: readonly (readonly [leaf: number, index: number, register: CpuidRegister, names: string])[] =
  [
    [
      1,
      0,
      'edx',
      'fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm - pbe',
    ],
    [
      1,
      0,
      'ecx',
      'pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor',
    ],
    [6, 0, 'eax', '- - arat'],
    [
      7,
      0,
      'ebx',
      'fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excptn_only smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl',
    ],
    [
      7,
      0,
      'ecx',
      'prefetchwt1 avx512vbmi umip pku - waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd',
    ],
    [
      7,
      0,
      'edx',
      '- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear rtm_always_abort - - serialize hybrid_cpu tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities core_capabilities ssbd',
    ],
    [
      7,
      1,
      'eax',
      'sha512 sm3 sm4 - avx_vnni avx512_bf16 - cmpccxadd - - fzrm fsrs fsrc - - - - - - wrmsrns - amx_fp16 - avx_ifma - - lam',
    ],
    [
      7,
      1,
      'edx',
      '- - - - avx_vnni_int8 avx_ne_convert - - amx_complex - avx_vnni_int16 - - - prefetchi - - - - avx10',
    ],
    [7, 2, 'edx', 'intel_psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no'],
    [0xd, 1, 'eax', 'xsaveopt xsavec xgetbv1 xsaves'],
    [
      0x8000_0001,
      0,
      'ecx',
      'lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx',
    ],
    [
      0x8000_0001,
      0,
      'edx',
      '- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow',
    ],
    [0x8000_0007, 0, 'edx', '- - - - - - - - constant_tsc'],
    [
      0x8000_0008,
      0,
      'ebx',
      'clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - amd_ibpb - amd_ibrs amd_stibp - amd_stibp_always_on - - - - - amd_ppin amd_ssbd virt_ssbd amd_ssb_no',
    ],
    [
      0x8000_0021,
      0,
      'eax',
      'no_nested_data_bp - lfence_rdtsc - - verw_clear null_sel_clr_base - autoibrs no_smm_ctl_msr - - - - - - - - - - - - - - - - - sbpb ibpb_brtype srso_no srso_user_kernel_no',
    ],
    [0x8000_0021, 0, 'ecx', '- tsa_sq_no tsa_l1_no'],
    [
      0x4000_0001,
      0,
      'eax',
      'kvmclock kvm_nopiodelay kvm_mmu kvmclock2 kvm_asyncpf kvm_steal_time kvm_pv_eoi kvm_pv_unhalt - kvm_pv_tlb_flush kvm_asyncpf_vmexit kvm_pv_ipi kvm_poll_control kvm_pv_sched_yield kvm_asyncpf_int kvm_msi_ext_dest_id kvm_hc_map_gpa_range kvm_migration_control - - - - - - kvmclock_stable',
    ],
  ];

export const cpuFeatures: ReadonlyMap<string, FeatureBit> = new Map(
  featureWords.flatMap(([leaf, index, register, names]) =>
    names
      .split(' ')
      .flatMap((name, bit): [string, FeatureBit][] => (name === '-' ? [] : [[name, { leaf, index, register, bit }]])),
  ),
);
