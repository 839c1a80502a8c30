import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apicIds, type CpuTopology, idBits, withApicId, withTopology } from '../../../src/kvm/cpu-topology.js';
import { amdHost, has, intelHost, leafOf } from './support.js';

const counts = fc.integer({ min: 1, max: 12 });
const topologies = fc
  .record({ sockets: counts, cores: counts, threads: fc.integer({ min: 1, max: 4 }) })
  .filter((shape) => shape.sockets * shape.cores * shape.threads <= 254 && apicIds(shape).at(-1)! <= 254);
const placeOf = ({ cores, threads }: CpuTopology, cpu: number) => ({
  socket: Math.floor(cpu / threads / cores),
  core: Math.floor(cpu / threads) % cores,
  thread: cpu % threads,
});

test('bits to tell a count apart', () => {
  expect([1, 2, 3, 4, 5, 8, 9, 255, 256].map(idBits)).toEqual([0, 1, 2, 2, 3, 3, 4, 8, 8]);
});

test('APIC ids have gaps where counts are no powers of two', () => {
  expect(apicIds({ sockets: 1, cores: 4, threads: 1 })).toEqual([0, 1, 2, 3]);
  expect(apicIds({ sockets: 2, cores: 3, threads: 1 })).toEqual([0, 1, 2, 4, 5, 6]);
  expect(apicIds({ sockets: 1, cores: 2, threads: 3 })).toEqual([0, 1, 2, 4, 5, 6]);
});

describe.each([
  ['intel', intelHost, false],
  ['amd', amdHost, true],
] as const)('%s', (_, host, amd) => {
  test('every vCPU decodes its own place and the shape of the machine, as a kernel does', () => {
    fc.assert(
      fc.property(topologies, (shape) => {
        const shared = withTopology(host, shape, amd);
        const ids = apicIds(shape);
        expect(new Set(ids).size).toBe(ids.length);
        for (const cpu of new Set([0, ids.length >> 1, ids.length - 1])) {
          const own = withApicId(shared, ids[cpu]!, shape, amd);
          const place = placeOf(shape, cpu);
          const id = leafOf(own, 1).ebx >>> 24;
          expect(id).toBe(ids[cpu]);
          const { eax: threadShift, ebx: threads, ecx: first, edx } = leafOf(own, 0xb, 0);
          const { eax: socketShift, ebx: processors, ecx: second } = leafOf(own, 0xb, 1);
          expect([first, second, edx]).toEqual([0x100, 0x201, id]);
          expect(leafOf(own, 0xb, 2)).toMatchObject({ eax: 0, ebx: 0, ecx: 2, edx: id });
          expect([threads, processors]).toEqual([shape.threads, shape.cores * shape.threads]);
          expect({
            socket: id >>> socketShift,
            core: (id >>> threadShift) & (2 ** (socketShift - threadShift) - 1),
            thread: id & (2 ** threadShift - 1),
          }).toEqual(place);
          expect(has(own, 'ht')).toBe(shape.cores * shape.threads > 1);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('caches: below L3 a core of its own, L3 a socket, by masks of APIC ids', () => {
    fc.assert(
      fc.property(topologies, (shape) => {
        const leaf = amd ? 0x8000_001d : 4;
        const entries = withTopology(host, shape, amd);
        const sharing = (index: number) => ((leafOf(entries, leaf, index).eax >>> 14) & 0xfff) + 1;
        const socket = 2 ** idBits(shape.cores) * 2 ** idBits(shape.threads);
        expect([sharing(0), sharing(3)]).toEqual([2 ** idBits(shape.threads), socket]);
        expect(leafOf(entries, leaf, 3).eax & 0x3fff).toBe(leafOf(host, leaf, 3).eax & 0x3fff);
      }),
      { numRuns: 30 },
    );
  });
});

test('Intel: leaf 0x1F repeats 0xB, leaf 1 counts ids, leaf 4 core ids', () => {
  const shape = { sockets: 2, cores: 3, threads: 2 };
  const own = withApicId(withTopology(intelHost, shape, false), 11, shape, false);
  for (const index of [0, 1, 2]) {
    expect(leafOf(own, 0x1f, index)).toEqual({ ...leafOf(own, 0xb, index), function: 0x1f });
  }
  expect((leafOf(own, 1).ebx >>> 16) & 0xff).toBe(8);
  expect(leafOf(own, 4, 0).eax >>> 26).toBe(3);
  expect(leafOf(own, 4, 4).eax).toBe(0);
  expect(leafOf(own, 0x8000_0008).ecx).toBe(0);
});

test('AMD: sizes, ids, and every level of 0x80000026', () => {
  const shape = { sockets: 2, cores: 3, threads: 2 };
  const own = withApicId(withTopology(amdHost, shape, true), 8 + 2 * 2 + 1, shape, true);
  expect(leafOf(own, 0x8000_0008).ecx).toBe((3 << 12) | 5);
  expect(leafOf(own, 0x8000_001e)).toMatchObject({ eax: 13, ebx: 0x102, ecx: 1 });
  expect((leafOf(own, 1).ebx >>> 16) & 0xff).toBe(6);
  expect(has(own, 'cmp_legacy')).toBe(true);
  const levels = own.filter((entry) => entry.function === 0x8000_0026);
  expect(levels.map(({ eax, ebx, ecx, edx }) => [ecx >>> 8, eax, ebx, edx])).toEqual([
    [1, 1, 2, 13],
    [2, 3, 6, 13],
    [3, 3, 6, 13],
    [4, 3, 6, 13],
    [0, 0, 0, 13],
  ]);
  expect(own.some((entry) => entry.function === 0x1f)).toBe(false);
});
