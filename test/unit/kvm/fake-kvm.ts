/**
 * What KVM keeps of machines and vCPUs, as far as saving and loading ask for it: registers by descriptor, and a TSC that goes
 * on with a time of the test's own.
 */
import { Errno } from '../../../src/host/errno.js';
import type { Native } from '../../../src/host/native.js';
import { Sys } from '../../../src/host/system.js';
import { Ioctl } from '../../../src/kvm/ioctls.js';
import { KvmClockData, KvmDeviceAttr, KvmMsrEntry, KvmMsrs } from '../../../src/kvm/structs.js';

const MSR_IA32_TSC = 0x10;
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

export class FakeVcpu {
  /** By number; those that are not here do not exist. */
  msrs = new Map<number, bigint>();
  /** Can be read and not written. */
  readonly readOnly = new Set<number>();
  khz = 2_000_000;
  /** `KVM_SET_TSC_KHZ` works. */
  scales = false;
  tscOffset = 0n;
  /** By the ioctl that reads them; what was set last is what is read. */
  readonly parts = new Map<number, Uint8Array>();
}

export class FakeKvm {
  readonly vcpus = new Map<number, FakeVcpu>();
  /** The host's, when time stands at 0. */
  hostTsc = 1_000_000_000n;
  realtimeNs = 1_700_000_000_000_000_000n;
  clockNs = 0n;
  /** Before Linux 5.16 there is no attribute for the offset. */
  hasOffset = true;
  /** What was done, in order. */
  readonly calls: string[] = [];
  readonly #memory: BigInt64Array[] = [];

  /** Time passes, for everything. */
  pass(ns: bigint, khz = 2_000_000n): void {
    this.realtimeNs += ns;
    this.clockNs += ns;
    this.hostTsc += (ns * khz) / 1_000_000n;
  }

  /** What takes the place of `native()`. */
  get native(): Pick<Native, 'ioctl' | 'addressOf' | 'syscall'> {
    return {
      ioctl: (fd, request, argument) => this.#ioctl(fd, request, argument),
      addressOf: (view) => this.#memory.push(view as BigInt64Array),
      syscall: (number, _clock, time) => {
        if (number !== Sys.clockGettime) throw new Error(`system call ${number}`);
        const words = time as BigInt64Array;
        words[0] = this.realtimeNs / 1_000_000_000n;
        words[1] = this.realtimeNs % 1_000_000_000n;
        return 0;
      },
    };
  }

  tsc(fd: number): bigint {
    return u64(this.hostTsc + this.vcpus.get(fd)!.tscOffset);
  }

  #ioctl(fd: number, request: number, argument: unknown): number {
    const name = (Object.keys(Ioctl) as (keyof typeof Ioctl)[]).find((key) => Ioctl[key] === request)!;
    this.calls.push(`${fd} ${name}`);
    if (request === Ioctl.KVM_GET_CLOCK || request === Ioctl.KVM_SET_CLOCK)
      return this.#clock(request, argument as DataView);
    const vcpu = this.vcpus.get(fd)!;
    switch (request) {
      case Ioctl.KVM_GET_TSC_KHZ:
        return vcpu.khz;
      case Ioctl.KVM_SET_TSC_KHZ:
        if (!vcpu.scales) return -Errno.EINVAL;
        vcpu.khz = argument as number;
        return 0;
      case Ioctl.KVM_GET_DEVICE_ATTR:
      case Ioctl.KVM_SET_DEVICE_ATTR:
        return this.#offset(vcpu, request, argument as DataView);
      case Ioctl.KVM_GET_MSRS:
      case Ioctl.KVM_SET_MSRS:
        return this.#someMsrs(fd, request, argument as DataView);
      default:
        return this.#part(vcpu, name, argument as ArrayBufferView);
    }
  }

  #clock(request: number, data: DataView): number {
    const { clock } = KvmClockData.offset;
    if (request === Ioctl.KVM_SET_CLOCK) this.clockNs = data.getBigUint64(clock, true);
    else data.setBigUint64(clock, this.clockNs, true);
    return 0;
  }

  #offset(vcpu: FakeVcpu, request: number, data: DataView): number {
    if (!this.hasOffset) return -Errno.EINVAL;
    const value = this.#memory[Number(data.getBigUint64(KvmDeviceAttr.offset.addr, true)) - 1]!;
    if (request === Ioctl.KVM_SET_DEVICE_ATTR) vcpu.tscOffset = value[0]!;
    else value[0] = vcpu.tscOffset;
    return 0;
  }

  /** KVM API §4.18, §4.19: as many as it can, then it says how many that were. */
  #someMsrs(fd: number, request: number, data: DataView): number {
    const count = data.getUint32(KvmMsrs.offset.nmsrs, true);
    if (count > 256) return -Errno.E2BIG;
    for (let i = 0; i < count; i++) {
      const at = KvmMsrs.size + i * KvmMsrEntry.size;
      const index = data.getUint32(at + KvmMsrEntry.offset.index, true);
      const value = data.getBigUint64(at + KvmMsrEntry.offset.data, true);
      const done = request === Ioctl.KVM_GET_MSRS ? this.#readMsr(fd, index) : this.#writeMsr(fd, index, value);
      if (done === undefined) return i;
      data.setBigUint64(at + KvmMsrEntry.offset.data, done, true);
    }
    return count;
  }

  #readMsr(fd: number, index: number): bigint | undefined {
    return index === MSR_IA32_TSC ? this.tsc(fd) : this.vcpus.get(fd)!.msrs.get(index);
  }

  #writeMsr(fd: number, index: number, value: bigint): bigint | undefined {
    const vcpu = this.vcpus.get(fd)!;
    if (index === MSR_IA32_TSC) vcpu.tscOffset = BigInt.asIntN(64, value - this.hostTsc);
    else if (!vcpu.msrs.has(index) || vcpu.readOnly.has(index)) return undefined;
    else vcpu.msrs.set(index, value);
    return value;
  }

  #part(vcpu: FakeVcpu, name: string, view: ArrayBufferView): number {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const key = Ioctl[name.replace('_SET_', '_GET_') as keyof typeof Ioctl];
    if (name.includes('_SET_')) vcpu.parts.set(key, bytes.slice());
    else bytes.set(vcpu.parts.get(key) ?? new Uint8Array(bytes.length));
    return 0;
  }
}
