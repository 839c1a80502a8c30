/** KVM's request numbers, capabilities and exit reasons by name (linux/kvm.h). Any thread. */
import type { Struct } from '../host/layout.js';
import {
  KvmClockData,
  KvmCpuid2,
  KvmDebugregs,
  KvmDeviceAttr,
  KvmEnableCap,
  KvmIoeventfd,
  KvmIrqchip,
  KvmIrqfd,
  KvmIrqLevel,
  KvmIrqRouting,
  KvmMpState,
  KvmMsrList,
  KvmMsrs,
  KvmPitConfig,
  KvmPitState2,
  KvmRegs,
  KvmSregs,
  KvmTranslation,
  KvmUserspaceMemoryRegion,
  KvmVcpuEvents,
  KvmXcrs,
} from './structs.js';

const KVMIO = 0xae00;
const sized = (direction: number, nr: number, size: number): number =>
  ((direction << 30) | (size << 16) | KVMIO | nr) >>> 0;
const io = (nr: number): number => KVMIO | nr;
const iow = (nr: number, type: Struct | number): number => sized(1, nr, typeof type === 'number' ? type : type.size);
const ior = (nr: number, type: Struct | number): number => sized(2, nr, typeof type === 'number' ? type : type.size);
const iowr = (nr: number, type: Struct): number => sized(3, nr, type.size);

/** The local APIC's registers; the SSE state that KVM has always had a structure for (asm/kvm.h). */
export const lapicStateSize = 1024;
export const xsaveSize = 4096;

export const Ioctl = {
  KVM_GET_API_VERSION: io(0x00),
  KVM_CREATE_VM: io(0x01),
  KVM_GET_MSR_INDEX_LIST: iowr(0x02, KvmMsrList),
  KVM_CHECK_EXTENSION: io(0x03),
  KVM_GET_VCPU_MMAP_SIZE: io(0x04),
  KVM_GET_SUPPORTED_CPUID: iowr(0x05, KvmCpuid2),
  KVM_CREATE_VCPU: io(0x41),
  KVM_SET_USER_MEMORY_REGION: iow(0x46, KvmUserspaceMemoryRegion),
  KVM_SET_TSS_ADDR: io(0x47),
  KVM_SET_IDENTITY_MAP_ADDR: iow(0x48, 8),
  KVM_CREATE_IRQCHIP: io(0x60),
  KVM_IRQ_LINE: iow(0x61, KvmIrqLevel),
  KVM_GET_IRQCHIP: iowr(0x62, KvmIrqchip),
  KVM_SET_IRQCHIP: ior(0x63, KvmIrqchip),
  KVM_SET_GSI_ROUTING: iow(0x6a, KvmIrqRouting),
  KVM_IRQFD: iow(0x76, KvmIrqfd),
  KVM_CREATE_PIT2: iow(0x77, KvmPitConfig),
  KVM_IOEVENTFD: iow(0x79, KvmIoeventfd),
  KVM_SET_CLOCK: iow(0x7b, KvmClockData),
  KVM_GET_CLOCK: ior(0x7c, KvmClockData),
  KVM_RUN: io(0x80),
  KVM_GET_REGS: ior(0x81, KvmRegs),
  KVM_SET_REGS: iow(0x82, KvmRegs),
  KVM_GET_SREGS: ior(0x83, KvmSregs),
  KVM_SET_SREGS: iow(0x84, KvmSregs),
  KVM_TRANSLATE: iowr(0x85, KvmTranslation),
  KVM_GET_MSRS: iowr(0x88, KvmMsrs),
  KVM_SET_MSRS: iow(0x89, KvmMsrs),
  KVM_GET_LAPIC: ior(0x8e, lapicStateSize),
  KVM_SET_LAPIC: iow(0x8f, lapicStateSize),
  KVM_SET_CPUID2: iow(0x90, KvmCpuid2),
  KVM_GET_MP_STATE: ior(0x98, KvmMpState),
  KVM_SET_MP_STATE: iow(0x99, KvmMpState),
  KVM_NMI: io(0x9a),
  KVM_GET_PIT2: ior(0x9f, KvmPitState2),
  KVM_SET_PIT2: iow(0xa0, KvmPitState2),
  KVM_GET_VCPU_EVENTS: ior(0x9f, KvmVcpuEvents),
  KVM_SET_VCPU_EVENTS: iow(0xa0, KvmVcpuEvents),
  KVM_GET_DEBUGREGS: ior(0xa1, KvmDebugregs),
  KVM_SET_DEBUGREGS: iow(0xa2, KvmDebugregs),
  KVM_SET_TSC_KHZ: io(0xa2),
  KVM_GET_TSC_KHZ: io(0xa3),
  KVM_ENABLE_CAP: iow(0xa3, KvmEnableCap),
  KVM_GET_XSAVE: ior(0xa4, xsaveSize),
  KVM_SET_XSAVE: iow(0xa5, xsaveSize),
  KVM_GET_XCRS: ior(0xa6, KvmXcrs),
  KVM_SET_XCRS: iow(0xa7, KvmXcrs),
  KVM_GET_XSAVE2: ior(0xcf, xsaveSize),
  KVM_SET_DEVICE_ATTR: iow(0xe1, KvmDeviceAttr),
  KVM_GET_DEVICE_ATTR: iow(0xe2, KvmDeviceAttr),
  KVM_HAS_DEVICE_ATTR: iow(0xe3, KvmDeviceAttr),
  KVM_KVMCLOCK_CTRL: io(0xad),
} as const;

/** Capabilities by the names of KVM API §4; the machine needs each of `required`, the others are used when there. */
export const Capability = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_CLOCKSOURCE: 8,
  KVM_CAP_NR_VCPUS: 9,
  KVM_CAP_NR_MEMSLOTS: 10,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_DESTROY_MEMORY_REGION_WORKS: 21,
  KVM_CAP_IRQ_ROUTING: 25,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_ADJUST_CLOCK: 39,
  KVM_CAP_VCPU_EVENTS: 41,
  KVM_CAP_DEBUGREGS: 50,
  KVM_CAP_XSAVE: 55,
  KVM_CAP_XCRS: 56,
  KVM_CAP_GET_TSC_KHZ: 61,
  KVM_CAP_MAX_VCPUS: 66,
  KVM_CAP_TSC_DEADLINE_TIMER: 72,
  KVM_CAP_KVMCLOCK_CTRL: 76,
  KVM_CAP_IOEVENTFD_ANY_LENGTH: 122,
  KVM_CAP_VCPU_ATTRIBUTES: 127,
  KVM_CAP_MAX_VCPU_ID: 128,
  KVM_CAP_IMMEDIATE_EXIT: 136,
  KVM_CAP_ENFORCE_PV_FEATURE_CPUID: 190,
  KVM_CAP_XSAVE2: 208,
} as const;
export type CapabilityName = keyof typeof Capability;

/** What the machine cannot do without, and since when Linux has it. */
export const required: readonly CapabilityName[] = [
  'KVM_CAP_IRQCHIP',
  'KVM_CAP_USER_MEMORY',
  'KVM_CAP_SET_TSS_ADDR',
  'KVM_CAP_EXT_CPUID',
  'KVM_CAP_MP_STATE',
  'KVM_CAP_DESTROY_MEMORY_REGION_WORKS',
  'KVM_CAP_IRQ_ROUTING',
  'KVM_CAP_IRQFD',
  'KVM_CAP_PIT2',
  'KVM_CAP_IOEVENTFD',
  'KVM_CAP_SET_IDENTITY_MAP_ADDR',
  'KVM_CAP_VCPU_EVENTS',
  'KVM_CAP_IOEVENTFD_ANY_LENGTH',
  'KVM_CAP_IMMEDIATE_EXIT',
];

export const Exit = {
  unknown: 0,
  exception: 1,
  io: 2,
  hypercall: 3,
  debug: 4,
  hlt: 5,
  mmio: 6,
  irqWindowOpen: 7,
  shutdown: 8,
  failEntry: 9,
  intr: 10,
  setTpr: 11,
  tprAccess: 12,
  nmi: 16,
  internalError: 17,
  watchdog: 21,
  systemEvent: 24,
  ioapicEoi: 26,
  hyperv: 27,
  rdmsr: 29,
  wrmsr: 30,
  dirtyRingFull: 31,
  apResetHold: 32,
  busLock: 33,
  xen: 34,
  notify: 37,
  memoryFault: 39,
} as const;

const exitNames = new Map<number, string>(Object.entries(Exit).map(([name, number]) => [number, name]));
export const exitName = (reason: number): string => exitNames.get(reason) ?? `exit ${reason}`;

/** KVM_EXIT_SYSTEM_EVENT types. */
export const SystemEvent = { shutdown: 1, reset: 2, crash: 3 } as const;
