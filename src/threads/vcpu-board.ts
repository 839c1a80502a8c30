/**
 * What a vCPU is plugged into on its worker: locks, wires and the code of all registers, over the machine's shared state. vCPU
 * worker.
 *
 * Built while main makes the KVM machine, which takes about as long.
 */
import { KvmVm } from '../kvm/vm.js';
import { type MachineControl, MachineControlMap, type VcpuControl, VcpuControlMap } from '../memory/control.js';
import { SharedLock } from '../memory/lock.js';
import { buildPlatform, type Platform } from '../virtio/transport/platform.js';
import type { VcpuAssignment, VcpuReport } from './vcpu-protocol.js';
import { VcpuWires } from './vcpu-wires.js';

export interface VcpuBoard {
  readonly assignment: VcpuAssignment;
  /** Not there yet when the board is new. */
  readonly vm: KvmVm;
  readonly machine: MachineControl;
  readonly control: VcpuControl;
  readonly lock: SharedLock;
  readonly topology: SharedLock;
  readonly wires: VcpuWires;
  readonly platform: Platform;
}

export function buildBoard(assignment: VcpuAssignment, report: (report: VcpuReport) => void): VcpuBoard {
  const { cpu, state, control: layout, regions, descriptors } = assignment;
  const vm = new KvmVm();
  const machine = MachineControlMap.over(state, layout.machine);
  const doorbells = { main: assignment.mainDoorbell, io: assignment.ioDoorbell };
  const wires = new VcpuWires(vm, machine, doorbells, (device, message, suppressed) =>
    report({ type: 'warning', device, message, suppressed }),
  );
  return {
    assignment,
    vm,
    machine,
    control: VcpuControlMap.over(state, layout.vcpus[cpu]!),
    lock: new SharedLock(machine.lock, machine.lockWaiters),
    topology: new SharedLock(machine.topologyLock, machine.topologyWaiters),
    wires,
    platform: buildPlatform(state, assignment.platform, wires, {
      vm,
      regions,
      descriptors,
      wakeMain: () => wires.wakeMain(),
    }),
  };
}
