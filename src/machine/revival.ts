/** The vCPUs of a machine made of an image, and what KVM holds beside them, in the order of contract §3.3. Main thread. */
import { loadClock } from '../kvm/clock-save.js';
import type { VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { allSettled } from './all-settled.js';
import type { Origin } from './hardware.js';
import type { VmConfig } from './options.js';

/**
 * Whether the machine's vCPU can do all of it by itself as soon as it is made: there is no other one, no device that could make it wait
 * for main (contract §2.7), and no memory that has to be there before.
 */
export function goesOnAlone(
  { memory, transport }: Pick<VmConfig, 'memory' | 'transport'>,
  { image, prefault, pages }: Origin,
): boolean {
  const hasMemory = !memory.prefault && prefault === undefined && pages === undefined;
  return image?.parts.vcpus.length === 1 && transport === 'pci' && hasMemory;
}

/**
 * Of a vCPU that may still be on its way into its machine. Resolves when it is about to enter the guest; each answer that main would
 * wait for in between takes a third of a millisecond.
 */
export function goOnAlone(
  { image, clock: policy = 'catch-up' }: Origin,
  vcpu: VcpuHandle,
  facts: VcpuSaveFacts,
): Promise<void> {
  const { vcpus, vm, clock } = image!.parts;
  const entering = vcpu.goOn({ vcpu: vcpus[0]!, facts, vm, clock, policy });
  entering.catch(() => {}); // the caller's, when the vCPU exists
  return entering;
}

/** They exist, and none has run; none is to run without the others. */
export async function reviveVcpus(
  { image, clock = 'catch-up' }: Origin,
  vmFd: number,
  vcpus: readonly VcpuHandle[],
  facts: VcpuSaveFacts,
): Promise<void> {
  const { parts } = image!;
  const fds = vcpus.map(({ fd }) => fd);
  const elapsedNs = loadClock(vmFd, fds, parts.clock, clock);
  await allSettled(vcpus.map((vcpu, cpu) => vcpu.load(parts.vcpus[cpu]!, facts)));
  await vcpus[0]!.revive({ vm: parts.vm, elapsedNs });
}
