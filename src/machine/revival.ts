/** The vCPUs of a machine made of an image, and what KVM holds beside them, in the order of contract §3.3. Main thread. */
import { type ClockPolicy, loadClock } from '../kvm/clock-save.js';
import type { VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { allSettled } from './all-settled.js';
import type { Hardware } from './hardware.js';
import type { MachineImage } from './machine-image.js';

/**
 * They exist, and none has run. Resolves when the machine is as it was. A worker takes its orders in turn, and only what concerns
 * others is waited for: so a vCPU that is alone enters the guest at once, unless a device could make it wait for main
 * (contract §2.7). Of several none is to run without the others.
 */
export async function reviveVcpus(
  { parts }: MachineImage,
  hardware: Hardware,
  vcpus: readonly VcpuHandle[],
  clock: ClockPolicy,
  facts: VcpuSaveFacts,
): Promise<{ readonly entering: Promise<void> | undefined }> {
  const fds = vcpus.map(({ fd }) => fd);
  const elapsedNs = loadClock(hardware.vm.fd, fds, parts.clock, clock);
  const loading = allSettled(vcpus.map((vcpu, cpu) => vcpu.load(parts.vcpus[cpu]!, facts)));
  loading.catch(() => {}); // awaited below, unless the next call throws
  hardware.connectInterrupts();
  if (vcpus.length > 1) await loading;
  const reviving = vcpus[0]!.revive({ vm: parts.vm, elapsedNs });
  const isAlone = vcpus.length === 1 && parts.shape.transport === 'pci';
  const entering = isAlone ? vcpus[0]!.enter() : undefined;
  entering?.catch(() => {}); // the caller's, unless it is not revived
  await allSettled([loading, reviving]);
  return { entering };
}
