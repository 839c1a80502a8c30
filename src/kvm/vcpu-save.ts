/**
 * What KVM holds of a vCPU, taken out and put back (KVM API §4.11 ff.; contract §3.3). Any thread, of a vCPU that is parked or
 * has never run.
 *
 * Each part is the bytes of KVM's own structure, so that nothing is lost that TypeScript has no name for. The order of loading
 * matters: MSRs are checked against CPUID, the local APIC's layout depends on its base (in sregs), the deadline of its timer
 * counts from the TSC and wants the timer's mode first, and pending events come last, as loading registers drops them.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Ioctl, lapicStateSize, xsaveSize } from './ioctls.js';
import { maxMsrs, must } from './kvm.js';
import { decodeMsrs, readMsr, readMsrs, writeMsrs } from './msrs.js';
import { KvmDebugregs, KvmMpState, KvmMsrEntry, KvmRegs, KvmSregs, KvmVcpuEvents, KvmXcrs } from './structs.js';

/** In the order in which they are loaded. */
export const vcpuParts = [
  'mp-state',
  'regs',
  'sregs',
  'xsave',
  'xcrs',
  'debugregs',
  'lapic',
  'msrs',
  'events',
] as const;
export type VcpuPart = (typeof vcpuParts)[number];
/** `msrs` is an array of `kvm_msr_entry`. */
export type VcpuSave = Readonly<Record<VcpuPart, Uint8Array>>;

/** What this KVM has to be asked for. */
export interface VcpuSaveFacts {
  /** Of KVM_GET_MSR_INDEX_LIST. */
  readonly msrs: readonly number[];
  /** Bytes of the extended state: of KVM_CAP_XSAVE2, 4096 without it. */
  readonly xsaveBytes: number;
}

/** Set from the machine's clock instead (clock-save.ts): the TSC goes on, or not, as the user wants. */
const MSR_IA32_TSC = 0x10;
const MSR_IA32_TSC_DEADLINE = 0x6e0;
const maxMsrsAtOnce = 256;

type Fixed = Exclude<VcpuPart, 'msrs' | 'xsave'>;
const fixed: Readonly<
  Record<Fixed, { readonly size: number; readonly get: keyof typeof Ioctl; readonly set: keyof typeof Ioctl }>
> = {
  'mp-state': { size: KvmMpState.size, get: 'KVM_GET_MP_STATE', set: 'KVM_SET_MP_STATE' },
  regs: { size: KvmRegs.size, get: 'KVM_GET_REGS', set: 'KVM_SET_REGS' },
  sregs: { size: KvmSregs.size, get: 'KVM_GET_SREGS', set: 'KVM_SET_SREGS' },
  xcrs: { size: KvmXcrs.size, get: 'KVM_GET_XCRS', set: 'KVM_SET_XCRS' },
  debugregs: { size: KvmDebugregs.size, get: 'KVM_GET_DEBUGREGS', set: 'KVM_SET_DEBUGREGS' },
  lapic: { size: lapicStateSize, get: 'KVM_GET_LAPIC', set: 'KVM_SET_LAPIC' },
  events: { size: KvmVcpuEvents.size, get: 'KVM_GET_VCPU_EVENTS', set: 'KVM_SET_VCPU_EVENTS' },
};

/** The MP state first: reading it delivers an INIT or SIPI that is pending (KVM API §4.38). */
export function saveVcpu(fd: number, facts: VcpuSaveFacts): VcpuSave {
  const get = (part: Fixed): Uint8Array => {
    const bytes = new Uint8Array(fixed[part].size);
    must(fixed[part].get, native().ioctl(fd, Ioctl[fixed[part].get], bytes));
    return bytes;
  };
  return {
    'mp-state': get('mp-state'),
    regs: get('regs'),
    sregs: get('sregs'),
    xsave: getXsave(fd, facts.xsaveBytes),
    xcrs: get('xcrs'),
    debugregs: get('debugregs'),
    lapic: get('lapic'),
    msrs: getMsrs(fd, facts.msrs),
    events: get('events'),
  };
}

/** Throws `ERR_TSVMM_SNAPSHOT` for bytes that cannot be a vCPU's, before KVM is asked; then what KVM refuses. */
export function loadVcpu(fd: number, save: VcpuSave, { xsaveBytes }: VcpuSaveFacts): void {
  checkVcpuSave(save, xsaveBytes);
  for (const part of vcpuParts) {
    if (part === 'msrs') setMsrs(fd, save.msrs);
    else if (part === 'xsave')
      must('KVM_SET_XSAVE', native().ioctl(fd, Ioctl.KVM_SET_XSAVE, padded(save.xsave, xsaveBytes)));
    else must(fixed[part].set, native().ioctl(fd, Ioctl[fixed[part].set], save[part]));
  }
}

/** Sizes as this KVM has them: it reads as many bytes as it knows of, whatever it is given. */
export function checkVcpuSave(save: VcpuSave, xsaveBytes: number): void {
  for (const part of vcpuParts) {
    const { length } = save[part];
    const fits =
      part === 'msrs'
        ? length % KvmMsrEntry.size === 0 && length <= maxMsrs * KvmMsrEntry.size // each may cost two calls
        : part === 'xsave'
          ? length >= xsaveSize && length <= xsaveBytes
          : length === fixed[part].size;
    if (fits) continue;
    throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `${part} of a vCPU has ${length} bytes, which this KVM does not know`, {
      hint: 'restore it on the host that made it, or on one with the same kernel and processor',
    });
  }
}

function getXsave(fd: number, bytes: number): Uint8Array {
  const state = new Uint8Array(bytes);
  if (bytes > xsaveSize) must('KVM_GET_XSAVE2', native().ioctl(fd, Ioctl.KVM_GET_XSAVE2, state));
  else must('KVM_GET_XSAVE', native().ioctl(fd, Ioctl.KVM_GET_XSAVE, state));
  return state;
}

/** What is beyond the saved bytes is a feature that the guest did not have: its initial state is zeroes. */
function padded(bytes: Uint8Array, length: number): Uint8Array {
  const room = new Uint8Array(length);
  room.set(bytes);
  return room;
}

/** KVM lists what some vCPU may have; one that this vCPU does not have ends the call and is left out. */
function getMsrs(fd: number, indices: readonly number[]): Uint8Array {
  const ordered = indices.filter((index) => index !== MSR_IA32_TSC && index !== MSR_IA32_TSC_DEADLINE);
  ordered.push(MSR_IA32_TSC_DEADLINE);
  const read: Uint8Array[] = [];
  for (let from = 0; from < ordered.length; ) {
    const wanted = ordered.slice(from, from + maxMsrsAtOnce);
    const entries = readMsrs(fd, wanted);
    const count = entries.length / KvmMsrEntry.size;
    read.push(entries);
    from += count < wanted.length ? count + 1 : count;
  }
  return Buffer.concat(read);
}

/** One that KVM refuses is left alone if it has that value anyway: some can be read and not written. */
function setMsrs(fd: number, entries: Uint8Array): void {
  const msrs = decodeMsrs(entries);
  for (let from = 0; from < msrs.length; ) {
    const some = msrs.slice(from, from + maxMsrsAtOnce);
    const count = writeMsrs(fd, some);
    from += count;
    if (count === some.length) continue;
    const [index, value] = msrs[from]!;
    if (readMsr(fd, index) !== value)
      throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `this KVM refuses to set MSR 0x${index.toString(16)} of a vCPU`, {
        hint: 'restore it on the host that made it, or on one with the same kernel and processor',
      });
    from++;
  }
}
