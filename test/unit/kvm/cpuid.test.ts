import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpuDependencies } from '../../../src/kvm/cpu-dependencies.js';
import { cpuFeatures, featureWords } from '../../../src/kvm/cpu-features.js';
import { cpuModels } from '../../../src/kvm/cpu-models.js';
import { type CpuChoice, cpuidPolicy } from '../../../src/kvm/cpuid.js';
import {
  type CpuidEntry,
  encodeCpuid,
  findLeaf,
  parseCpuid,
  physicalAddressBits,
  vendor,
} from '../../../src/kvm/cpuid-entry.js';
import { amdHost, entry, has, intelHost, leafOf } from './support.js';

const choice: CpuChoice = { model: 'host', add: [], remove: [] };
const one = { sockets: 1, cores: 1, threads: 1 };
const policy = (c: Partial<CpuChoice> = {}, host = intelHost): CpuidEntry[] =>
  cpuidPolicy(host, { ...choice, ...c }, one, true);
const without = (host: CpuidEntry[], name: string): CpuidEntry[] => {
  const { leaf, index, register, bit } = cpuFeatures.get(name)!;
  return host.map((e) =>
    e.function === leaf && e.index === index ? { ...e, [register]: (e[register] & ~(2 ** bit)) >>> 0 } : e,
  );
};

test('entries survive the way to KVM and back', () => {
  expect(parseCpuid(encodeCpuid(intelHost))).toEqual(intelHost);
  expect(physicalAddressBits(intelHost)).toBe(46);
  expect(physicalAddressBits([])).toBe(36);
  expect([vendor(intelHost), vendor(amdHost)]).toEqual(['GenuineIntel', 'AuthenticAMD']);
});

test('no bit has two names and no name two bits', () => {
  const names = featureWords.flatMap(([, , , words]) => words.split(' ').filter((name) => name !== '-'));
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  for (const [leaf, index, register, words] of featureWords)
    expect([leaf, index, register, words.split(' ').length <= 32]).toEqual([leaf, index, register, true]);
});

test('what a machine cannot honour is gone, what it needs is there', () => {
  const entries = policy();
  for (const name of ['monitor', 'vmx', 'svm', 'pdcm', 'intel_pt', 'dtes64', 'smx', 'sgx'])
    expect([name, has(entries, name)]).toEqual([name, false]);
  for (const name of ['hypervisor', 'tsc_deadline_timer', 'x2apic', 'kvmclock', 'sse2', 'avx512f', 'amx_tile'])
    expect([name, has(entries, name)]).toEqual([name, true]);
  expect(leafOf(entries, 0xa)).toMatchObject({ eax: 0, edx: 0 });
  expect(leafOf(entries, 5)).toMatchObject({ eax: 0, ebx: 0 });
  expect(leafOf(policy({}, amdHost), 0x8000_000a)).toMatchObject({ eax: 0, ebx: 0, edx: 0 });
});

test("AMD's topology extensions are there whether or not the host has them, since their leaf is always written", () => {
  const bare = without(amdHost, 'topoext');
  for (const model of ['host', 'x86-64-v2']) expect(has(policy({ model }, bare), 'topoext')).toBe(true);
  expect(has(policy({ remove: ['topoext'] }, bare), 'topoext')).toBe(false);
  expect(
    has(
      policy(
        {},
        bare.filter((e) => e.function !== 0x8000_001e),
      ),
      'topoext',
    ),
  ).toBe(false);
  expect(has(policy({}, without(intelHost, 'topoext')), 'topoext')).toBe(false);
});

test('features can be removed, and added when the host has them', () => {
  expect(has(policy({ remove: ['avx2'] }), 'avx2')).toBe(false);
  expect(has(policy({ model: 'x86-64-v2', add: ['aes'] }), 'aes')).toBe(true);
  expect(() => policy({ add: ['clzero'] })).toThrow('cannot give a guest the feature "clzero"');
  expect(() => policy({ add: ['monitor'] })).toThrow('cannot give');
  expect(() => policy({ remove: ['avx3'] })).toThrow('no feature "avx3"');
  expect(() => policy({ remove: ['lm'] })).toThrow('cannot be without the feature "lm"');
  expect(() => policy({ model: 'pentium' })).toThrow('no model "pentium"');
  expect(() => policy({ add: ['avx'], remove: ['avx'] })).toThrow('both added and removed');
  expect(() => policy({ model: 'x86-64-v2', add: ['avx2'] })).toThrow('"avx2" needs "avx", which is not there');
  expect(has(policy({ model: 'x86-64-v2', add: ['avx2', 'avx', 'xsave'] }), 'avx2')).toBe(true);
});

test('nested virtualization where it is asked for and the host allows it; else an error that says who forbids it', () => {
  expect(has(policy({ add: ['vmx'] }), 'vmx')).toBe(true);
  const svm = policy({ add: ['svm'] }, amdHost);
  expect([has(svm, 'svm'), leafOf(svm, 0x8000_000a).edx]).toEqual([true, 0x1b_bcff]);
  const fault = (c: Partial<CpuChoice>, host: CpuidEntry[]) => {
    try {
      policy(c, host);
    } catch (error) {
      return error as Error & { hint: string };
    }
    throw new Error('accepted');
  };
  expect(fault({ add: ['svm'] }, without(amdHost, 'svm')).message).toContain('off in kvm_amd');
  expect(fault({ add: ['svm'] }, without(amdHost, 'svm')).hint).toContain('modprobe kvm_amd nested=1');
  expect(fault({ add: ['vmx'] }, without(intelHost, 'vmx')).hint).toContain('modprobe kvm_intel nested=1');
  expect(fault({ add: ['svm'] }, without(intelHost, 'svm')).hint).toBe('add "vmx" instead');
});

test('a model hides what it does not have, features without a name as well', () => {
  for (const [name, { all: features }] of cpuModels) {
    for (const host of [intelHost, amdHost]) {
      const entries = policy({ model: name }, host);
      for (const feature of cpuFeatures.keys()) {
        if (!features.has(feature)) expect([name, feature, has(entries, feature)]).toEqual([name, feature, false]);
      }
      for (const [leaf, index, register, words] of featureWords) {
        const known = words.split(' ').reduce((mask, word, bit) => (word === '-' ? mask : mask | (1 << bit)), 0);
        expect([leaf, index, ((findLeaf(entries, leaf, index)?.[register] ?? 0) & ~known) >>> 0]).toEqual([
          leaf,
          index,
          0,
        ]);
      }
      expect(has(entries, 'sse2')).toBe(true);
    }
  }
  expect(has(policy({ model: 'x86-64-v2' }), 'avx')).toBe(false);
  expect(has(policy({ model: 'x86-64-v3' }), 'avx2')).toBe(true);
});

test('no bit of the host that a model does not know reaches its guest', () => {
  /** Registers that describe the CPU and switch nothing on. */
  const described: [leaf: number, registers: string, index?: number][] = [
    ...[0, 2, 4, 0xb, 0x15, 0x16, 0x1f, 0x4000_0000, 0x8000_0000].map((leaf): [number, string] => [leaf, 'abcd']),
    ...[2, 3, 4, 5, 6, 0x19, 0x1d, 0x1e, 0x26].map((leaf): [number, string] => [0x8000_0000 + leaf, 'abcd']),
    [1, 'ab'],
    [7, 'a', 0],
    [0x8000_0001, 'ab'],
    [0x8000_0008, 'ac'],
  ];
  const leaf = fc.oneof(
    fc.constantFrom(1, 6, 7, 9, 0xd, 0xf, 0x10, 0x12, 0x14, 0x19, 0x1c, 0x1d, 0x1e, 0x20, 0x24, 0x29),
    fc.constantFrom(0x4000_0001, 0x8000_0001, 0x8000_0007, 0x8000_0008, 0x8000_000a, 0x8000_001a, 0x8000_001b),
    fc.constantFrom(0x8000_0020, 0x8000_0021, 0x8000_0025, 0x8000_002f, 0xc000_0001),
    fc.integer({ min: 0x25, max: 0x40 }),
  );
  const word = fc.oneof(fc.constant(-1), fc.integer());
  const more = fc.uniqueArray(fc.tuple(leaf, fc.nat(3), word, word, word, word), {
    selector: ([leaf, index]) => `${leaf}.${index}`,
  });
  const subleaves = new Set([7, 0xd, 0xf, 0x10, 0x12, 0x14, 0x1c, 0x1d, 0x1e, 0x20, 0x24]);
  fc.assert(
    fc.property(
      fc.constantFrom(intelHost, amdHost),
      fc.constantFrom(...cpuModels),
      more,
      (host, [name, model], own) => {
        const extra = own
          .filter(([leaf, index]) => subleaves.has(leaf) || index === 0)
          .map(([leaf, index, ...words]) => entry(leaf, index, subleaves.has(leaf) ? 1 : 0, ...words));
        const isExtra = (e: CpuidEntry) => extra.some((x) => x.function === e.function && x.index === e.index);
        const entries = policy({ model: name }, [...host.filter((e) => !isExtra(e)), ...extra]);
        for (const e of entries) {
          for (const register of ['eax', 'ebx', 'ecx', 'edx'] as const) {
            if (e.function === 0xd && (e.index !== 1 || register !== 'eax')) continue; // has a test of its own
            const isDescribed = described.some(
              ([leaf, which, index = e.index]) =>
                leaf === e.function && index === e.index && which.includes(register[1]!),
            );
            if (isDescribed) continue;
            const known = [...model.all].reduce((mask, feature) => {
              const bit = cpuFeatures.get(feature)!;
              const here = bit.leaf === e.function && bit.index === e.index && bit.register === register;
              return here ? mask | (1 << bit.bit) : mask;
            }, 0);
            expect([name, e.function, e.index, register, (e[register] & ~known) >>> 0]).toEqual([
              name,
              e.function,
              e.index,
              register,
              0,
            ]);
          }
        }
      },
    ),
  );
});

test('what a model keeps of a CPU is what describes it, and what its added features need', () => {
  const host = [...amdHost, entry(0x1e, 0, 1, 0, 0x4010, 0, 0), entry(0x1e, 1, 1, -1, 0, 0, 0)];
  const entries = policy({ model: 'x86-64-v4', add: ['amx_tile'] }, host);
  expect(leafOf(entries, 7).eax).toBe(2);
  expect(leafOf(entries, 0x8000_0008)).toMatchObject({ eax: 0x0030_3930, edx: 0 });
  expect(leafOf(entries, 0x1d, 1)).toMatchObject({ eax: 1, ebx: 2, ecx: 3, edx: 4 });
  expect([leafOf(entries, 0x1e, 0).ebx, leafOf(entries, 0x1e, 1).eax]).toEqual([0x4010, 0]);
  expect(vendor(entries)).toBe('AuthenticAMD');
});

test('every model has what its features need', () => {
  for (const [name, { all: features }] of cpuModels) {
    for (const feature of features) {
      for (const needed of cpuDependencies.get(feature) ?? [])
        expect([name, feature, needed, features.has(needed)]).toEqual([name, feature, needed, true]);
    }
  }
});

/** Everything that needs `name`, at whatever distance. */
function dependents(name: string): string[] {
  const found = new Set<string>([name]);
  for (let size = 0; size !== found.size; ) {
    size = found.size;
    for (const [feature, needed] of cpuDependencies) if (needed.some((other) => found.has(other))) found.add(feature);
  }
  found.delete(name);
  return [...found];
}

test('who loses a feature loses what needs it, and only that', () => {
  const before = policy();
  for (const name of new Set([...cpuDependencies.values()].flat())) {
    if (['lm', 'apic', 'svm'].includes(name)) continue;
    const after = policy({ remove: [name] });
    const lost = [...cpuFeatures.keys()].filter((feature) => has(before, feature) && !has(after, feature));
    const expected = [name, ...dependents(name)].filter((feature) => has(before, feature));
    expect([name, lost.sort()]).toEqual([name, expected.sort()]);
  }
  expect(dependents('avx')).toEqual(expect.arrayContaining(['avx2', 'fma', 'f16c', 'vaes', 'avx512f', 'avx512_fp16']));
  expect(dependents('xsave')).toEqual(
    expect.arrayContaining(['avx', 'avx512vl', 'pku', 'xsaves', 'amx_int8', 'shstk']),
  );
});

test('the state components and their sizes are those of the features that are left', () => {
  const states = (c: Partial<CpuChoice>) => {
    const entries = policy(c);
    const there = entries.filter((e) => e.function === 0xd && e.index >= 2 && e.eax > 0).map((e) => e.index);
    const main = leafOf(entries, 0xd, 0);
    return { xcr0: main.eax, size: main.ecx, xss: leafOf(entries, 0xd, 1).ecx, there };
  };
  expect(states({})).toEqual({
    xcr0: 0x6_02e7,
    size: 11_008,
    xss: 0x1800,
    there: [2, 5, 6, 7, 9, 11, 17, 18],
  });
  expect(states({ remove: ['amx_tile'] })).toMatchObject({ xcr0: 0x2e7, size: 2696 });
  expect(states({ remove: ['avx512f'] })).toMatchObject({ xcr0: 0x6_0207, size: 11_008 });
  expect(states({ remove: ['avx'] })).toMatchObject({ xcr0: 0x6_0203 });
  expect(states({ remove: ['avx', 'amx_tile', 'pku', 'xsaves'] })).toEqual({ xcr0: 3, size: 576, xss: 0, there: [] });
  expect(states({ remove: ['xsave'] })).toEqual({ xcr0: 0, size: 0, xss: 0, there: [] });
  expect(states({ model: 'x86-64-v3' })).toEqual({ xcr0: 7, size: 832, xss: 0, there: [2] });
  expect(leafOf(policy({ remove: ['amx_tile'] }), 0x1d, 1)).toMatchObject({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
});

test('a feature whose state the kernel does not keep for guests is not offered', () => {
  const host = intelHost.map((e) => (e.function === 0xd && e.index === 0 ? { ...e, eax: 0x2e7 } : e));
  expect(has(policy({}, host), 'amx_tile')).toBe(false);
  expect(has(policy({}, host), 'amx_bf16')).toBe(false);
  expect(() => policy({ add: ['amx_int8'] }, host)).toThrow('cannot give');
});

test('a host without some leaves is no trouble', () => {
  const small = [entry(0, 0, 0, 7, 0, 0, 0), entry(1, 0, 0, 0, 0, -1, -1)];
  expect(cpuidPolicy(small, choice, one, true).map((e) => e.function)).toEqual([0, 1]);
});

test('the host list is not changed', () => {
  const before = JSON.stringify(intelHost);
  policy({ remove: ['avx2'] });
  expect(JSON.stringify(intelHost)).toBe(before);
});
