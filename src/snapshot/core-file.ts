/**
 * The head of a crash dump: an ELF core file (System V ABI, chapters 4 and 5; elf(5)) of a machine, as gdb, crash and readelf
 * read it. Any thread; pure.
 *
 * A note for each vCPU has what a thread of a process has (NT_PRSTATUS), another one what only QEMU's dumps have and crash
 * looks for: control registers and descriptor tables, with which it finds the kernel. Segments are RAM. Their virtual address
 * is the guest-physical one, so that gdb, which knows no other, can be asked for it.
 */
import { type MemoryRegion, pageSize } from './manifest.js';
import { type GeneralRegister, generalRegisters, type Segment, type Table, type VcpuRegisters } from './registers.js';

const ET_CORE = 4;
const EM_X86_64 = 62;
const EV_CURRENT = 1;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** Of a segment's alignment. crash takes a file whose segments have one for a netdump, and then looks for no kernel in it. */
const unaligned = 0;
const NT_PRSTATUS = 1;

const headerSize = 64;
const programHeaderSize = 56;

/** What stands before RAM, which follows as a whole, region after region. A multiple of the page size. */
export function coreHead(regions: readonly MemoryRegion[], vcpus: readonly VcpuRegisters[]): Buffer {
  const notes = Buffer.concat([
    ...vcpus.map((registers, index) => note('CORE', NT_PRSTATUS, prstatus(registers, index + 1))),
    ...vcpus.map((registers) => note('QEMU', 0, qemuCpuState(registers))),
  ]);
  const notesAt = headerSize + (1 + regions.length) * programHeaderSize;
  const size = Math.ceil((notesAt + notes.length) / pageSize) * pageSize;
  let offset = size;
  const loads = regions.map((region) => {
    offset += region.size;
    return programHeader(PT_LOAD, offset - region.size, region.start, region.size, unaligned);
  });
  const head = [
    fileHeader(1 + regions.length),
    programHeader(PT_NOTE, notesAt, 0, notes.length, 4),
    ...loads,
    notes,
    Buffer.alloc(size - notesAt - notes.length),
  ];
  return Buffer.concat(head);
}

/** Elf64_Ehdr. */
function fileHeader(segments: number): Buffer {
  const [classElf64, littleEndian] = [2, 1];
  const ident = Buffer.from([0x7f, 0x45, 0x4c, 0x46, classElf64, littleEndian, EV_CURRENT, ...Array(9).fill(0)]);
  const sizes = packed(2, headerSize, programHeaderSize, segments, 0, 0, 0);
  return Buffer.concat([
    ident,
    packed(2, ET_CORE, EM_X86_64),
    packed(4, EV_CURRENT),
    packed(8, 0, headerSize, 0), // entry, program headers, section headers
    packed(4, 0), // flags
    sizes,
  ]);
}

/** Elf64_Phdr of a segment that is as large in memory as in the file. */
function programHeader(type: number, offset: number, address: number, size: number, alignment: number): Buffer {
  const [readable, all] = [4, 7];
  return Buffer.concat([
    packed(4, type, type === PT_LOAD ? all : readable),
    packed(8, offset, address, address, size, size, alignment),
  ]);
}

/** Elf64_Nhdr, its name and its content, both padded to 4 bytes. */
function note(name: string, type: number, content: Buffer): Buffer {
  const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  return Buffer.concat([
    packed(4, name.length + 1, content.length, type),
    padded(Buffer.from(`${name}\0`)),
    padded(content),
  ]);
}

/** struct elf_prstatus (sys/procfs.h): a thread of that number, with the registers as in sys/user.h. */
function prstatus(registers: VcpuRegisters, thread: number): Buffer {
  const general = (name: GeneralRegister): bigint => registers.general(name);
  const selector = (name: Segment): number => registers.selector(name);
  const noSystemCall = 0xffff_ffff_ffff_ffffn; // orig_rax
  return Buffer.concat([
    packed(4, 0, 0, 0, 0), // pr_info; pr_cursig and padding
    packed(8, 0, 0), // pr_sigpend, pr_sighold
    packed(4, thread, 0, 0, 0), // pr_pid, pr_ppid, pr_pgrp, pr_sid
    packed(8, 0, 0, 0, 0, 0, 0, 0, 0), // times
    packed(8, ...(['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8'] as const).map(general)),
    packed(8, ...(['rax', 'rcx', 'rdx', 'rsi', 'rdi'] as const).map(general), noSystemCall),
    packed(8, general('rip'), selector('cs'), general('rflags'), general('rsp'), selector('ss')),
    packed(8, registers.base('fs'), registers.base('gs'), ...(['ds', 'es', 'fs', 'gs'] as const).map(selector)),
    packed(4, 0, 0), // pr_fpvalid and padding
  ]);
}

const qemuSegments = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'ldt', 'tr', 'gdt', 'idt'] as const;

/** QEMUCPUState, version 1, of a dump by QEMU. */
function qemuCpuState(registers: VcpuRegisters): Buffer {
  const content = Buffer.concat([
    packed(8, ...generalRegisters.map((name) => registers.general(name))),
    ...qemuSegments.map((name) => qemuCpuSegment(registers, name)),
    packed(8, registers.control('cr0'), 0), // there is no cr1
    packed(8, ...(['cr2', 'cr3', 'cr4'] as const).map((name) => registers.control(name))),
  ]);
  return Buffer.concat([packed(4, 1, 8 + content.length), content]);
}

function qemuCpuSegment(registers: VcpuRegisters, name: Segment | Table): Buffer {
  const isTable = name === 'gdt' || name === 'idt';
  const [selector, flags] = isTable ? [0, 0] : [registers.selector(name), descriptorFlags(registers, name)];
  return Buffer.concat([packed(4, selector, registers.limit(name), flags, 0), packed(8, registers.base(name))]);
}

/** The second half of a descriptor (Intel SDM volume 3, §3.4.5) without base and limit. */
function descriptorFlags(registers: VcpuRegisters, name: Segment): number {
  const bits = { type: 8, s: 12, dpl: 13, present: 15, avl: 20, l: 21, db: 22, g: 23 } as const;
  const fields = Object.keys(bits) as (keyof typeof bits)[];
  return fields.reduce((flags, field) => flags | (registers.attribute(name, field) << bits[field]), 0) >>> 0;
}

/** Numbers of so many bytes each, one after the other. */
function packed(width: 2 | 4 | 8, ...values: readonly (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(width * values.length);
  values.forEach((value, index) => {
    if (width === 8) bytes.writeBigUInt64LE(BigInt(value), index * width);
    else bytes.writeUIntLE(Number(value), index * width, width);
  });
  return bytes;
}
