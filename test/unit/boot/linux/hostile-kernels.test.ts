/**
 * Properties of the loaders for kernels with mutated headers: they refuse with a TsvmmError or give an image that cannot
 * harm; they never allocate by what a header claims.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { BootImage } from '../../../../src/boot/boot-image.js';
import { buildBootImage } from '../../../../src/boot/linux/build.js';
import { buildAcpiTables } from '../../../../src/boot/x86/acpi/tables.js';
import { endOf, ramRegions } from '../../../../src/devices/memory-map.js';
import { TsvmmError } from '../../../../src/errors.js';
import { fakeBzImage, fakeElf, fakeNote, PT_NOTE, u32 } from './kernels.js';

const MIB = 1024 * 1024;
const ram = ramRegions(64 * MIB);
const acpi = buildAcpiTables({ apicIds: [0, 1], generation: new Uint8Array(16) });
const initrd = Buffer.alloc(5000);
/** Everything that is not kernel or initrd: tables of known size. */
const TABLES_MAX = 64 * 1024;

function check(kernel: Buffer): 'refused' | 'built' {
  let image: BootImage;
  try {
    image = buildBootImage({ kernel, initrd, cmdline: 'console=ttyS0', ram, acpi });
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    return 'refused';
  }
  const spans = image.segments.map(({ address, data }) => ({ start: address, size: data.length }));
  spans.sort((a, b) => a.start - b.start);
  for (const [i, span] of spans.entries()) {
    expect(ram.some((region) => region.start <= span.start && endOf(span) <= endOf(region))).toBe(true);
    if (i > 0) expect(span.start).toBeGreaterThanOrEqual(endOf(spans[i - 1]!));
  }
  const made = image.segments.filter(({ data }) => data.buffer !== kernel.buffer && data !== initrd);
  expect(made.reduce((sum, { data }) => sum + data.length, 0)).toBeLessThan(TABLES_MAX);
  return 'built';
}

/** Interesting values in any width at any place of the headers. */
const edits = (last: number): fc.Arbitrary<[number, bigint, number][]> =>
  fc.array(
    fc.tuple(
      fc.nat(last),
      fc.oneof(
        fc.constantFrom(
          0n,
          1n,
          0xffn,
          0xffffn,
          0x7fff_ffffn,
          0xffff_ffffn,
          0xffff_ffff_ffff_ffffn,
          0x10_0000n,
          0x7000n,
          1n << 53n,
        ),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      ),
      fc.constantFrom(1, 2, 4, 8),
    ),
    { minLength: 1, maxLength: 4 },
  );

function mutated(seed: Buffer, list: [number, bigint, number][], cut: number): Buffer {
  const file = Buffer.from(seed.subarray(0, Math.min(cut, seed.length)));
  for (const [at, value, width] of list) {
    for (let i = 0; i < width && at + i < file.length; i++) file[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
  return file;
}

const pvhNote = { type: PT_NOTE, data: fakeNote('Xen\0', 18, u32(MIB)) };
const text = { paddr: MIB, memsz: 8192, data: Buffer.alloc(4096, 0x90) };
const bss = { paddr: 2 * MIB, memsz: 65_536 };

test.each([
  ['bzImage', fakeBzImage(), 0x1f0, 0x270],
  ['ELF64', fakeElf({ segments: [text, bss] }), 0, 64 + 2 * 56],
  ['ELF64 with PVH note', fakeElf({ segments: [text, bss, pvhNote] }), 0, 64 + 3 * 56],
  ['ELF32 with PVH note', fakeElf({ bits: 32, segments: [text, bss, pvhNote] }), 0, 52 + 3 * 32],
])('%s with mutated headers', (_, seed, from, to) => {
  const outcomes = new Set<string>();
  fc.assert(
    fc.property(
      edits(to - from),
      fc.oneof({ weight: 9, arbitrary: fc.constant(Infinity) }, { weight: 1, arbitrary: fc.nat(5000) }),
      (list, cut) => {
        outcomes.add(
          check(
            mutated(
              seed,
              list.map(([at, value, width]) => [at + from, value, width]),
              cut,
            ),
          ),
        );
      },
    ),
    { numRuns: 400, seed: 7 },
  );
  expect([...outcomes].sort()).toEqual(['built', 'refused']); // the generator reaches both
});
