/** Whether a guest can go on on another processor. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cpuFeatures, type FeatureBit } from '../../../src/kvm/cpu-features.js';
import { missingOnHost } from '../../../src/kvm/cpu-fit.js';
import { cpuModels } from '../../../src/kvm/cpu-models.js';
import { cpuidPolicy, offered } from '../../../src/kvm/cpuid.js';
import { type CpuidEntry, encodeCpuid, hasFeature, parseCpuid, setFeature } from '../../../src/kvm/cpuid-entry.js';
import { amdHost, entry, intelHost, leafOf } from './support.js';

const copy = (entries: readonly CpuidEntry[]): CpuidEntry[] => entries.map((one) => ({ ...one }));
const without = (entries: readonly CpuidEntry[], bit: FeatureBit): CpuidEntry[] => {
  const other = copy(entries);
  setFeature(other, bit, false);
  return other;
};
const topologies = [
  { sockets: 1, cores: 1, threads: 1 },
  { sockets: 2, cores: 3, threads: 2 },
  { sockets: 1, cores: 8, threads: 1 },
];

describe.each([
  ['Intel', offered(intelHost, true)],
  ['AMD', offered(amdHost, true)],
] as const)('on a host of %s', (_, host) => {
  const guest = cpuidPolicy(host, { model: 'host', add: [], remove: [] }, topologies[1]!, true);

  test('every guest that it could have made goes on there, whatever its model and its topology', () => {
    for (const model of ['host', ...cpuModels.keys()])
      for (const topology of topologies) {
        const made = cpuidPolicy(host, { model, add: [], remove: [] }, topology, true);
        expect({ model, topology, missing: missingOnHost(made, host) }).toMatchObject({ missing: [] });
      }
  });

  test('every feature that the guest has and the host lacks is named', () => {
    const told = [...cpuFeatures].filter(
      ([name, bit]) =>
        hasFeature(guest, bit) &&
        !['hypervisor', 'tsc_deadline_timer', 'osxsave', 'ht', 'cmp_legacy', 'topoext'].includes(name),
    );
    expect(told.length).toBeGreaterThan(100);
    for (const [name, bit] of told) expect(missingOnHost(guest, without(host, bit))).toContain(name);
  });

  test('what it lacks and the guest does not have either is no matter', () => {
    fc.assert(
      fc.property(fc.subarray([...cpuFeatures]), (some) => {
        const [less, lesser] = [copy(guest), copy(host)];
        for (const [, bit] of some) {
          setFeature(less, bit, false);
          setFeature(lesser, bit, false);
        }
        expect(missingOnHost(less, lesser)).toEqual([]);
      }),
    );
  });

  test.each(['hypervisor', 'tsc_deadline_timer', 'ht', 'cmp_legacy', 'topoext'])(
    '%s is ours to give, whatever the host says',
    (name) => {
      const own = copy(guest);
      setFeature(own, cpuFeatures.get(name)!, true);
      expect(missingOnHost(own, without(host, cpuFeatures.get(name)!))).toEqual([]);
    },
  );

  test('a bit that nobody has named is told by its place', () => {
    const strange = copy(guest);
    leafOf(strange, 7, 1).eax = (leafOf(strange, 7, 1).eax | 0x8000_0000) >>> 0;
    const plain = copy(host);
    leafOf(plain, 7, 1).eax = (leafOf(plain, 7, 1).eax & 0x7fff_ffff) >>> 0;
    expect(missingOnHost(strange, plain)).toEqual(['bits 0x80000000 of CPUID 0x7.1 eax']);
    leafOf(plain, 7, 1).eax = 0xffff_ffff;
    expect(missingOnHost(strange, plain)).toEqual([]);
  });

  test('a part of the extended state that the host does not have is told', () => {
    const plain = copy(host);
    leafOf(plain, 0xd, 0).eax = 7;
    expect(missingOnHost(guest, plain).join()).toMatch(/^bits 0x[0-9a-f]+ of CPUID 0xd.0 eax$/);
  });

  test('a leaf that the host does not have at all has no features', () => {
    const plain = copy(host).filter(({ function: leaf }) => leaf !== 7);
    expect(missingOnHost(guest, plain)).toEqual(expect.arrayContaining(['avx2', 'smep', 'fsgsbase']));
  });

  test('fewer address bits than the guest counts on are told', () => {
    const plain = copy(host);
    leafOf(plain, 0x8000_0008).eax = 0x0030_3027;
    const bits = leafOf(guest, 0x8000_0008).eax & 0xff;
    expect(missingOnHost(guest, plain)).toContain(`${bits} address bits`);
    leafOf(plain, 0x8000_0008).eax = 0x0030_30ff;
    expect(missingOnHost(guest, plain)).toEqual([]);
  });
});

describe('another vendor', () => {
  const made = (host: readonly CpuidEntry[]) =>
    cpuidPolicy(host, { model: 'x86-64-v2', add: [], remove: [] }, topologies[0]!, true);

  test('is told first', () => {
    expect(missingOnHost(made(intelHost), offered(amdHost, true))[0]).toBe('a processor of GenuineIntel');
    expect(missingOnHost(made(amdHost), offered(intelHost, true))[0]).toBe('a processor of AuthenticAMD');
  });

  test('whose name is made up writes nothing to a terminal but its letters', () => {
    const strange = copy(made(intelHost));
    Object.assign(leafOf(strange, 0), { ebx: 0x5b1b_0a0d, edx: 0x6d31_3333, ecx: 0x9b07_0700 });
    const [told] = missingOnHost(strange, offered(intelHost, true));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is looked for
    expect(told).not.toMatch(/[\0-\x1f\x7f-\x9f]/);
    expect(told).toMatch(/^a processor of .+/);
  });

  test('nor does a guest that has no leaf 0', () => {
    expect(missingOnHost([], offered(intelHost, true))).toEqual(['a processor of an unknown maker']);
  });
});

test('whatever a stranger says its CPU is, there is an answer, and what it offers itself is never missing', () => {
  const word = fc.integer({ min: 0, max: 0xffff_ffff });
  const leaf = fc.constantFrom(0, 1, 7, 0xd, 0x8000_0001, 0x8000_0008, 0x8000_0021, 0x4000_0001);
  const cpuid = fc.array(
    fc.tuple(leaf, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 7 }), word, word, word, word),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(cpuid, (some) => {
      const entries = some.map((values) => entry(...values));
      expect(missingOnHost(parseCpuid(encodeCpuid(entries)), entries)).toEqual([]);
      for (const told of missingOnHost(entries, offered(intelHost, true))) expect(told).not.toBe('');
    }),
  );
});
