import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpuFeatures, cpuModels } from '../../../src/kvm/cpu-features.js';
import {
  type CpuChoice,
  type CpuidEntry,
  cpuidPolicy,
  encodeCpuid,
  forVcpu,
  hasFeature,
  idBits,
  parseCpuid,
  physicalAddressBits,
} from '../../../src/kvm/cpuid.js';

const entry = (
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

/** A host that has everything, with a topology of its own that must not shine through. */
const host: CpuidEntry[] = [
  entry(0, 0, 0, 0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69),
  entry(1, 0, 0, 0x806f8, 0x0710_0800, -1, -1),
  entry(4, 0, 1, 0xfc00_4121, 0, 0, 0),
  entry(4, 3, 1, 0xfc1f_c163, 0, 0, 0),
  entry(4, 4, 1, 0, 0, 0, 0),
  entry(5, 0, 0, 64, 64, 3, 0x11_1000),
  entry(7, 0, 1, 1, -1, -1, -1),
  entry(0xa, 0, 0, 0x0830_0805, 0, 0xf, 0x0604),
  entry(0xb, 0, 1, 1, 2, 0x100, 7),
  entry(0xd, 1, 1, 0xf, 0, 0, 0),
  entry(0x4000_0001, 0, 0, 0x0100_7efb, 0, 0, 0),
  entry(0x8000_0001, 0, 0, 0, 0, -1, -1),
  entry(0x8000_0008, 0, 0, 0x0030_392e, 0, 0x500f, 0),
];
const choice: CpuChoice = { model: 'host', add: [], remove: [] };
const policy = (cpus: number, c = choice): CpuidEntry[] => cpuidPolicy(host, c, cpus, true);
const leaf = (entries: CpuidEntry[], f: number, index = 0): CpuidEntry =>
  entries.find((e) => e.function === f && e.index === index)!;
const has = (entries: CpuidEntry[], name: string): boolean => hasFeature(entries, cpuFeatures.get(name)!);

test('entries survive the way to KVM and back', () => {
  expect(parseCpuid(encodeCpuid(host))).toEqual(host);
  expect(physicalAddressBits(host)).toBe(46);
  expect(physicalAddressBits([])).toBe(36);
});

test('what a machine cannot honour is gone, what it needs is there', () => {
  const entries = policy(2);
  for (const name of ['monitor', 'vmx', 'svm', 'pdcm', 'intel_pt', 'dtes64'])
    expect([name, has(entries, name)]).toEqual([name, false]);
  for (const name of ['hypervisor', 'tsc_deadline_timer', 'x2apic', 'kvmclock', 'sse2'])
    expect([name, has(entries, name)]).toEqual([name, true]);
  expect(leaf(entries, 0xa)).toMatchObject({ eax: 0, edx: 0 });
  expect(leaf(entries, 5)).toMatchObject({ eax: 0, ebx: 0 });
});

test('topology agrees with APIC ids for every number of vCPUs', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 254 }), (cpus) => {
      const entries = policy(cpus);
      for (const apicId of [0, cpus - 1]) {
        const own = forVcpu(entries, apicId, cpus);
        expect(leaf(own, 1).ebx >>> 24).toBe(apicId);
        for (const f of [0xb, 0x1f]) {
          expect(leaf(own, f, 0)).toMatchObject({ eax: 0, ebx: 1, ecx: 0x100, edx: apicId });
          expect(leaf(own, f, 1)).toMatchObject({ eax: idBits(cpus), ebx: cpus, ecx: 0x201, edx: apicId });
          expect(leaf(own, f, 2)).toMatchObject({ ebx: 0, ecx: 2, edx: apicId });
        }
        expect(apicId).toBeLessThan(2 ** idBits(cpus));
        expect(((leaf(own, 4, 3).eax >>> 14) & 0xfff) + 1).toBe(cpus);
        expect((leaf(own, 4, 0).eax >>> 14) & 0xfff).toBe(0);
      }
    }),
    { numRuns: 30 },
  );
});

test('features can be removed, and added when the host has them', () => {
  expect(has(policy(1, { ...choice, remove: ['avx2'] }), 'avx2')).toBe(false);
  expect(has(policy(1, { ...choice, add: ['vmx'] }), 'vmx')).toBe(true);
  expect(() => policy(1, { ...choice, add: ['kvm_pv_unhalt', 'clzero'] })).toThrow(
    'cannot give a guest the feature "clzero"',
  );
  expect(() => policy(1, { ...choice, add: ['monitor'] })).toThrow('cannot give');
  expect(() => policy(1, { ...choice, remove: ['avx3'] })).toThrow('no feature "avx3"');
  expect(() => policy(1, { ...choice, model: 'pentium' })).toThrow('no model "pentium"');
});

test('a model hides what it does not have', () => {
  for (const [name, features] of cpuModels) {
    const entries = policy(1, { ...choice, model: name });
    for (const feature of cpuFeatures.keys()) {
      if (!features.has(feature)) expect([name, feature, has(entries, feature)]).toEqual([name, feature, false]);
    }
    expect(has(entries, 'sse2')).toBe(true);
  }
  expect(has(policy(1, { ...choice, model: 'x86-64-v2' }), 'avx')).toBe(false);
  expect(has(policy(1, { ...choice, model: 'x86-64-v3' }), 'avx2')).toBe(true);
});

test('the host list is not changed', () => {
  const before = JSON.stringify(host);
  policy(4, { ...choice, remove: ['avx2'] });
  expect(JSON.stringify(host)).toBe(before);
});
