/**
 * A machine that goes on from where another was: what KVM holds of it beside its vCPUs, and the lines that its registers ask for
 * (contract §3.3). The worker of vCPU 0, when every vCPU has been loaded and none has run.
 *
 * Not main: parts of this touch guest memory, and whoever does may have to wait until it is there.
 */
import { generationId, gsi } from '../devices/memory-map.js';
import type { SetLine } from '../devices/wires.js';
import { native } from '../host/addon.js';
import { monotonicNs } from '../host/clock.js';
import { entropy } from '../host/random.js';
import type { ClockPolicy, ClockSave } from '../kvm/clock-save.js';
import type { VcpuSave, VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { KvmVm } from '../kvm/vm.js';
import { loadVm, type VmSave } from '../kvm/vm-save.js';
import { interruptTargets, reviveLines } from '../virtio/transport/platform-layout.js';
import type { VcpuAssignment } from './vcpu-protocol.js';

/** Plain data: posted to the worker. */
export interface Revival {
  readonly vm: VmSave;
  /** By which the guest's clocks are later. */
  readonly elapsedNs: number;
}

/** All that the vCPU of a machine with one goes on from. Plain data: posted to the worker. */
export interface Continuation {
  readonly vcpu: VcpuSave;
  readonly facts: VcpuSaveFacts;
  readonly vm: VmSave;
  readonly clock: ClockSave;
  readonly policy: ClockPolicy;
}

export function reviveMachine(
  { state, platform, descriptors, regions, mainDoorbell }: VcpuAssignment,
  vm: KvmVm,
  { vm: save, elapsedNs }: Revival,
): void {
  loadVm(vm.fd, save);
  const setLine: SetLine = (gsi, level) => void vm.setIrqLine(gsi, level);
  const targets = interruptTargets(state, platform, descriptors, setLine);
  reviveLines(state, platform, targets, setLine, { ns: monotonicNs(), elapsedNs });
  native().ring(mainDoorbell); // main plans the interrupts of the clock
  // Another machine goes on from there, too: a driver is told before the guest draws anything that must not repeat (trap T41).
  native().copyIn(regions[0]!.hostAddress + generationId.start, entropy(generationId.size));
  vm.setIrqLine(gsi.events, 1);
  vm.setIrqLine(gsi.events, 0);
}
