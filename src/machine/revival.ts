/** The vCPUs of a machine made of an image, and what KVM holds beside them, in the order of contract §3.3. Main thread. */
import { type ClockPolicy, loadClock } from '../kvm/clock-save.js';
import type { VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { allSettled } from './all-settled.js';
import type { Hardware } from './hardware.js';
import type { MachineImage } from './machine-image.js';

/** They exist, and none has run. */
export async function reviveVcpus(
  { parts }: MachineImage,
  { vm }: Hardware,
  vcpus: readonly VcpuHandle[],
  clock: ClockPolicy,
  facts: VcpuSaveFacts,
): Promise<void> {
  const fds = vcpus.map(({ fd }) => fd);
  const elapsedNs = loadClock(vm.fd, fds, parts.clock, clock);
  const loads = vcpus.map((vcpu, cpu) => vcpu.load(parts.vcpus[cpu]!, facts));
  if (loads.length > 1) await allSettled(loads); // a single one takes its orders in turn
  await allSettled([...loads, vcpus[0]!.revive({ vm: parts.vm, elapsedNs })]);
}
