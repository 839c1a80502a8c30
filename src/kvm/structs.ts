/**
 * KVM's structures (linux/kvm.h, asm/kvm.h on x86-64), as layouts. Any thread.
 *
 * test/unit/host/layouts.test.ts compares each with the C headers.
 */
import { type Struct, struct } from '../host/layout.js';

export const KvmUserspaceMemoryRegion = struct('kvm_userspace_memory_region', {
  slot: 'u32',
  flags: 'u32',
  guest_phys_addr: 'u64',
  memory_size: 'u64',
  userspace_addr: 'u64',
});
export const KvmIrqLevel = struct('kvm_irq_level', { irq: 'u32', level: 'u32' });
export const KvmPitConfig = struct('kvm_pit_config', { flags: 'u32', pad: ['u32', 15] });
export const KvmIoeventfd = struct('kvm_ioeventfd', {
  datamatch: 'u64',
  addr: 'u64',
  len: 'u32',
  fd: 'u32',
  flags: 'u32',
  pad: ['u8', 36],
});
export const KvmIrqfd = struct('kvm_irqfd', {
  fd: 'u32',
  gsi: 'u32',
  flags: 'u32',
  resamplefd: 'u32',
  pad: ['u8', 16],
});
export const KvmIrqRouting = struct('kvm_irq_routing', { nr: 'u32', flags: 'u32', entries: ['u64', 0] });
/** `u` begins with irqchip+pin (two u32) or MSI address_lo, address_hi, data. */
export const KvmIrqRoutingEntry = struct('kvm_irq_routing_entry', {
  gsi: 'u32',
  type: 'u32',
  flags: 'u32',
  pad: 'u32',
  u: ['u64', 4],
});
export const KvmEnableCap = struct('kvm_enable_cap', { cap: 'u32', flags: 'u32', args: ['u64', 4], pad: ['u8', 64] });
export const KvmCpuid2 = struct('kvm_cpuid2', { nent: 'u32', padding: 'u32', entries: ['u32', 0] });
export const KvmCpuidEntry2 = struct('kvm_cpuid_entry2', {
  function: 'u32',
  index: 'u32',
  flags: 'u32',
  eax: 'u32',
  ebx: 'u32',
  ecx: 'u32',
  edx: 'u32',
  padding: ['u32', 3],
});
export const KvmMsrs = struct('kvm_msrs', { nmsrs: 'u32', pad: 'u32', entries: ['u64', 0] });
export const KvmMsrEntry = struct('kvm_msr_entry', { index: 'u32', reserved: 'u32', data: 'u64' });
export const KvmMsrList = struct('kvm_msr_list', { nmsrs: 'u32', indices: ['u32', 0] });
export const KvmMpState = struct('kvm_mp_state', { mp_state: 'u32' });
export const KvmRegs = struct('kvm_regs', {
  rax: 'u64',
  rbx: 'u64',
  rcx: 'u64',
  rdx: 'u64',
  rsi: 'u64',
  rdi: 'u64',
  rsp: 'u64',
  rbp: 'u64',
  r8: 'u64',
  r9: 'u64',
  r10: 'u64',
  r11: 'u64',
  r12: 'u64',
  r13: 'u64',
  r14: 'u64',
  r15: 'u64',
  rip: 'u64',
  rflags: 'u64',
});
export const KvmSegment = struct('kvm_segment', {
  base: 'u64',
  limit: 'u32',
  selector: 'u16',
  type: 'u8',
  present: 'u8',
  dpl: 'u8',
  db: 'u8',
  s: 'u8',
  l: 'u8',
  g: 'u8',
  avl: 'u8',
  unusable: 'u8',
  padding: 'u8',
});
export const KvmDtable = struct('kvm_dtable', { base: 'u64', limit: 'u16', padding: ['u16', 3] });
export const KvmSregs = struct('kvm_sregs', {
  cs: KvmSegment,
  ds: KvmSegment,
  es: KvmSegment,
  fs: KvmSegment,
  gs: KvmSegment,
  ss: KvmSegment,
  tr: KvmSegment,
  ldt: KvmSegment,
  gdt: KvmDtable,
  idt: KvmDtable,
  cr0: 'u64',
  cr2: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  cr8: 'u64',
  efer: 'u64',
  apic_base: 'u64',
  interrupt_bitmap: ['u64', 4],
});
export const KvmTranslation = struct('kvm_translation', {
  linear_address: 'u64',
  physical_address: 'u64',
  valid: 'u8',
  writeable: 'u8',
  usermode: 'u8',
  pad: ['u8', 5],
});
export const KvmVcpuEvents = struct('kvm_vcpu_events', {
  exception: ['u32', 2],
  interrupt: ['u8', 4],
  nmi: ['u8', 4],
  sipi_vector: 'u32',
  flags: 'u32',
  smi: ['u8', 4],
  triple_fault: 'u8',
  reserved: ['u8', 26],
  exception_has_payload: 'u8',
  exception_payload: 'u64',
});
export const KvmDebugregs = struct('kvm_debugregs', {
  db: ['u64', 4],
  dr6: 'u64',
  dr7: 'u64',
  flags: 'u64',
  reserved: ['u64', 9],
});
/** Of 16 entries { xcr, reserved, value }. */
export const KvmXcrs = struct('kvm_xcrs', { nr_xcrs: 'u32', flags: 'u32', xcrs: ['u64', 32], padding: ['u64', 16] });
/** `chip` is a union of 512 bytes: a PIC's registers or the IOAPIC's. */
export const KvmIrqchip = struct('kvm_irqchip', { chip_id: 'u32', pad: 'u32', chip: ['u64', 64] });
/** Three channels of 24 bytes. */
export const KvmPitState2 = struct('kvm_pit_state2', { channels: ['u64', 9], flags: 'u32', reserved: ['u32', 9] });
export const KvmDeviceAttr = struct('kvm_device_attr', { flags: 'u32', group: 'u32', attr: 'u64', addr: 'u64' });
export const KvmClockData = struct('kvm_clock_data', {
  clock: 'u64',
  flags: 'u32',
  pad0: 'u32',
  realtime: 'u64',
  host_tsc: 'u64',
  pad: ['u32', 4],
});
/** The head of the page shared with the kernel; `io` is where the exit union begins (256 bytes). */
export const KvmRun = struct('kvm_run', {
  request_interrupt_window: 'u8',
  immediate_exit: 'u8',
  padding1: ['u8', 6],
  exit_reason: 'u32',
  ready_for_interrupt_injection: 'u8',
  if_flag: 'u8',
  flags: 'u16',
  cr8: 'u64',
  apic_base: 'u64',
  io: ['u64', 32],
  kvm_valid_regs: 'u64',
  kvm_dirty_regs: 'u64',
  s: ['u64', 256],
});

/** Members of kvm_run's exit union, as offsets from its start. */
export const KvmRunExits = {
  name: 'kvm_run_exits',
  size: 0,
  align: 8,
  offset: {
    io_direction: 0,
    io_size: 1,
    io_port: 2,
    io_count: 4,
    io_data_offset: 8,
    mmio_phys_addr: 0,
    mmio_data: 8,
    mmio_len: 16,
    mmio_is_write: 20,
    fail_entry_hardware_entry_failure_reason: 0,
    internal_suberror: 0,
    internal_ndata: 4,
    internal_data: 8,
    system_event_type: 0,
    system_event_ndata: 4,
    system_event_data: 8,
    msr_error: 0,
    msr_reason: 8,
    msr_index: 12,
    msr_data: 16,
    eoi_vector: 0,
    hw_hardware_exit_reason: 0,
    ex_exception: 0,
    ex_error_code: 4,
  },
} as const satisfies Struct;
