/** What the workers of a machine's vCPUs are given when they begin. Main thread. */
import { forVcpu } from '../kvm/cpuid.js';
import { encodeCpuid } from '../kvm/cpuid-entry.js';
import type { VcpuAssignment } from '../threads/vcpu-protocol.js';
import type { Hardware } from './hardware.js';
import type { KvmContext } from './kvm-context.js';
import type { VmConfig } from './options.js';

export function vcpuAssignments(
  { plan, state, regions, descriptors, doorbell }: Hardware,
  { runPageSize, enforcesPv }: KvmContext,
  topology: VmConfig['topology'],
  ioDoorbell: number,
): VcpuAssignment[] {
  return plan.apicIds.map((apicId, cpu) => ({
    cpu,
    runPageSize,
    enforcesPv,
    apicId,
    cpuid: encodeCpuid(forVcpu(plan.cpuid, apicId, topology)),
    state,
    control: plan.control,
    platform: plan.platform,
    descriptors: { virtio: descriptors },
    regions,
    mainDoorbell: doorbell.fd,
    ioDoorbell,
  }));
}
