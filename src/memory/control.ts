/**
 * The words by which a machine's threads talk: part of machine state. Any thread, by `Atomics` only.
 *
 * One `MachineControl` per machine, one `VcpuControl` per vCPU. Indices of exit counters are KVM's exit reasons.
 */
import { type RegistersOf, registerMap, words } from './registers.js';

export const MachineControlMap = registerMap('machine-control', {
  /** Owner of the machine lock: 0 free, else `lockOwner(cpu)` or `mainOwner`. */
  lock: words(1),
  /** Threads that sleep for the machine lock. */
  lockWaiters: words(1),
  topologyLock: words(1),
  topologyWaiters: words(1),
  /** An `eventWord`, by compare-and-exchange from 0: the first wins, with its detail. */
  event: words(1),
  /** Set by the SIGBUS guard: the host could not supply a page of RAM. */
  memoryFailed: words(1),
  /** 1 while main's doorbell has been rung and not yet answered: one ring per wake. */
  mainRung: words(1),
});
export type MachineControl = RegistersOf<typeof MachineControlMap>;

/** A `MachineEvent` and its detail, a byte, in one word: whoever sees the one sees the other. */
export const eventWord = (event: number, detail: number): number => event | (detail << 8);
export const eventOf = (word: number): number => word & 0xff;
export const eventDetail = (word: number): number => (word >>> 8) & 0xff;

/** Requests of main, in `request[0]`. */
export const VcpuRequest = {
  none: 0,
  /** Leave the guest, complete what is under way, do not enter again. */
  park: 1,
  /** Leave the guest for good. */
  stop: 2,
} as const;

/** What the vCPU says of itself, in `state[0]`. */
export const VcpuState = { created: 0, running: 1, parked: 2, stopped: 3 } as const;

export const exitCounters = 48;

export const VcpuControlMap = registerMap('vcpu-control', {
  request: words(1),
  state: words(1),
  /** Exits by KVM exit reason, modulo 2^32. */
  exits: words(exitCounters),
  /** KVM_RUN interrupted: kicks, and signals of profilers. */
  interrupted: words(1),
});
export type VcpuControl = RegistersOf<typeof VcpuControlMap>;

/** Lock owners: main is 1, vCPU n is n + 2. */
export const mainOwner = 1;
export const lockOwner = (cpu: number): number => cpu + 2;

export interface ControlLayout {
  readonly machine: number;
  readonly vcpus: readonly number[];
  readonly end: number;
}

export function layoutControl(cpus: number, base: number): ControlLayout {
  const vcpus = Array.from({ length: cpus }, (_, cpu) => base + MachineControlMap.size + cpu * VcpuControlMap.size);
  return { machine: base, vcpus, end: base + MachineControlMap.size + cpus * VcpuControlMap.size };
}
