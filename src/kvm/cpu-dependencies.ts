/**
 * Which features make no sense without others, and which CPUID leaves belong to a feature. Any thread.
 *
 * A CPU that reports AVX2 without AVX, or a state component without XSAVE, is none that software was written for
 * (SDM vol. 1 §13.2, §14.3; vol. 2A "CPUID"; APM vol. 3 appendix E). So a feature that goes takes its dependents along.
 */
import { cpuFeatures } from './cpu-features.js';
import { type CpuidEntry, findLeaf, hasFeature, setFeature } from './cpuid-entry.js';

/** What each of the features on the left needs. */
const needs: readonly (readonly [features: string, of: string])[] = [
  ['sse', 'fxsr'],
  ['sse2', 'sse'],
  ['mmxext 3dnow', 'mmx'],
  ['3dnowext', '3dnow'],
  ['fxsr_opt', 'fxsr'],
  ['misalignsse', 'sse'],
  ['pni aes pclmulqdq sha_ni gfni', 'sse2'],
  ['ssse3 sse4a', 'pni'],
  ['sse4_1', 'ssse3'],
  ['sse4_2', 'sse4_1'],
  ['xsaveopt xsavec xgetbv1 pku mpx amx_tile lwp', 'xsave'],
  ['xsaves', 'xsavec'],
  ['avx', 'xsave sse4_2'],
  ['fma f16c xop fma4 avx2 sm3', 'avx'],
  ['vaes', 'avx aes'],
  ['vpclmulqdq', 'avx pclmulqdq'],
  ['avx_vnni avx_ifma avx_vnni_int8 avx_vnni_int16 avx_ne_convert sha512 sm4 avx512f', 'avx2'],
  ['avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl', 'avx512f'],
  ['avx512_vpopcntdq avx512_4vnniw avx512_4fmaps', 'avx512f'],
  ['avx512vbmi', 'avx512bw'],
  ['avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vp2intersect avx512_bf16', 'avx512vl'],
  ['avx512_fp16 avx10', 'avx512bw avx512vl'],
  ['amx_bf16 amx_int8 amx_fp16 amx_complex', 'amx_tile'],
  ['shstk ibt enqcmd', 'xsaves'],
  ['invpcid', 'pcid'],
  ['tsxldtrk', 'rtm'],
  ['rdtscp tsc_deadline_timer tsc_adjust constant_tsc', 'tsc'],
  ['lahf_lm pdpe1gb la57', 'lm'],
  ['x2apic', 'apic'],
  ['skinit', 'svm'],
  ['kvm_asyncpf_vmexit kvm_asyncpf_int', 'kvm_asyncpf'],
];

/** By feature, what it needs itself. */
export const cpuDependencies: ReadonlyMap<string, readonly string[]> = new Map(
  needs.flatMap(([features, of]) => features.split(' ').map((name): [string, string[]] => [name, of.split(' ')])),
);

/** XCR0 and IA32_XSS components with the features that bring them (SDM vol. 1 §13.1); x87 and SSE are always there. */
const components: readonly (readonly [bit: number, features: string])[] = [
  [2, 'avx'],
  [3, 'mpx'],
  [4, 'mpx'],
  [5, 'avx512f'],
  [6, 'avx512f'],
  [7, 'avx512f'],
  [9, 'pku'],
  [11, 'shstk ibt'],
  [12, 'shstk ibt'],
  [17, 'amx_tile'],
  [18, 'amx_tile'],
];
const supervisorOnly = new Set([11, 12]);
const baseComponents = 3;
const legacyAndHeader = 512 + 64;
const xstateLeaf = 0xd;

/** Leaves that say more about one feature; all zeroes without it. */
const detailLeaves: readonly (readonly [leaf: number, feature: string])[] = [
  [0x12, 'sgx'],
  [0x14, 'intel_pt'],
  [0x1c, 'arch_lbr'],
  [0x1d, 'amx_tile'],
  [0x1e, 'amx_tile'],
  [0x24, 'avx10'],
  [0x8000_000a, 'svm'],
];

const has = (entries: readonly CpuidEntry[], name: string): boolean => hasFeature(entries, cpuFeatures.get(name)!);

/** The first feature that `name` needs and `entries` lack. */
export const missingFor = (entries: readonly CpuidEntry[], name: string): string | undefined =>
  cpuDependencies.get(name)?.find((needed) => !has(entries, needed));

/** Takes away features that lack what they need, or whose state the kernel does not keep for guests (AMX unless permitted). */
export function dropUnusable(entries: readonly CpuidEntry[]): void {
  const states = findLeaf(entries, xstateLeaf);
  for (const [bit, names] of components) {
    if (states === undefined || supervisorOnly.has(bit) || (states.eax >>> bit) & 1) continue;
    for (const name of names.split(' ')) setFeature(entries, cpuFeatures.get(name)!, false);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const name of cpuDependencies.keys()) {
      if (!has(entries, name) || missingFor(entries, name) === undefined) continue;
      setFeature(entries, cpuFeatures.get(name)!, false);
      changed = true;
    }
  }
}

/** Makes the leaves that describe features in detail agree with the feature bits. */
export function fitDetails(entries: readonly CpuidEntry[]): void {
  for (const [leaf, feature] of detailLeaves) if (!has(entries, feature)) clearLeaf(entries, leaf);
  fitStates(entries);
}

export function clearLeaf(entries: readonly CpuidEntry[], leaf: number): void {
  for (const entry of entries) if (entry.function === leaf) clear(entry);
}

const clear = (entry: CpuidEntry): void => void Object.assign(entry, { eax: 0, ebx: 0, ecx: 0, edx: 0 });

/** Leaf 0xD: components of features that are there, and sizes of what is left (SDM vol. 1 §13.2). */
function fitStates(entries: readonly CpuidEntry[]): void {
  const user = findLeaf(entries, xstateLeaf);
  if (user === undefined || !has(entries, 'xsave')) {
    clearLeaf(entries, xstateLeaf);
    return;
  }
  let allowed = baseComponents;
  for (const [bit, names] of components) if (names.split(' ').some((name) => has(entries, name))) allowed |= 1 << bit;
  const supervisor = findLeaf(entries, xstateLeaf, 1);
  user.eax = (user.eax & allowed) >>> 0;
  user.edx = 0; // components from 32 on: LWP's is the only one, and KVM has none of it
  if (supervisor !== undefined) {
    supervisor.ecx = has(entries, 'xsaves') ? (supervisor.ecx & allowed) >>> 0 : 0;
    supervisor.edx = 0;
  }
  const there = user.eax | (supervisor?.ecx ?? 0);
  user.ecx = legacyAndHeader;
  for (const entry of entries) {
    if (entry.function !== xstateLeaf || entry.index < 2) continue;
    const { index } = entry;
    if (index > 31 || ((there >>> index) & 1) === 0) clear(entry);
    else if ((user.eax >>> index) & 1) user.ecx = Math.max(user.ecx, entry.ebx + entry.eax);
  }
  user.ebx = legacyAndHeader; // of XCR0 at reset; KVM keeps it up to date
}
