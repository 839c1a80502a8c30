/** The vCPUs of a machine made of an image, and what KVM holds beside them, in the order of contract §3.3. Main thread. */
import { loadClock } from '../kvm/clock-save.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { allSettled } from './all-settled.js';
import type { Origin } from './hardware.js';
import { kvmContext } from './kvm-context.js';

/**
 * Has the machine's vCPU do all of it by itself as soon as it is made, if there is no other one, no device that could make it wait
 * for main (contract §2.7), and no memory that has to be there before; resolves when it is about to enter the guest. Each answer
 * that main would wait for takes a third of a millisecond.
 */
export function goOnAlone(
  { image, clock: policy = 'catch-up', prefault, pages }: Origin,
  vcpus: readonly VcpuHandle[],
): Promise<void> | undefined {
  const isAlone = vcpus.length === 1 && prefault === undefined && pages === undefined;
  if (image === undefined || !isAlone || image.parts.shape.transport !== 'pci') return undefined;
  const { vcpus: saved, vm, clock } = image.parts;
  const entering = vcpus[0]!.goOn({ vcpu: saved[0]!, facts: kvmContext().saveFacts(), vm, clock, policy });
  entering.catch(() => {}); // the caller's, when the vCPU exists
  return entering;
}

/** They exist, and none has run; none is to run without the others. */
export async function reviveVcpus(
  { image, clock = 'catch-up' }: Origin,
  vmFd: number,
  vcpus: readonly VcpuHandle[],
): Promise<void> {
  const { parts } = image!;
  const facts = kvmContext().saveFacts();
  const fds = vcpus.map(({ fd }) => fd);
  const elapsedNs = loadClock(vmFd, fds, parts.clock, clock);
  await allSettled(vcpus.map((vcpu, cpu) => vcpu.load(parts.vcpus[cpu]!, facts)));
  await vcpus[0]!.revive({ vm: parts.vm, elapsedNs });
}
