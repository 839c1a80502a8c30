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
import { readMsr, withMsr, writeMsr } from './msrs.js';
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
}

export const holdClocks = (vmFd: number, vcpuFds: readonly number[]): HeldClocks => ({
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

/** What is saved of a vCPU later, with its timer as it was. */
export function asHeld(save: VcpuSave, { lapic: then, deadline }: TimerSave): VcpuSave {
  const lapic = new Uint8Array(save.lapic);
  resetTimer(new DataView(lapic.buffer), then);
  return {
    ...save,
    lapic,
    msrs: deadline === undefined ? save.msrs : withMsr(save.msrs, MSR_IA32_TSC_DEADLINE, deadline),
  };
}

function loadTimer(fd: number, { lapic: then, deadline }: TimerSave): void {
  const now = getLapic(fd);
  resetTimer(now, then);
  must('KVM_SET_LAPIC', native().ioctl(fd, Ioctl.KVM_SET_LAPIC, now));
  if (deadline !== undefined && deadline !== 0n) writeMsr(fd, MSR_IA32_TSC_DEADLINE, deadline);
}

/** Its interrupt is pending if it was, its count what it was. */
function resetTimer(now: DataView, then: DataView): void {
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
