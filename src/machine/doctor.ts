/**
 * Can virtual machines run here, and if not, what is to be done? Main thread; behind `tsvmm doctor`.
 *
 * Each check stands for itself and never throws; a check that the ones before it make pointless is left out.
 */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { asTsvmmError } from '../errors.js';
import { loadAddon, native } from '../host/addon.js';
import { errnoName } from '../host/errno.js';
import { IoUringEngine } from '../host/io-uring.js';
import { whyNotThisRuntime } from '../host/runtime.js';
import { Kvm } from '../kvm/kvm.js';
import { memoryChecks } from './doctor-memory.js';
import { mitigationCheck } from './doctor-mitigations.js';
import { probe } from './doctor-probe.js';

export interface DoctorCheck {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do, as a sentence or a command. */
  readonly fix?: string;
}

export interface DoctorReport {
  readonly checks: readonly DoctorCheck[];
  /** False when no machine can run at all. */
  readonly ok: boolean;
  /** True when stock distribution kernels can boot, not only guests made for it. */
  readonly stockKernels: boolean;
}

/** KVM_CAP_IMMEDIATE_EXIT is from 4.13 and hardware bugs that guests could use were fixed until here (trap T60). */
const oldestKernel: readonly [number, number] = [4, 19];
const enoughDescriptors = 4096;

const fail = (name: string, message: string, fix?: string): DoctorCheck => ({
  name,
  status: 'fail',
  message,
  ...(fix === undefined ? {} : { fix }),
});
const warn = (name: string, message: string, fix?: string): DoctorCheck => ({
  ...fail(name, message, fix),
  status: 'warn',
});
const ok = (name: string, message: string): DoctorCheck => ({ name, status: 'ok', message });

export async function doctor(): Promise<DoctorReport> {
  const checks: DoctorCheck[] = [];
  const done = (stockKernels = false): DoctorReport => ({
    checks,
    ok: checks.every(({ status }) => status !== 'fail'),
    stockKernels,
  });
  const foreign = whyNotThisRuntime();
  if (foreign !== undefined) {
    checks.push(fail('node', foreign.message, foreign.hint));
    return done();
  }
  checks.push(ok('node', `${process.version} on ${process.platform} ${process.arch}`));
  try {
    loadAddon();
    checks.push(ok('addon', 'the native addon loads'));
    native();
  } catch (error) {
    const { code, message, hint } = asTsvmmError(error, 'ERR_TSVMM_NATIVE_MISSING');
    checks.push(fail(code === 'ERR_TSVMM_UNSUPPORTED_PLATFORM' ? 'platform' : 'addon', message, hint));
    return done();
  }
  checks.push(kernel(), mitigationCheck(), ioUring(), ...memoryChecks(), descriptors());
  return done(checkKvm(checks));
}

/** KVM from the device node to a guest that runs; true if stock kernels can boot. */
function checkKvm(checks: DoctorCheck[]): boolean {
  let kvm: Kvm;
  try {
    kvm = Kvm.open();
  } catch (error) {
    const { message, hint } = asTsvmmError(error, 'ERR_TSVMM_KVM_MISSING');
    checks.push(fail('kvm', message, hint));
    return false;
  }
  try {
    const missing = kvm.missing();
    checks.push(
      missing.length === 0
        ? ok('kvm', `usable, with all capabilities, up to ${kvm.maxVcpus()} vCPUs a machine`)
        : fail('kvm', `lacks ${missing.join(', ')}`, 'use a host with a newer kernel'),
    );
    if (missing.length > 0) return false;
    const result = probe(kvm);
    checks.push(guestCheck(result.hardware, result.millionsPerSecond, result.detail));
    return result.hardware;
  } catch (error) {
    const { message, hint } = asTsvmmError(error, 'ERR_TSVMM_KVM_IOCTL');
    checks.push(fail('guest', `a tiny guest could not be run: ${message}`, hint));
    return false;
  } finally {
    kvm.close();
  }
}

function guestCheck(hardware: boolean, millions: number, detail: string): DoctorCheck {
  const speed = `${millions < 10 ? millions.toFixed(1) : Math.round(millions)} million kernel-mode instructions a second`;
  if (hardware) return ok('guest', `hardware virtualization: ${speed}`);
  const why = detail === '' ? speed : `${speed}; an instruction that kernels need ended in ${detail}`;
  return warn(
    'guest',
    `this KVM emulates the guest's kernel mode (${why}), so stock kernels cannot boot here`,
    'use a host whose KVM has VT-x or AMD-V (bare metal, or a VM with nested virtualization); guests made for it run here all the same',
  );
}

function kernel(): DoctorCheck {
  const version = release();
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  const old = major < oldestKernel[0] || (major === oldestKernel[0] && minor < oldestKernel[1]);
  return old
    ? warn('kernel', `Linux ${version} is older than ${oldestKernel.join('.')}`, 'use a newer kernel')
    : ok('kernel', `Linux ${version}`);
}

function ioUring(): DoctorCheck {
  const engine = IoUringEngine.open();
  if (typeof engine === 'number') {
    return warn(
      'io_uring',
      `not available (${errnoName(engine)}): disks go through epoll, which is slower`,
      'allow it: sysctl kernel.io_uring_disabled=0, and in containers a seccomp profile with io_uring',
    );
  }
  engine.close();
  return ok('io_uring', 'available');
}

/** Soft limit of open files; each machine takes about 20. */
function descriptors(): DoctorCheck {
  let limit = Number.POSITIVE_INFINITY;
  try {
    const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    if (soft !== undefined && soft !== 'unlimited') limit = Number(soft);
  } catch {
    return warn('descriptors', '/proc/self/limits cannot be read');
  }
  return limit < enoughDescriptors
    ? warn('descriptors', `at most ${limit} open files`, 'for many machines raise it: ulimit -n 65536')
    : ok('descriptors', `up to ${limit} open files`);
}
