/**
 * /dev/kvm: the system descriptor, what this KVM can do, and a clear error when it cannot. Any thread.
 *
 * Each thread that needs it opens its own; answers that cost time (supported CPUID: 0.7 ms) are asked once per process
 * by main and handed to the workers.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { raiseOpenFiles, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { permissionFlags } from '../host/runtime.js';
import { Capability, type CapabilityName, Ioctl, required } from './ioctls.js';
import { KvmCpuid2, KvmCpuidEntry2, KvmMsrList } from './structs.js';

const apiVersion = 12; // the only one there ever was since 2.6.22 (KVM API §4.1)
const maxCpuidEntries = 512;
/** More than KVM lists of them. */
export const maxMsrs = 2048;

const remedies: Readonly<Record<number, string>> = {
  [Errno.ENOMEM]: 'the host is out of memory for this machine: ask for less',
  [Errno.EMFILE]: raiseOpenFiles,
};

/** An ioctl that must succeed; throws `ERR_TSVMM_KVM_IOCTL` naming it. Returns the result. */
export function must(name: keyof typeof Ioctl, result: number): number {
  if (result >= 0) return result;
  throw new TsvmmError('ERR_TSVMM_KVM_IOCTL', `${name} failed: ${errnoName(result)}`, {
    details: { ioctl: name, errno: -result },
    hint: remedies[-result] ?? 'run: tsvmm doctor',
  });
}

export class Kvm {
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Opens `path`; every reason that it cannot be used has a code and a remedy of its own. */
  static open(path = '/dev/kvm'): Kvm {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR); // Node adds O_CLOEXEC
    } catch (error) {
      throw openError(path, (error as NodeJS.ErrnoException).code ?? '', error);
    }
    const version = native().ioctl(fd, Ioctl.KVM_GET_API_VERSION, 0);
    if (version !== apiVersion) {
      closeSync(fd);
      throw new TsvmmError(
        'ERR_TSVMM_KVM_MISSING',
        `${path} is not KVM (API version ${version < 0 ? errnoName(version) : version}, not 12)`,
        {
          hint: 'load the module: modprobe kvm_intel (or kvm_amd)',
        },
      );
    }
    return new Kvm(fd);
  }

  close(): void {
    closeSync(this.fd);
  }

  /** The value of a capability; 0 is absent. */
  capability(name: CapabilityName): number {
    return Math.max(0, native().ioctl(this.fd, Ioctl.KVM_CHECK_EXTENSION, Capability[name]));
  }

  /** Names of the required capabilities that this KVM lacks. */
  missing(): CapabilityName[] {
    return required.filter((name) => this.capability(name) === 0);
  }

  /** Throws `ERR_TSVMM_KVM_CAPABILITY` naming every missing capability. */
  requireAll(): void {
    const missing = this.missing();
    if (missing.length === 0) return;
    throw new TsvmmError('ERR_TSVMM_KVM_CAPABILITY', `this KVM lacks ${missing.join(', ')}`, {
      hint: 'use a host with Linux 4.19 or newer',
      details: { missing },
    });
  }

  /** Most vCPUs one machine may have. */
  maxVcpus(): number {
    return this.capability('KVM_CAP_MAX_VCPUS') || this.capability('KVM_CAP_NR_VCPUS') || 4;
  }

  /** vCPU ids are below this; without the capability, ids are as many as vCPUs (KVM API §4.7). */
  maxVcpuId(): number {
    return this.capability('KVM_CAP_MAX_VCPU_ID') || this.maxVcpus();
  }

  runPageSize(): number {
    return must('KVM_GET_VCPU_MMAP_SIZE', native().ioctl(this.fd, Ioctl.KVM_GET_VCPU_MMAP_SIZE, 0));
  }

  /** The `kvm_cpuid_entry2` array that KVM supports on this host, as bytes. */
  supportedCpuid(): Uint8Array {
    const buffer = new Uint8Array(KvmCpuid2.size + maxCpuidEntries * KvmCpuidEntry2.size);
    const view = new DataView(buffer.buffer);
    view.setUint32(KvmCpuid2.offset.nent, maxCpuidEntries, true);
    must('KVM_GET_SUPPORTED_CPUID', native().ioctl(this.fd, Ioctl.KVM_GET_SUPPORTED_CPUID, buffer));
    const count = view.getUint32(KvmCpuid2.offset.nent, true);
    return buffer.slice(KvmCpuid2.size, KvmCpuid2.size + count * KvmCpuidEntry2.size);
  }

  /** MSRs that this KVM saves and restores. */
  msrIndices(): number[] {
    const buffer = new Uint32Array(1 + maxMsrs);
    buffer[0] = maxMsrs;
    must('KVM_GET_MSR_INDEX_LIST', native().ioctl(this.fd, Ioctl.KVM_GET_MSR_INDEX_LIST, buffer));
    return Array.from(buffer.subarray(KvmMsrList.offset.indices / 4, 1 + buffer[0]!));
  }
}

function openError(path: string, code: string, cause: unknown): TsvmmError {
  if (code === 'EACCES' || code === 'EPERM') {
    return new TsvmmError('ERR_TSVMM_KVM_DENIED', `no permission to open ${path}`, {
      hint: 'join the group that owns it, then log in again: sudo usermod -aG kvm $USER',
      cause,
    });
  }
  // Node's permission model, which is asked before the kernel.
  if (code === 'ERR_ACCESS_DENIED') {
    return new TsvmmError('ERR_TSVMM_KVM_DENIED', `this process may not open ${path}`, {
      hint: `run Node.js with ${permissionFlags}`,
      cause,
    });
  }
  const hints: Record<string, string> = {
    ENOENT: 'load the module (modprobe kvm_intel or kvm_amd); in a virtual machine, enable nested virtualization first',
    ENXIO: 'load the module (modprobe kvm_intel or kvm_amd); the device node is there without its driver',
    ENODEV: 'enable virtualization (VT-x or AMD-V) in the firmware, then load kvm_intel or kvm_amd',
  };
  return new TsvmmError('ERR_TSVMM_KVM_MISSING', `${path} cannot be opened: ${code || String(cause)}`, {
    hint: hints[code] ?? 'run: tsvmm doctor',
    cause,
  });
}
