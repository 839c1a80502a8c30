/**
 * What main and a vCPU worker say to each other: two closed unions. Both sides.
 *
 * Urgent things do not wait for a message: stop and park are words in machine state followed by a kick (contract §2.2).
 */

import type { WireError } from '../errors.js';
import type { StartState } from '../kvm/start-state.js';
import type { VcpuSave, VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { ControlLayout } from '../memory/control.js';
import type { CopyJob } from '../memory/copy-job.js';
import type { RamRegion } from '../memory/guest-memory.js';
import type { HostRange } from '../memory/populate.js';
import type { PlatformDescriptors, PlatformLayout } from '../virtio/transport/platform.js';
import type { Continuation, Revival } from './revive.js';

/** How nice its thread is: the program that embeds us stays responsive (contract §1.8). */
export const vcpuNice = 10;

/** What a worker is started with that is to be kept warm: see rehearsal.ts. */
export const rehearsing = 'rehearsing';

/** Everything a worker needs to run one vCPU of a KVM machine; plain data, numbers and one shared buffer. */
export interface VcpuAssignment {
  readonly cpu: number;
  /** Its number in KVM, which is its APIC id. */
  readonly apicId: number;
  readonly runPageSize: number;
  /** This KVM can refuse paravirtual features that `cpuid` does not have. */
  readonly enforcesPv: boolean;
  /** `kvm_cpuid_entry2` array of this vCPU. */
  readonly cpuid: Uint8Array;
  readonly state: SharedArrayBuffer;
  readonly control: ControlLayout;
  readonly platform: PlatformLayout;
  readonly descriptors: PlatformDescriptors;
  readonly regions: readonly RamRegion[];
  /** eventfd of main: events and console output. */
  readonly mainDoorbell: number;
  /** eventfd of the I/O worker: a device's lifecycle changed. -1 if there is no data path. */
  readonly ioDoorbell: number;
}

/** main -> vCPU worker */
export type VcpuCommand =
  /** An order will come soon. A thread that has slept for long takes a third of a millisecond to hear of one. */
  | { readonly type: 'wake' }
  /** The code of its registers, while main makes the machine; not answered unless it fails. */
  | { readonly type: 'build'; readonly assignment: VcpuAssignment }
  | { readonly type: 'create'; readonly vmFd: number }
  /** What was built is not needed after all; answered as `close` is. */
  | { readonly type: 'forget' }
  /** Faults a share of guest RAM in, before the guest is entered; `writes`: as pages of its own. */
  | { readonly type: 'prefault'; readonly ranges: readonly HostRange[]; readonly writes: boolean }
  /** Enter the guest: after creation, and after a park. `start`: where the boot processor begins. */
  | { readonly type: 'enter'; readonly start: StartState | undefined }
  /** Puts back what KVM held of a vCPU of another machine. */
  | { readonly type: 'load'; readonly save: VcpuSave; readonly facts: VcpuSaveFacts }
  /** Machine state was brought from elsewhere: the kernel is given what it holds of it, doorbells too. Of vCPU 0, once all are loaded. */
  | { readonly type: 'revive'; readonly revival: Revival }
  /** Clocks, both of these, and into the guest: of the only vCPU of a machine, with no answer in between. */
  | { readonly type: 'go-on'; readonly from: Continuation }
  /** Copies memory, or helps to: while its vCPU is parked, or without one. */
  | { readonly type: 'copy'; readonly job: CopyJob }
  /** Frees pages of a `PagesAside`. */
  | { readonly type: 'free'; readonly parts: readonly HostRange[] }
  /** Ends a vCPU that is not in the guest: parked, failed, or never entered. */
  | { readonly type: 'close' };

/** vCPU worker -> main */
export type VcpuReport =
  /** The worker is idle and may be given a vCPU. */
  | { readonly type: 'idle' }
  /** `watch`: by which main kicks it; `fd`: of the vCPU, for as long as it is there (contract §2.4). */
  | { readonly type: 'created'; readonly watch: number; readonly fd: number }
  | { readonly type: 'loaded' }
  | { readonly type: 'revived' }
  | { readonly type: 'prefaulted' }
  | { readonly type: 'entered' }
  /** With an error there is a chunk that was not copied; the vCPU is as it was. */
  | { readonly type: 'copied'; readonly error: WireError | undefined }
  | { readonly type: 'freed' }
  | { readonly type: 'parked' }
  /** The vCPU is closed; the worker is idle again. */
  | { readonly type: 'stopped' }
  /** Orders that follow one that has failed are not answered. */
  | { readonly type: 'failed'; readonly error: WireError }
  | { readonly type: 'warning'; readonly device: string; readonly message: string; readonly suppressed: number };
