/**
 * Whether a guest that has seen one CPU can go on on another: everything that it was told of must be there (trap T43). Any
 * thread; pure.
 */
import { cpuFeatures } from './cpu-features.js';
import { type CpuidEntry, findLeaf, hasFeature, physicalAddressBits, vendor } from './cpuid-entry.js';

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';
type Word = readonly [leaf: number, index: number, register: Register];

/** Words whose bits are features, named or not (Intel SDM vol. 2 CPUID; APM vol. 3 appendix E). */
const featureWords: readonly Word[] = [
  [1, 0, 'ecx'],
  [1, 0, 'edx'],
  [7, 0, 'ebx'],
  [7, 0, 'ecx'],
  [7, 0, 'edx'],
  [7, 1, 'eax'],
  [7, 1, 'edx'],
  [0xd, 0, 'eax'],
  [0xd, 0, 'edx'],
  [0xd, 1, 'eax'],
  [0x8000_0001, 0, 'ecx'],
  [0x8000_0001, 0, 'edx'],
  [0x8000_0008, 0, 'ebx'],
  [0x8000_0021, 0, 'eax'],
];

/** What KVM has everywhere, and what says of which sockets and cores the machine is made. */
const ours = ['hypervisor', 'tsc_deadline_timer', 'osxsave', 'ht', 'cmp_legacy', 'topoext'];
/** The same by its bits. */
const ourBits: ReadonlyMap<string, number> = new Map([
  ['1.0.ecx', (1 << 24) | (1 << 27) | (1 << 31)],
  ['1.0.edx', 1 << 28],
  [`${0x8000_0001}.0.ecx`, (1 << 1) | (1 << 22)],
]);

/** Which bits of which words are features; of the others only those that have a name. */
const masks = new Map<string, { readonly word: Word; mask: number }>(
  featureWords.map((word) => [word.join('.'), { word, mask: 0xffff_ffff }]),
);
for (const { leaf, index, register, bit } of cpuFeatures.values()) {
  const word: Word = [leaf, index, register];
  const known = masks.get(word.join('.')) ?? { word, mask: 0 };
  known.mask |= 1 << bit;
  masks.set(word.join('.'), known);
}

/** Bits that a guest has and a host does not. */
function lacking(guest: readonly CpuidEntry[], host: readonly CpuidEntry[], [leaf, index, register]: Word): number {
  const wanted = findLeaf(guest, leaf, index)?.[register] ?? 0;
  const there = (findLeaf(host, leaf, index)?.[register] ?? 0) | (ourBits.get(`${leaf}.${index}.${register}`) ?? 0);
  return (wanted & ~there) >>> 0;
}

/** What a guest with these entries would miss on a host that offers those; nothing if it can go on there. */
export function missingOnHost(guest: readonly CpuidEntry[], host: readonly CpuidEntry[]): string[] {
  const missing: string[] = [];
  if (vendor(guest) !== vendor(host)) missing.push(`a processor of ${printable(vendor(guest))}`);
  if (physicalAddressBits(guest) > physicalAddressBits(host))
    missing.push(`${physicalAddressBits(guest)} address bits`);
  // Word by word first: the names are many, and asked for when there is something to say.
  const fits = [...masks.values()].every(({ word, mask }) => (lacking(guest, host, word) & mask) === 0);
  if (fits) return missing;
  const named = [...cpuFeatures].filter(([, bit]) => hasFeature(guest, bit) && !hasFeature(host, bit));
  missing.push(...named.map(([name]) => name).filter((name) => !ours.includes(name)));
  if (missing.length > 0) return missing;
  for (const word of featureWords) {
    const bits = lacking(guest, host, word);
    const [leaf, index, register] = word;
    if (bits !== 0) missing.push(`bits 0x${bits.toString(16)} of CPUID 0x${leaf.toString(16)}.${index} ${register}`);
  }
  return missing;
}

/** The name may be a stranger's. */
const printable = (name: string): string => name.replaceAll(/[^ -~]/g, '?') || 'an unknown maker';
