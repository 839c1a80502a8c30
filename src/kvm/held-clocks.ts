/**
 * The clocks of a machine that stands still for a while, so that they can go on as if it had not (contract §8). Main thread,
 * every vCPU parked.
 *
 * Clocks and timers of KVM do not stop with the vCPUs: a deadline that comes meanwhile leaves its interrupt. So what they
 * showed is kept, and set again, together with the timers that count from them: the local APIC's count or deadline, the PIT's
 * channels. Interrupts of others that have come meanwhile stay.
 */
import { native } from '../host/addon.js';
import { type ClockSave, loadClock, saveClock } from './clock-save.js';
import { Ioctl, lapicStateSize } from './ioctls.js';
import { must } from './kvm.js';
import { readMsr, writeMsr } from './msrs.js';
import { KvmMsrEntry } from './structs.js';
import type { VcpuSave } from './vcpu-save.js';
import { loadPit, savePit } from './vm-save.js';

/** Intel SDM vol. 3 §10.5.4: offsets in the register page. */
const Lapic = { irr: 0x200, timer: 0x320, currentCount: 0x390 } as const;
const vectorMask = 0xff;
/** A 32-bit register of 256 bits in a row takes 16 bytes. */
const registerStride = 0x10;
const MSR_IA32_TSC_DEADLINE = 0x6e0;

interface TimerSave {
  readonly lapic: DataView;
  /** Undefined where the guest has no such timer. */
  readonly deadline: bigint | undefined;
}

export interface HeldClocks {
  readonly clock: ClockSave;
  readonly timers: readonly TimerSave[];
  readonly pit: Uint8Array;
  /** When that was, by the host's monotonic clock. */
  readonly atNs: number;
}

export const holdClocks = (vmFd: number, vcpuFds: readonly number[], atNs: number): HeldClocks => ({
  atNs,
  clock: saveClock(vmFd, vcpuFds),
  timers: vcpuFds.map((fd) => ({ lapic: getLapic(fd), deadline: readMsr(fd, MSR_IA32_TSC_DEADLINE) })),
  pit: savePit(vmFd),
});

/** They go on from where they were. */
export function letClocksGoOn(vmFd: number, vcpuFds: readonly number[], held: HeldClocks): void {
  loadClock(vmFd, vcpuFds, held.clock, 'keep');
  vcpuFds.forEach((fd, cpu) => {
    loadTimer(fd, held.timers[cpu]!);
  });
  loadPit(vmFd, held.pit);
}

/** A vCPU as it is, but for its timer, which is where it was. */
export function withHeldTimer(save: VcpuSave, held: TimerSave): VcpuSave {
  const lapic = save.lapic.slice();
  setTimer(new DataView(lapic.buffer), held);
  const msrs = save.msrs.slice();
  const view = new DataView(msrs.buffer);
  for (let at = 0; at < msrs.length; at += KvmMsrEntry.size) {
    const isDeadline = view.getUint32(at + KvmMsrEntry.offset.index, true) === MSR_IA32_TSC_DEADLINE;
    if (isDeadline && held.deadline !== undefined) view.setBigUint64(at + KvmMsrEntry.offset.data, held.deadline, true);
  }
  return { ...save, lapic, msrs };
}

function loadTimer(fd: number, held: TimerSave): void {
  const { deadline } = held;
  const now = getLapic(fd);
  setTimer(now, held);
  must('KVM_SET_LAPIC', native().ioctl(fd, Ioctl.KVM_SET_LAPIC, now));
  if (deadline !== undefined && deadline !== 0n) writeMsr(fd, MSR_IA32_TSC_DEADLINE, deadline);
}

/** Its count, and whether its interrupt is pending, are as they were. */
function setTimer(now: DataView, { lapic: then }: TimerSave): void {
  const vector = now.getUint32(Lapic.timer, true) & vectorMask;
  const pending = Lapic.irr + (vector >>> 5) * registerStride;
  const bit = 1 << (vector & 31);
  const wasPending = then.getUint32(pending, true) & bit;
  now.setUint32(pending, (now.getUint32(pending, true) & ~bit) | wasPending, true);
  now.setUint32(Lapic.currentCount, then.getUint32(Lapic.currentCount, true), true);
}

function getLapic(fd: number): DataView {
  const state = new DataView(new ArrayBuffer(lapicStateSize));
  must('KVM_GET_LAPIC', native().ioctl(fd, Ioctl.KVM_GET_LAPIC, state));
  return state;
}
