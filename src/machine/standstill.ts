/**
 * What a machine showed when it came to stand still, for whoever goes on from there: itself, a fork, one that is restored. Main
 * thread, every vCPU parked.
 *
 * The host's time passes meanwhile, and with it every clock and timer that counts from it; the moment that counts is this one.
 */
import { keepTimer, stampChipset } from '../devices/chipset.js';
import { TsvmmError } from '../errors.js';
import { monotonicNs } from '../host/clock.js';
import { asHeld, type HeldClocks, holdClocks, letClocksGoOn } from '../kvm/held-clocks.js';
import { saveVcpu, type VcpuSave, type VcpuSaveFacts } from '../kvm/vcpu-save.js';
import { saveVm, type VmSave } from '../kvm/vm-save.js';
import type { Hardware } from './hardware.js';

export interface Standstill {
  readonly clocks: HeldClocks;
  /** The host's, as the timer of power management counts it. */
  readonly ns: number;
  /** Devices that hold answers for drivers which cannot be told (io-protocol.ts): they are not in the machine's state. */
  readonly held: readonly string[];
}

export const standStill = ({ vm }: Hardware, vcpuFds: readonly number[], held: readonly string[]): Standstill => ({
  clocks: holdClocks(vm.fd, vcpuFds),
  ns: monotonicNs(),
  held,
});

/** Whoever goes on from there would wait for them for ever. */
export function refuseHeld({ held }: Standstill): void {
  if (held.length === 0) return;
  throw new TsvmmError(
    'ERR_TSVMM_STATE',
    `${held.join(' and ')} cannot be captured: the guest has turned PCI bus mastering off with requests under way`,
    { hint: 'try again: a driver does that for a moment when it stops its device' },
  );
}

/** It goes on as if no time had passed. */
export function goOnFrom({ clocks, ns }: Standstill, hardware: Hardware, vcpuFds: readonly number[]): void {
  letClocksGoOn(hardware.vm.fd, vcpuFds, clocks);
  keepTimer(hardware.state, hardware.plan.platform.chipset, ns, monotonicNs());
}

/** Everything but memory, as it was then. */
export function saveStandstill(
  { clocks, ns }: Standstill,
  { plan, vm, state: own }: Hardware,
  vcpuFds: readonly number[],
  facts: VcpuSaveFacts,
): { readonly state: ArrayBufferLike; readonly vcpus: readonly VcpuSave[]; readonly vm: VmSave } {
  const state = own.slice(0);
  stampChipset(state, plan.platform.chipset, ns);
  const vcpus = vcpuFds.map((fd, cpu) => asHeld(saveVcpu(fd, facts), clocks.timers[cpu]!));
  return { state, vcpus, vm: { ...saveVm(vm.fd), pit: clocks.pit } };
}
