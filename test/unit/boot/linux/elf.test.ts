import { describe, expect, test } from 'vitest';
import { parseElf } from '../../../../src/boot/linux/elf.js';
import { fakeElf, PT_NOTE, refusal } from './kernels.js';

const MIB = 1024 * 1024;

describe.each([32, 64] as const)('ELF%i', (bits) => {
  test('reads segments, notes and entry; data are views of the file', () => {
    const note = Buffer.from('a note');
    const file = fakeElf({
      bits,
      entry: 2 * MIB,
      segments: [
        { paddr: 2 * MIB, memsz: 9000, data: Buffer.alloc(4000, 7) },
        { type: PT_NOTE, data: note, align: 8 },
        { paddr: 3 * MIB, memsz: 0 },
        { type: 0x6474_e551 },
        { paddr: 4 * MIB, memsz: 4096 },
      ],
    });
    const elf = parseElf(file, bits);
    expect(elf.bits).toBe(bits);
    expect(elf.entry).toBe(2 * MIB);
    expect(elf.segments.map(({ address, memorySize, data }) => [address, memorySize, data.length])).toEqual([
      [2 * MIB, 9000, 4000],
      [4 * MIB, 4096, 0],
    ]);
    expect(elf.segments[0]!.data.buffer).toBe(file.buffer);
    expect(elf.notes).toEqual(
      [{ data: new Uint8Array(note), align: 8 }].map((n) => ({ ...n, data: Buffer.from(n.data) })),
    );
  });

  test.each([
    ['no program headers', { phnum: 0 }, '0 program headers'],
    ['too many of them', { phnum: 129 }, '129 program headers'],
    ['odd-sized ones', { phentsize: 40 }, '40 bytes each'],
    ['headers outside the file', { phoff: 0x7fff_fff0 }, 'outside the file'],
    ['data outside the file', { segments: [{ paddr: MIB, offset: 4000, filesz: 4096, memsz: 4096 }] }, 'segment 0'],
    [
      'an offset near the end of the number range',
      { segments: [{ paddr: MIB, offset: 0xffff_fff0, filesz: 0xff, memsz: 0xff }] },
      'segment 0',
    ],
    [
      'more in the file than in memory',
      { segments: [{ paddr: MIB, memsz: 10, data: Buffer.alloc(20) }] },
      '0x14 bytes for 0xa',
    ],
    ['nothing to load', { segments: [{ type: PT_NOTE, data: Buffer.alloc(8) }] }, 'nothing to load'],
    ['an interpreter', { segments: [{ type: 3, data: Buffer.from('/lib64/ld.so\0') }] }, 'program to run under Linux'],
    ['an object file', { type: 1 }, 'object file'],
  ])('refuses %s', (_, fields, text) => {
    const error = refusal(() => parseElf(fakeElf({ bits, ...fields }), bits));
    expect(error.code).toBe('ERR_TSVMM_BOOT_KERNEL');
    expect(error.message).toContain(text);
  });

  test('refuses a file cut off in its header', () => {
    expect(refusal(() => parseElf(fakeElf({ bits }).subarray(0, 40), bits)).message).toContain('ELF header');
  });
});
