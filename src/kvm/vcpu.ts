/**
 * One KVM vCPU: its descriptor, its shared run page, its registers. Created and run by its own worker; parked, any thread
 * may save and load it (contract §2.4).
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { errnoName } from '../host/errno.js';
import { closeFd } from '../host/system.js';
import { Capability, Ioctl } from './ioctls.js';
import { must } from './kvm.js';
import { type Msr, writeMsrs } from './msrs.js';
import {
  KvmCpuid2,
  KvmCpuidEntry2,
  KvmEnableCap,
  KvmMpState,
  KvmRegs,
  KvmRun,
  KvmSregs,
  KvmVcpuEvents,
} from './structs.js';

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

export class Vcpu {
  readonly id: number;
  readonly fd: number;
  /** Address of the run page in this process. */
  readonly runAddress: number;
  /** The run page as bytes and as a view; `exit` is relative to it. */
  readonly bytes: Uint8Array;
  readonly run: DataView;
  readonly #buffer: ArrayBuffer;

  constructor(id: number, fd: number, runPageSize: number) {
    this.id = id;
    this.fd = fd;
    this.runAddress = native().mapMemory(runPageSize, PROT_READ_WRITE, MAP_SHARED, fd, 0, 0);
    const buffer = this.runAddress > 0 ? native().wrapMemory(this.runAddress, runPageSize) : undefined;
    if (buffer === undefined) {
      closeFd(fd);
      throw new TsvmmError(
        'ERR_TSVMM_KVM_IOCTL',
        `mapping the run page of vCPU ${id} failed: ${errnoName(this.runAddress)}`,
      );
    }
    this.#buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.run = new DataView(buffer);
  }

  close(): void {
    native().detach(this.#buffer);
    native().releaseMemory(this.runAddress);
    closeFd(this.fd);
  }

  get exitReason(): number {
    return this.run.getUint32(KvmRun.offset.exit_reason, true);
  }

  /** Not 0: a kick has come that no KVM_RUN has answered. */
  get immediateExit(): number {
    return this.bytes[KvmRun.offset.immediate_exit]!;
  }

  setImmediateExit(value: 0 | 1): void {
    this.bytes[KvmRun.offset.immediate_exit] = value;
  }

  /** The address of `immediate_exit`, for the loop watch. */
  get immediateExitAddress(): number {
    return this.runAddress + KvmRun.offset.immediate_exit;
  }

  /** The MSRs and hypercalls of paravirtual features that CPUID does not have are refused (KVM API §8.28). */
  enforcePvFeatures(): void {
    const request = new DataView(new ArrayBuffer(KvmEnableCap.size));
    request.setUint32(KvmEnableCap.offset.cap, Capability.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, true);
    request.setUint32(KvmEnableCap.offset.args, 1, true);
    must('KVM_ENABLE_CAP', native().ioctl(this.fd, Ioctl.KVM_ENABLE_CAP, request));
  }

  setCpuid(entries: Uint8Array): void {
    const request = new Uint8Array(KvmCpuid2.size + entries.length);
    new DataView(request.buffer).setUint32(KvmCpuid2.offset.nent, entries.length / KvmCpuidEntry2.size, true);
    request.set(entries, KvmCpuid2.size);
    must('KVM_SET_CPUID2', native().ioctl(this.fd, Ioctl.KVM_SET_CPUID2, request));
  }

  getRegs(): DataView {
    const regs = new DataView(new ArrayBuffer(KvmRegs.size));
    must('KVM_GET_REGS', native().ioctl(this.fd, Ioctl.KVM_GET_REGS, regs));
    return regs;
  }

  setRegs(regs: DataView): void {
    must('KVM_SET_REGS', native().ioctl(this.fd, Ioctl.KVM_SET_REGS, regs));
  }

  getSregs(): DataView {
    const sregs = new DataView(new ArrayBuffer(KvmSregs.size));
    must('KVM_GET_SREGS', native().ioctl(this.fd, Ioctl.KVM_GET_SREGS, sregs));
    return sregs;
  }

  setSregs(sregs: DataView): void {
    must('KVM_SET_SREGS', native().ioctl(this.fd, Ioctl.KVM_SET_SREGS, sregs));
  }

  getMpState(): number {
    const state = new Uint32Array(KvmMpState.size / 4);
    must('KVM_GET_MP_STATE', native().ioctl(this.fd, Ioctl.KVM_GET_MP_STATE, state));
    return state[0]!;
  }

  getEvents(): DataView {
    const events = new DataView(new ArrayBuffer(KvmVcpuEvents.size));
    must('KVM_GET_VCPU_EVENTS', native().ioctl(this.fd, Ioctl.KVM_GET_VCPU_EVENTS, events));
    return events;
  }

  setEvents(events: DataView): void {
    must('KVM_SET_VCPU_EVENTS', native().ioctl(this.fd, Ioctl.KVM_SET_VCPU_EVENTS, events));
  }

  /** Writes MSRs in order; throws naming the first that KVM refuses. */
  setMsrs(msrs: readonly Msr[]): void {
    const written = writeMsrs(this.fd, msrs);
    if (written === msrs.length) return;
    throw new TsvmmError('ERR_TSVMM_KVM_IOCTL', `KVM_SET_MSRS: MSR 0x${msrs[written]![0].toString(16)} was refused`);
  }
}

/**
 * Tells a guest with a paravirtual clock that its host has stopped it, so that its watchdogs do not bark; one without is not
 * told (EINVAL, KVM API §4.75). Nothing that can be saved: whoever loads a vCPU says it again.
 */
export function noteStop(vcpuFd: number): void {
  native().ioctl(vcpuFd, Ioctl.KVM_KVMCLOCK_CTRL, 0);
}
