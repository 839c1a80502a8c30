/** The registers of a vCPU, from its sections `vcpu<N>.regs` and `vcpu<N>.sregs`: KVM's structures. Any thread; pure. */
import { KvmDtable, KvmRegs, KvmSegment, KvmSregs } from '../kvm/structs.js';

export const regsSection = (cpu: number): string => `vcpu${cpu}.regs`;
export const sregsSection = (cpu: number): string => `vcpu${cpu}.sregs`;

export const generalRegisters = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip', 'rflags'] as const),
] as const;
export const segments = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
export const tables = ['gdt', 'idt'] as const;
export const controlRegisters = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'apic_base'] as const;

export type GeneralRegister = (typeof generalRegisters)[number];
export type Segment = (typeof segments)[number];
export type Table = (typeof tables)[number];
export type ControlRegister = (typeof controlRegisters)[number];

/**
 * `rip`; `cs` is the selector, `cs_base` and `cs_limit` are what the processor holds of its descriptor; `gdt_base`; `cr3`.
 */
export type RegisterName = GeneralRegister | Segment | `${Segment | Table}_${'base' | 'limit'}` | ControlRegister;

/** One vCPU as its sections have it. */
export class VcpuRegisters {
  readonly #regs: DataView;
  readonly #sregs: DataView;

  /** Undefined when the sections are not as large as KVM's structures. */
  static of(regs: Uint8Array, sregs: Uint8Array): VcpuRegisters | undefined {
    return regs.length === KvmRegs.size && sregs.length === KvmSregs.size ? new VcpuRegisters(regs, sregs) : undefined;
  }

  private constructor(regs: Uint8Array, sregs: Uint8Array) {
    this.#regs = viewOf(regs);
    this.#sregs = viewOf(sregs);
  }

  general(name: GeneralRegister): bigint {
    return this.#regs.getBigUint64(KvmRegs.offset[name], true);
  }

  control(name: ControlRegister): bigint {
    return this.#sregs.getBigUint64(KvmSregs.offset[name], true);
  }

  base(name: Segment | Table): bigint {
    const { base } = isTable(name) ? KvmDtable.offset : KvmSegment.offset;
    return this.#sregs.getBigUint64(KvmSregs.offset[name] + base, true);
  }

  limit(name: Segment | Table): number {
    const at = KvmSregs.offset[name];
    return isTable(name)
      ? this.#sregs.getUint16(at + KvmDtable.offset.limit, true)
      : this.#sregs.getUint32(at + KvmSegment.offset.limit, true);
  }

  selector(name: Segment): number {
    return this.#sregs.getUint16(KvmSregs.offset[name] + KvmSegment.offset.selector, true);
  }

  /** A one-byte field of a segment's descriptor. */
  attribute(name: Segment, field: 'type' | 'present' | 'dpl' | 'db' | 's' | 'l' | 'g' | 'avl'): number {
    return this.#sregs.getUint8(KvmSregs.offset[name] + KvmSegment.offset[field]);
  }

  all(): Record<RegisterName, bigint> {
    const described = [...segments, ...tables].flatMap((name): [RegisterName, bigint][] => [
      [`${name}_base`, this.base(name)],
      [`${name}_limit`, BigInt(this.limit(name))],
    ]);
    return Object.fromEntries<bigint>([
      ...generalRegisters.map((name) => [name, this.general(name)] as const),
      ...segments.map((name) => [name, BigInt(this.selector(name))] as const),
      ...described,
      ...controlRegisters.map((name) => [name, this.control(name)] as const),
    ]) as Record<RegisterName, bigint>;
  }
}

const isTable = (name: Segment | Table): name is Table => (tables as readonly string[]).includes(name);

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
