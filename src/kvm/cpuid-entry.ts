/** One answer of CPUID as KVM keeps it, `kvm_cpuid_entry2`, and the way there and back. Any thread. */
import type { FeatureBit } from './cpu-features.js';
import { KvmCpuidEntry2 } from './structs.js';

export interface CpuidEntry {
  readonly function: number;
  readonly index: number;
  readonly flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** KVM_CPUID_FLAG_SIGNIFCANT_INDEX: the leaf has subleaves, and this is the one of `index`. */
export const SIGNIFICANT_INDEX = 1;

const fields = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;

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
    for (const field of fields) {
      view.setUint32(i * KvmCpuidEntry2.size + KvmCpuidEntry2.offset[field], entry[field], true);
    }
  });
  return bytes;
}

export const findLeaf = (entries: readonly CpuidEntry[], leaf: number, index = 0): CpuidEntry | undefined =>
  entries.find(
    (entry) => entry.function === leaf && ((entry.flags & SIGNIFICANT_INDEX) === 0 || entry.index === index),
  );

export function hasFeature(entries: readonly CpuidEntry[], { leaf, index, register, bit }: FeatureBit): boolean {
  const entry = findLeaf(entries, leaf, index);
  return entry !== undefined && ((entry[register] >>> bit) & 1) === 1;
}

export function setFeature(
  entries: readonly CpuidEntry[],
  { leaf, index, register, bit }: FeatureBit,
  on: boolean,
): void {
  const entry = findLeaf(entries, leaf, index);
  if (entry === undefined) return;
  const mask = 2 ** bit;
  entry[register] = (on ? entry[register] | mask : entry[register] & ~mask) >>> 0;
}

/** "GenuineIntel", "AuthenticAMD", "HygonGenuine": leaf 0's EBX, EDX, ECX. */
export function vendor(entries: readonly CpuidEntry[]): string {
  const leaf = findLeaf(entries, 0);
  const words = new Uint32Array([leaf?.ebx ?? 0, leaf?.edx ?? 0, leaf?.ecx ?? 0]);
  return String.fromCharCode(...new Uint8Array(words.buffer)).replaceAll('\0', '');
}

/** AMD's ways of telling topology; Hygon's are the same. */
export const isAmd = (entries: readonly CpuidEntry[]): boolean =>
  ['AuthenticAMD', 'HygonGenuine'].includes(vendor(entries));

/** Bits of physical addresses the guest may use; 36 when the CPU does not say (SDM: leaf 0x80000008 absent). */
export function physicalAddressBits(entries: readonly CpuidEntry[]): number {
  return (findLeaf(entries, 0x8000_0008)?.eax ?? 36) & 0xff;
}

/** What leaf 1 says to tables that repeat it: EAX and EDX. */
export function processorIdentity(entries: readonly CpuidEntry[]): { signature: number; features: number } {
  const entry = findLeaf(entries, 1);
  return { signature: entry?.eax ?? 0, features: entry?.edx ?? 0 };
}
