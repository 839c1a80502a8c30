import { describe, expect, test } from 'vitest';
import type { BootImage, Segment } from '../../../../src/boot/boot-image.js';
import type { BootRequest } from '../../../../src/boot/linux/boot-context.js';
import { buildBootImage } from '../../../../src/boot/linux/build.js';
import { buildAcpiTables } from '../../../../src/boot/x86/acpi/tables.js';
import { ramRegions } from '../../../../src/devices/memory-map.js';
import { fakeBzImage, fakeElf, fakeNote, PT_LOAD, PT_NOTE, refusal, u32 } from './kernels.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

const build = (request: Partial<BootRequest> = {}): BootImage =>
  buildBootImage({ kernel: fakeBzImage(), cmdline: 'console=ttyS0', ram: ramRegions(64 * MIB), ...request });

function segment(image: BootImage, name: string): Segment & { bytes: Buffer } {
  const found = image.segments.find((s) => s.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${image.segments.map((s) => s.name).join(', ')}`);
  return { ...found, bytes: Buffer.from(found.data.buffer, found.data.byteOffset, found.data.length) };
}

describe('a bzImage', () => {
  test('is entered at +0x200 of its preferred address with a zero page in RSI', () => {
    const image = build();
    expect(image.entry).toMatchObject({ mode: 'long64', rip: 16 * MIB + 0x200 });
    expect(segment(image, 'kernel').address).toBe(16 * MIB);
    expect(image.entry.mode === 'long64' && image.entry.rsi).toBe(segment(image, 'zero page').address);
    expect(image.entry.gdt).toBe(segment(image, 'descriptor table').address);
    expect(image.entry.mode === 'long64' && image.entry.pageTables).toBe(segment(image, 'page tables').address);
    expect(image.description).toBe('bzImage 6.1.0-test, 64-bit entry');
  });

  test('kernel and initrd are views of what was passed', () => {
    const kernel = fakeBzImage();
    const initrd = Buffer.alloc(10_000, 1);
    const image = build({ kernel, initrd });
    expect(segment(image, 'kernel').data.buffer).toBe(kernel.buffer);
    expect(segment(image, 'initrd').data).toBe(initrd);
  });

  test('the zero page has the setup header of the file and what a loader writes', () => {
    const initrd = Buffer.alloc(10_000, 1);
    const acpi = buildAcpiTables({ apicIds: [0], generation: new Uint8Array(16) });
    const image = build({ initrd, acpi, cmdline: 'root=/dev/vda quiet' });
    const page = segment(image, 'zero page').bytes;
    expect(page.length).toBe(4096);
    expect(page.toString('latin1', 0x202, 0x206)).toBe('HdrS');
    expect(page.readUInt8(0x1ef)).toBe(0); // sentinel: "the loader filled this in"
    expect(page.readUInt8(0x210)).toBe(0xff);
    expect(page.readUInt8(0x211) & 1).toBe(1);
    expect(page.readUInt32LE(0x214)).toBe(16 * MIB);
    expect(page.readUInt32LE(0x218)).toBe(segment(image, 'initrd').address);
    expect(page.readUInt32LE(0x21c)).toBe(10_000);
    expect(page.readUInt32LE(0x230)).toBe(0x20_0000);
    expect(Number(page.readBigUInt64LE(0x070))).toBe(acpi.rsdp);
    const line = segment(image, 'command line');
    expect(page.readUInt32LE(0x228)).toBe(line.address);
    expect(line.bytes.toString()).toBe('root=/dev/vda quiet\0');
  });

  test('setup_data is one RNG seed of 32 bytes, another one at each start', () => {
    const seedOf = (image: BootImage): string => {
      const node = segment(image, 'setup data');
      expect(Number(segment(image, 'zero page').bytes.readBigUInt64LE(0x250))).toBe(node.address);
      expect(node.bytes.readBigUInt64LE(0)).toBe(0n);
      expect([node.bytes.readUInt32LE(8), node.bytes.readUInt32LE(12)]).toEqual([9, 32]);
      return node.bytes.subarray(16).toString('hex');
    };
    expect(seedOf(build())).not.toBe(seedOf(build()));
    expect(seedOf(build({ rngSeed: Buffer.alloc(32, 5) }))).toBe('05'.repeat(32));
  });

  test('e820: RAM without the legacy area, the ECAM window, RAM from 4 GiB', () => {
    const page = segment(build({ ram: ramRegions(5 * GIB) }), 'zero page').bytes;
    const entries = Array.from({ length: page.readUInt8(0x1e8) }, (_, i) => {
      const at = 0x2d0 + i * 20;
      return [Number(page.readBigUInt64LE(at)), Number(page.readBigUInt64LE(at + 8)), page.readUInt32LE(at + 16)];
    });
    expect(entries).toEqual([
      [0, 0x9_fc00, 1],
      [0x9_fc00, 0x6_0400, 2],
      [0x10_0000, 0xc000_0000 - 0x10_0000, 1],
      [0xe000_0000, 0x10_0000, 2],
      [0xfffb_c000, 0x4000, 2],
      [4 * GIB, 2 * GIB, 1],
    ]);
  });
});

describe('an initrd', () => {
  const initrd = Buffer.alloc(3 * MIB + 1);
  const place = (request: Partial<BootRequest>): number => segment(build({ initrd, ...request }), 'initrd').address;

  test('lies as high as possible below the device hole, on a page', () => {
    expect(place({})).toBe(61 * MIB - 4096);
    expect(place({ ram: ramRegions(8 * GIB) })).toBe(3 * GIB - 3 * MIB - 4096);
  });

  test('stays below initrd_addr_max if the kernel cannot take one above 4 GiB', () => {
    const kernel = fakeBzImage({ xloadflags: 1, initrdAddrMax: 0x37ff_ffff });
    expect(place({ kernel, ram: ramRegions(2 * GIB) })).toBe(0x3800_0000 - 3 * MIB - 4096);
  });

  test('goes below the kernel, or above 4 GiB, if there is no room elsewhere', () => {
    const kernel = fakeBzImage({ initSize: 46 * MIB });
    expect(place({ kernel })).toBe(13 * MIB - 4096);
    const ram = [...ramRegions(64 * MIB), { start: 4 * GIB, size: 64 * MIB }];
    const image = build({ kernel, ram, initrd: Buffer.alloc(20 * MIB) });
    expect(segment(image, 'initrd').address).toBe(4 * GIB + 44 * MIB);
    const page = segment(image, 'zero page').bytes;
    expect([page.readUInt32LE(0x218), page.readUInt32LE(0x0c0)]).toEqual([44 * MIB, 1]);
  });

  test('is refused with what is needed if there is no memory for it', () => {
    const error = refusal(() => build({ initrd: Buffer.alloc(50 * MIB) }));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.message).toContain('64 MiB');
    expect(error.message).toContain('at least 67 MiB');
    expect(error.details).toMatchObject({ neededBytes: 67 * MIB });
    expect(error.hint).toContain("memory: '256M'");
    expect(() => build({ initrd: Buffer.alloc(50 * MIB), ram: ramRegions(67 * MIB) })).not.toThrow();
  });

  test('too large for the limit of an old kernel is another error than too little memory', () => {
    const kernel = fakeBzImage({ xloadflags: 1, initrdAddrMax: 0x13f_ffff });
    const error = refusal(() => build({ kernel, initrd: Buffer.alloc(16 * MIB), ram: ramRegions(GIB) }));
    expect(error.message).toContain('below 20 MiB');
  });

  test('of no bytes is refused', () => {
    expect(refusal(() => build({ initrd: Buffer.alloc(0) })).message).toContain('empty');
  });
});

describe('memory', () => {
  test('too small for the kernel is one error with what is needed', () => {
    const error = refusal(() => build({ kernel: fakeBzImage({ initSize: 90 * MIB }) }));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.details).toMatchObject({ neededBytes: 106 * MIB, memoryBytes: 64 * MIB });
  });

  test('too small for anything, or with a gap at its start, is refused', () => {
    expect(refusal(() => build({ ram: ramRegions(MIB) })).message).toContain('too small');
    expect(refusal(() => build({ ram: [{ start: MIB, size: 64 * MIB }] })).code).toBe('ERR_TSVMM_CONFIG');
  });

  test('a kernel that wants to be where no RAM can be is damage, not a matter of memory', () => {
    const error = refusal(() => build({ kernel: fakeBzImage({ prefAddress: 0xb000_0000_0000n }) }));
    expect(error.code).toBe('ERR_TSVMM_BOOT_KERNEL');
  });
});

describe('the command line', () => {
  test('longer than the kernel takes is refused with length and limit', () => {
    expect(() => build({ cmdline: 'x'.repeat(2047) })).not.toThrow();
    const error = refusal(() => build({ cmdline: 'x'.repeat(2048) }));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.message).toMatch(/2048 bytes.*2047/);
  });

  test('counts bytes, not characters', () => {
    expect(refusal(() => build({ cmdline: 'ä'.repeat(1024) })).message).toContain('2048 bytes');
  });

  test('has a limit of our own where the kernel names an absurd one', () => {
    const kernel = fakeBzImage({ cmdlineSize: 0xffff_ffff });
    expect(refusal(() => build({ kernel, cmdline: 'x'.repeat(70_000) })).message).toContain('65535');
  });

  test('with a NUL is refused', () => {
    expect(refusal(() => build({ cmdline: 'a\0b' })).message).toContain('NUL');
  });
});

describe('an ELF kernel', () => {
  const text = { type: PT_LOAD, paddr: MIB, memsz: 12_288, data: Buffer.alloc(5000, 0x90) };
  const pvhNote = { type: PT_NOTE, data: fakeNote('Xen\0', 18, u32(MIB + 16)), align: 4 };
  const pvh = (bits: 32 | 64): Buffer => fakeElf({ bits, segments: [text, pvhNote] });

  test.each([32, 64] as const)('of %i bits with a PVH note is entered there, with a start info in EBX', (bits) => {
    const acpi = buildAcpiTables({ apicIds: [0], generation: new Uint8Array(16) });
    const initrd = Buffer.alloc(5000, 3);
    const image = build({ kernel: pvh(bits), initrd, acpi, cmdline: 'hello' });
    const info = segment(image, 'start info');
    expect(image.entry).toMatchObject({ mode: 'pvh32', rip: MIB + 16, ebx: info.address });
    const b = info.bytes;
    expect([b.readUInt32LE(0), b.readUInt32LE(4), b.readUInt32LE(8), b.readUInt32LE(12)]).toEqual([
      0x336e_c578, 1, 0, 1,
    ]);
    expect(Number(b.readBigUInt64LE(24))).toBe(segment(image, 'command line').address);
    expect(Number(b.readBigUInt64LE(32))).toBe(acpi.rsdp);
    const modules = Number(b.readBigUInt64LE(16)) - info.address;
    expect(Number(b.readBigUInt64LE(modules))).toBe(segment(image, 'initrd').address);
    expect(Number(b.readBigUInt64LE(modules + 8))).toBe(5000);
    const map = Number(b.readBigUInt64LE(40)) - info.address;
    expect(b.readUInt32LE(48)).toBe(5);
    expect(b.readBigUInt64LE(map + 2 * 24)).toBe(0x10_0000n);
    expect(Number(b.readBigUInt64LE(map + 2 * 24 + 8))).toBe(63 * MIB);
    expect(b.readUInt32LE(map + 2 * 24 + 16)).toBe(1);
    expect(image.description).toBe(`ELF${bits} kernel, PVH entry at 0x100010`);
  });

  test('without initrd has no module', () => {
    const info = segment(build({ kernel: pvh(64) }), 'start info').bytes;
    expect([info.readUInt32LE(12), info.readBigUInt64LE(16)]).toEqual([0, 0n]);
  });

  test('of 64 bits without note is entered in 64-bit mode with a zero page', () => {
    const image = build({ kernel: fakeElf({ entry: MIB + 64, segments: [text] }) });
    expect(image.entry).toMatchObject({ mode: 'long64', rip: MIB + 64 });
    const page = segment(image, 'zero page').bytes;
    expect(page.readUInt32LE(0x202)).toBe(0x5372_6448);
    expect(page.readUInt16LE(0x1fe)).toBe(0xaa55);
    expect(page.readUInt16LE(0x206)).toBe(0x020f);
  });

  test('of 32 bits without note is refused', () => {
    expect(refusal(() => build({ kernel: fakeElf({ bits: 32 }) })).message).toContain('without PVH entry');
  });

  test('never has an initrd above 4 GiB, where its entry could not be told of it', () => {
    const ram = [...ramRegions(8 * MIB), { start: 4 * GIB, size: 64 * MIB }];
    const error = refusal(() => build({ kernel: pvh(64), ram, initrd: Buffer.alloc(10 * MIB) }));
    expect(error.message).toContain('at least 12 MiB');
  });

  test.each([
    ['into the zero page', { paddr: 0x7000, memsz: 16 }, 'zero page area'],
    ['over another segment', { paddr: MIB + 12_287, memsz: 1 }, 'kernel segment 0'],
    ['into the legacy area', { paddr: 0xe_0000, memsz: 4096 }, 'does not lie in guest RAM'],
    ['into the device hole', { paddr: 0xc000_0000, memsz: 4096 }, 'below 3 GiB'],
    ['to the end of the number range', { paddr: 2 ** 53 - 1, memsz: 2 ** 52 }, 'below 3 GiB'],
  ])('that loads %s is refused', (_, fields, message) => {
    const error = refusal(() => build({ kernel: fakeElf({ segments: [text, fields] }) }));
    expect(error.code).toBe('ERR_TSVMM_BOOT_KERNEL');
    expect(error.message).toContain(message);
  });

  test('beyond the memory given is a matter of memory', () => {
    const error = refusal(() => build({ kernel: fakeElf({ segments: [text, { paddr: 80 * MIB, memsz: MIB }] }) }));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.message).toContain('at least 81 MiB');
  });

  test('whose entry lies in no segment is refused', () => {
    expect(refusal(() => build({ kernel: fakeElf({ entry: MIB + 12_288, segments: [text] }) })).message).toContain(
      'entry point',
    );
  });
});
