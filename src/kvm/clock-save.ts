/**
 * The clocks of a machine, taken and set again: kvmclock and the TSC of each vCPU (KVM API §4.29; Documentation/virt/kvm/
 * devices/vcpu.rst §4; contract §8). Main thread, or the worker of an only vCPU; every vCPU parked or never run.
 *
 * One elapsed time moves both, so that no clock of the guest's goes back and none runs away from another: zero with `keep`, for
 * a guest that is not to notice, and what has passed on the host's wall clock with `catch-up`. All vCPUs get one change of
 * their TSC offsets, so that TSCs that agreed agree afterwards. Local APIC timers and PIT count from the moment at which their
 * state is loaded, which the caller does after this.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Sys, syscall } from '../host/system.js';
import { Ioctl } from './ioctls.js';
import { must } from './kvm.js';
import { readMsr, writeMsr } from './msrs.js';
import { KvmClockData, KvmDeviceAttr } from './structs.js';

export const clockPolicies = ['keep', 'catch-up'] as const;
export type ClockPolicy = (typeof clockPolicies)[number];

/** Nanoseconds and TSC ticks are 64 bits: this is not a hot path. */
export interface ClockSave {
  /** kvmclock. */
  readonly clockNs: bigint;
  /** CLOCK_REALTIME of the host at that moment. */
  readonly realtimeNs: bigint;
  /** Of each vCPU. */
  readonly tscs: readonly TscSave[];
}

interface TscSave {
  readonly khz: number;
  readonly value: bigint;
  /** What is added to the host's TSC; undefined where KVM does not say. */
  readonly offset: bigint | undefined;
}

const MSR_IA32_TSC = 0x10;
const KVM_VCPU_TSC_CTRL = 0;
const KVM_VCPU_TSC_OFFSET = 0;
const CLOCK_REALTIME = 0;
/** Of nanoseconds. */
const second = 1_000_000_000n;
/** kHz and nanoseconds to ticks. */
const perKhz = 1_000_000n;
/** What Linux takes for the same frequency (tsc_tolerance_ppm of kvm). */
const tolerance = 250e-6;

export function saveClock(vmFd: number, vcpuFds: readonly number[]): ClockSave {
  const data = new DataView(new ArrayBuffer(KvmClockData.size));
  must('KVM_GET_CLOCK', native().ioctl(vmFd, Ioctl.KVM_GET_CLOCK, data));
  const realtimeNs = hostRealtimeNs();
  return { clockNs: data.getBigUint64(KvmClockData.offset.clock, true), realtimeNs, tscs: vcpuFds.map(saveTsc) };
}

/** Nanoseconds by which the guest's clocks are later. */
export function loadClock(vmFd: number, vcpuFds: readonly number[], save: ClockSave, policy: ClockPolicy): number {
  const passed = hostRealtimeNs() - save.realtimeNs;
  const elapsed = policy === 'keep' || passed < 0n ? 0n : passed; // a wall clock that was set back moves no guest back
  const data = new DataView(new ArrayBuffer(KvmClockData.size));
  data.setBigUint64(KvmClockData.offset.clock, save.clockNs + elapsed, true);
  must('KVM_SET_CLOCK', native().ioctl(vmFd, Ioctl.KVM_SET_CLOCK, data));
  setTscs(vcpuFds, save.tscs, elapsed);
  return Number(elapsed);
}

function saveTsc(fd: number): TscSave {
  const khz = must('KVM_GET_TSC_KHZ', native().ioctl(fd, Ioctl.KVM_GET_TSC_KHZ, 0));
  return { khz, value: readMsr(fd, MSR_IA32_TSC) ?? 0n, offset: tscOffset(fd) };
}

function setTscs(fds: readonly number[], saves: readonly TscSave[], elapsedNs: bigint): void {
  fds.forEach((fd, cpu) => {
    setFrequency(fd, saves[cpu]!.khz);
  });
  const goOn = ({ value, khz }: TscSave): bigint => value + (elapsedNs * BigInt(khz)) / perKhz;
  const first = saves[0]!;
  const now = tscOffset(fds[0]!);
  if (now === undefined || saves.some(({ offset }) => offset === undefined)) {
    fds.forEach((fd, cpu) => {
      writeMsr(fd, MSR_IA32_TSC, goOn(saves[cpu]!));
    });
    return;
  }
  const change = goOn(first) - ((readMsr(fds[0]!, MSR_IA32_TSC) ?? 0n) - now) - first.offset!;
  fds.forEach((fd, cpu) => {
    setTscOffset(fd, saves[cpu]!.offset! + change);
  });
}

/** A guest has measured its TSC once and for all. */
function setFrequency(fd: number, khz: number): void {
  const own = must('KVM_GET_TSC_KHZ', native().ioctl(fd, Ioctl.KVM_GET_TSC_KHZ, 0));
  if (Math.abs(own - khz) <= khz * tolerance) return;
  const result = native().ioctl(fd, Ioctl.KVM_SET_TSC_KHZ, khz);
  if (result >= 0) return;
  throw new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `the guest's time stamp counter runs at ${khz} kHz, this host's at ${own} kHz, and its KVM cannot scale it`,
    { hint: 'restore it on a host with the same processor' },
  );
}

/** Undefined where KVM has no such attribute (before Linux 5.16). */
function tscOffset(fd: number): bigint | undefined {
  const value = new BigInt64Array(1);
  const result = native().ioctl(fd, Ioctl.KVM_GET_DEVICE_ATTR, offsetAttribute(value));
  return result < 0 ? undefined : value[0]!;
}

function setTscOffset(fd: number, offset: bigint): void {
  const value = BigInt64Array.of(offset);
  must('KVM_SET_DEVICE_ATTR', native().ioctl(fd, Ioctl.KVM_SET_DEVICE_ATTR, offsetAttribute(value)));
}

function offsetAttribute(value: BigInt64Array): DataView {
  const request = new DataView(new ArrayBuffer(KvmDeviceAttr.size));
  request.setUint32(KvmDeviceAttr.offset.group, KVM_VCPU_TSC_CTRL, true);
  request.setBigUint64(KvmDeviceAttr.offset.attr, BigInt(KVM_VCPU_TSC_OFFSET), true);
  request.setBigUint64(KvmDeviceAttr.offset.addr, BigInt(native().addressOf(value)), true);
  return request;
}

function hostRealtimeNs(): bigint {
  const time = new BigInt64Array(2);
  syscall(Sys.clockGettime, CLOCK_REALTIME, time);
  return time[0]! * second + time[1]!;
}

/** As bytes, for a snapshot: clock, realtime, then { khz, value, offset, has an offset } of each vCPU, 64 bits each. */
export function encodeClock({ clockNs, realtimeNs, tscs }: ClockSave): Uint8Array {
  const words = [
    clockNs,
    realtimeNs,
    ...tscs.flatMap(({ khz, value, offset }) => [BigInt(khz), value, offset ?? 0n, offset === undefined ? 0n : 1n]),
  ];
  return new Uint8Array(BigUint64Array.from(words.map((word) => BigInt.asUintN(64, word))).buffer);
}

const maxKhz = 100_000_000n;

/** Undefined for bytes that cannot be the clocks of a machine of so many vCPUs. */
export function decodeClock(bytes: Uint8Array, cpus: number): ClockSave | undefined {
  if (bytes.length !== 8 * (2 + 4 * cpus)) return undefined;
  const words = new BigUint64Array(bytes.slice().buffer);
  const tscs: TscSave[] = [];
  for (let at = 2; at < words.length; at += 4) {
    const [khz, value, offset, hasOffset] = words.subarray(at, at + 4) as unknown as [bigint, bigint, bigint, bigint];
    if (khz === 0n || khz > maxKhz || hasOffset > 1n) return undefined;
    tscs.push({ khz: Number(khz), value, offset: hasOffset === 1n ? BigInt.asIntN(64, offset) : undefined });
  }
  return { clockNs: words[0]!, realtimeNs: BigInt.asIntN(64, words[1]!), tscs };
}
