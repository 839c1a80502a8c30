/** Model-specific registers of a vCPU, one or many in a call (KVM API §4.18, §4.19). Any thread, the vCPU parked or never run. */
import { native } from '../host/addon.js';
import { Ioctl } from './ioctls.js';
import { must } from './kvm.js';
import { KvmMsrEntry, KvmMsrs } from './structs.js';

export type Msr = readonly [index: number, value: bigint];

/** Writes them in order; how many, before the first that KVM refuses. */
export const writeMsrs = (fd: number, msrs: readonly Msr[]): number =>
  must('KVM_SET_MSRS', native().ioctl(fd, Ioctl.KVM_SET_MSRS, request(msrs)));

/** An array of `kvm_msr_entry`, of as many as KVM has before the first that it does not have. */
export function readMsrs(fd: number, indices: readonly number[]): Uint8Array {
  const wanted = request(indices.map((index) => [index, 0n]));
  const count = must('KVM_GET_MSRS', native().ioctl(fd, Ioctl.KVM_GET_MSRS, wanted));
  return new Uint8Array(wanted.buffer, KvmMsrs.size, count * KvmMsrEntry.size);
}

/** Undefined where the vCPU has no such register. */
export function readMsr(fd: number, index: number): bigint | undefined {
  const entry = readMsrs(fd, [index]);
  return entry.length === 0 ? undefined : decodeMsrs(entry)[0]![1];
}

/** False where KVM refuses. */
export const writeMsr = (fd: number, index: number, value: bigint): boolean => writeMsrs(fd, [[index, value]]) === 1;

export function decodeMsrs(entries: Uint8Array): Msr[] {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.length);
  return Array.from({ length: Math.floor(entries.length / KvmMsrEntry.size) }, (_, i) => {
    const at = i * KvmMsrEntry.size;
    return [view.getUint32(at + KvmMsrEntry.offset.index, true), view.getBigUint64(at + KvmMsrEntry.offset.data, true)];
  });
}

/** The same array with another value of one of them, if it is there. */
export function withMsr(entries: Uint8Array, index: number, value: bigint): Uint8Array {
  const copy = new Uint8Array(entries); // of memory of its own, which a slice of a Buffer is not
  const at = decodeMsrs(copy).findIndex(([own]) => own === index) * KvmMsrEntry.size;
  if (at >= 0) new DataView(copy.buffer).setBigUint64(at + KvmMsrEntry.offset.data, value, true);
  return copy;
}

function request(msrs: readonly Msr[]): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(KvmMsrs.size + msrs.length * KvmMsrEntry.size));
  view.setUint32(KvmMsrs.offset.nmsrs, msrs.length, true);
  msrs.forEach(([index, value], i) => {
    const at = KvmMsrs.size + i * KvmMsrEntry.size;
    view.setUint32(at + KvmMsrEntry.offset.index, index, true);
    view.setBigUint64(at + KvmMsrEntry.offset.data, value, true);
  });
  return view;
}
