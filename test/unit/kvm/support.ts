/** A host's CPUID as KVM reports it, for tests of the policy: everything there, and a topology that must not shine through. */
import { cpuFeatures } from '../../../src/kvm/cpu-features.js';
import { type CpuidEntry, findLeaf, hasFeature } from '../../../src/kvm/cpuid-entry.js';

export const entry = (
  leaf: number,
  index: number,
  flags: number,
  eax: number,
  ebx: number,
  ecx: number,
  edx: number,
): CpuidEntry => ({
  function: leaf,
  index,
  flags,
  eax: eax >>> 0,
  ebx: ebx >>> 0,
  ecx: ecx >>> 0,
  edx: edx >>> 0,
});

const common = [
  entry(1, 0, 0, 0x806f8, 0x0710_0800, -1, -1),
  entry(5, 0, 0, 64, 64, 3, 0x11_1000),
  entry(7, 0, 1, 2, -1, -1, -1),
  entry(7, 1, 1, -1, 0, 0, -1),
  entry(7, 2, 1, 0, 0, 0, -1),
  entry(0xb, 0, 1, 1, 2, 0x100, 7),
  entry(0xd, 0, 1, 0x6_02e7, 11_008, 11_008, 0),
  entry(0xd, 1, 1, 0x1f, 11_008, 0x1800, 0),
  entry(0xd, 2, 1, 256, 576, 0, 0),
  entry(0xd, 5, 1, 64, 1088, 0, 0),
  entry(0xd, 6, 1, 512, 1152, 0, 0),
  entry(0xd, 7, 1, 1024, 1664, 0, 0),
  entry(0xd, 9, 1, 8, 2688, 0, 0),
  entry(0xd, 11, 1, 16, 0, 1, 0),
  entry(0xd, 17, 1, 64, 2752, 2, 0),
  entry(0xd, 18, 1, 8192, 2816, 6, 0),
  entry(0x1d, 1, 1, 1, 2, 3, 4),
  entry(0x4000_0001, 0, 0, 0x0100_7efb, 0, 0, 0),
  entry(0x8000_0001, 0, 0, 0, 0, -1, -1),
  entry(0x8000_0007, 0, 0, 0, 0, 0, -1),
];

export const intelHost: CpuidEntry[] = [
  entry(0, 0, 0, 0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69),
  ...common,
  entry(4, 0, 1, 0xfc00_4121, 0, 0, 0),
  entry(4, 3, 1, 0xfc1f_c163, 0, 0, 0),
  entry(4, 4, 1, 0, 0, 0, 0),
  entry(0xa, 0, 0, 0x0830_0805, 0, 0xf, 0x0604),
  entry(0x8000_0000, 0, 0, 0x8000_0008, 0, 0, 0),
  entry(0x8000_0008, 0, 0, 0x0030_392e, 0, 0, 0),
];

export const amdHost: CpuidEntry[] = [
  entry(0, 0, 0, 0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
  ...common,
  entry(0x8000_0000, 0, 0, 0x8000_0028, 0, 0, 0),
  entry(0x8000_0008, 0, 0, 0x0030_3930, -1, 0x500f, 0),
  entry(0x8000_000a, 0, 0, 1, 16, 0, 0x1b_bcff),
  entry(0x8000_001d, 0, 1, 0x0000_4121, 0, 0, 0),
  entry(0x8000_001d, 3, 1, 0x0003_c163, 0, 0, 0),
  entry(0x8000_001e, 0, 0, 7, 0x0100, 3, 0),
  entry(0x8000_0021, 0, 0, -1, 0, 0, 0),
  entry(0x8000_0026, 0, 1, 1, 2, 0x100, 7),
];

export const leafOf = (entries: readonly CpuidEntry[], leaf: number, index = 0): CpuidEntry =>
  findLeaf(entries, leaf, index)!;
export const has = (entries: readonly CpuidEntry[], name: string): boolean =>
  hasFeature(entries, cpuFeatures.get(name)!);
