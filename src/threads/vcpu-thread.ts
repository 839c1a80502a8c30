/**
 * One vCPU's life on its worker: create, enter, serve exits, park, stop (contract §1.1, §2.2, §2.3). vCPU worker.
 *
 * Between two returns to the event loop this thread is synchronous. Whatever Node or main wants of it arrives as a kick:
 * KVM_RUN ends with EINTR, `immediate_exit` is cleared first and the request words are read after, so that a kick that
 * comes in between is not lost.
 */

import { MachineEvent } from '../devices/wires.js';
import { asTsvmmError, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { monotonicMs } from '../host/clock.js';
import { Errno } from '../host/errno.js';
import { raiseNice } from '../host/system.js';
import { loadClock } from '../kvm/clock-save.js';
import { describeExit } from '../kvm/exit-report.js';
import { Exit, SystemEvent } from '../kvm/ioctls.js';
import { must } from '../kvm/kvm.js';
import { type StartState, setFirmwareMsrs, setStartState } from '../kvm/start-state.js';
import { KvmRun, KvmRunExits } from '../kvm/structs.js';
import { noteStop, Vcpu } from '../kvm/vcpu.js';
import { loadVcpu, type VcpuSave, type VcpuSaveFacts } from '../kvm/vcpu-save.js';
import type { KvmVm } from '../kvm/vm.js';
import {
  exitCounters,
  lockOwner,
  type MachineControl,
  type VcpuControl,
  VcpuRequest,
  VcpuState,
} from '../memory/control.js';
import type { SharedLock } from '../memory/lock.js';
import { type HostRange, populate } from '../memory/populate.js';
import type { Platform } from '../virtio/transport/platform.js';
import { type Continuation, type Revival, reviveMachine } from './revive.js';
import type { VcpuBoard } from './vcpu-board.js';
import { serveIo, serveMmio } from './vcpu-exits.js';
import { type VcpuAssignment, type VcpuReport, vcpuNice } from './vcpu-protocol.js';
import type { VcpuWires } from './vcpu-wires.js';

/** Bytes of RAM faulted in between two looks at the event loop: some milliseconds. */
const prefaultStep = 16 * 1024 ** 2;

/** What the loop does after an exit. */
type Next = 'go on' | 'hold' | 'yield' | 'park' | 'stop' | 'fail';

/** One sleep of a vCPU that is held; a kick is seen at its end (docs/decisions/0003-waiting-for-the-machine-lock.md). */
const holdSleepMs = 2;
/** A device that has not let go of guest memory by then is stuck in its host: Linux gives up requests after 30 s. */
const holdDeadlineMs = 60_000;

export class VcpuThread {
  readonly #assignment: VcpuAssignment;
  readonly #report: (report: VcpuReport) => void;
  readonly #vm: KvmVm;
  readonly #vcpu: Vcpu;
  #watch = -1;
  readonly #machine: MachineControl;
  readonly #control: VcpuControl;
  readonly #lock: SharedLock;
  readonly #topology: SharedLock;
  readonly #owner: number;
  readonly #wires: VcpuWires;
  readonly #platform: Platform;
  #failure: TsvmmError | undefined;
  #heldSince: number | undefined;
  #closed = false;

  /** The machine of its board is there. */
  constructor(
    { assignment, vm, machine, control, lock, topology, wires, platform }: VcpuBoard,
    report: (report: VcpuReport) => void,
  ) {
    this.#assignment = assignment;
    this.#report = report;
    this.#owner = lockOwner(assignment.cpu);
    this.#vm = vm;
    this.#machine = machine;
    this.#control = control;
    this.#lock = lock;
    this.#topology = topology;
    this.#wires = wires;
    this.#platform = platform;
    this.#vcpu = new Vcpu(assignment.cpu, vm.createVcpu(assignment.apicId), assignment.runPageSize);
    try {
      if (assignment.enforcesPv) this.#vcpu.enforcePvFeatures();
      this.#vcpu.setCpuid(assignment.cpuid);
      setFirmwareMsrs(this.#vcpu);
      raiseNice(vcpuNice);
      this.#watch = must('KVM_RUN', native().watchLoop(this.#vcpu.immediateExitAddress));
      report({ type: 'created', watch: this.#watch, fd: this.#vcpu.fd });
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  prefault(ranges: readonly HostRange[], writes: boolean): void {
    this.#prefaultFrom(ranges, 0, 0, writes);
  }

  /** A step in each turn of the event loop, so that the order to close comes in between. */
  readonly #prefaultFrom = (ranges: readonly HostRange[], index: number, done: number, writes: boolean): void => {
    if (this.#closed) return;
    try {
      for (let left = prefaultStep; left > 0 && index < ranges.length; ) {
        const { address, length } = ranges[index]!;
        const step = Math.min(length - done, left);
        populate(address + done, step, writes);
        left -= step;
        done += step;
        if (done < length) continue;
        index++;
        done = 0;
      }
    } catch (error) {
      this.#report({ type: 'failed', error: asTsvmmError(error, 'ERR_TSVMM_CONFIG').toWire() });
      return;
    }
    if (index === ranges.length) this.#report({ type: 'prefaulted' });
    else setImmediate(this.#prefaultFrom, ranges, index, done, writes);
  };

  /** Enters the guest at the next turn of the event loop: at `start`, or where it is. */
  enter(start: StartState | undefined): void {
    if (start !== undefined) setStartState(this.#vcpu, start);
    Atomics.store(this.#control.state, 0, VcpuState.running);
    this.#report({ type: 'entered' });
    setImmediate(this.#turn);
  }

  /** What KVM held of a vCPU of another machine. Its clocks have been set. */
  load(save: VcpuSave, facts: VcpuSaveFacts): void {
    this.#load(save, facts);
    this.#report({ type: 'loaded' });
  }

  /** Machine state came from elsewhere: what the kernel has of it is made so. No vCPU is in the guest yet. */
  revive(revival: Revival): void {
    this.#revive(revival);
    this.#report({ type: 'revived' });
  }

  /** All of it in a row, and into the guest: of a vCPU that has no others to wait for. */
  goOn({ vcpu, facts, vm, clock, policy }: Continuation): void {
    const elapsedNs = loadClock(this.#vm.fd, [this.#vcpu.fd], clock, policy);
    this.#load(vcpu, facts);
    this.#revive({ vm, elapsedNs });
    this.enter(undefined);
  }

  #load(save: VcpuSave, facts: VcpuSaveFacts): void {
    loadVcpu(this.#vcpu.fd, save, facts);
    noteStop(this.#vcpu.fd);
  }

  #revive(revival: Revival): void {
    reviveMachine(this.#assignment, this.#vm, revival);
    for (const task of this.#platform.doorbells) this.#wires.afterwards(task);
    this.#runTasks();
  }

  /** Leaves KVM for good. Nobody kicks this thread for this vCPU any more once it returns. */
  close(): void {
    this.#closed = true;
    this.#release();
    Atomics.store(this.#control.state, 0, VcpuState.stopped);
  }

  #release(): void {
    if (this.#watch >= 0) native().unwatchLoop(this.#watch);
    this.#vcpu.close();
  }

  readonly #turn = (): void => {
    if (this.#closed) return; // closed by message while it had yielded
    let next: Next = this.#heldSince === undefined ? 'go on' : 'hold';
    while (next === 'go on' || next === 'hold') {
      if (next === 'hold') {
        next = this.#hold();
        continue;
      }
      const result = native().run(this.#vcpu.fd);
      if (result === -Errno.EINTR) next = this.#interrupted();
      else next = this.#exit(result);
    }
    if (next === 'yield') setImmediate(this.#turn);
    else if (next === 'park') this.#park();
    else if (next === 'stop') this.#stop();
    else this.#report({ type: 'failed', error: this.#failure!.toWire() });
  };

  #interrupted(): Next {
    this.#vcpu.setImmediateExit(0); // before the words are read: see the head of this file
    Atomics.add(this.#control.interrupted, 0, 1);
    return this.#requested('yield');
  }

  #requested(otherwise: Next): Next {
    const request = Atomics.load(this.#control.request, 0);
    if (request === VcpuRequest.stop) return 'stop';
    return request === VcpuRequest.park || Atomics.load(this.#machine.event, 0) !== 0 ? 'park' : otherwise;
  }

  #exit(result: number): Next {
    if (result < 0) return result === -Errno.EAGAIN ? this.#requested('go on') : this.#fail(result);
    const reason = this.#vcpu.exitReason;
    Atomics.add(this.#control.exits, reason < exitCounters ? reason : 0, 1);
    switch (reason) {
      case Exit.io:
      case Exit.mmio:
        return this.#access(reason);
      case Exit.intr:
      case Exit.irqWindowOpen:
      case Exit.hlt: // only without an in-kernel irqchip; entering again is right all the same
      case Exit.setTpr:
      case Exit.ioapicEoi:
        return this.#requested('go on');
      case Exit.systemEvent:
        return this.#systemEvent();
      default:
        return this.#fail(result);
    }
  }

  #access(reason: number): Next {
    if (!this.#lock.acquire(this.#owner, this.#control.request, VcpuRequest.stop)) return 'stop';
    try {
      if (reason === Exit.io) serveIo(this.#vcpu, this.#platform.ports);
      else {
        this.#platform.syncBars();
        serveMmio(this.#vcpu, this.#platform.mmio);
      }
    } finally {
      this.#lock.release();
    }
    if (this.#wires.hasTasks && !this.#runTasks()) return 'stop';
    if (this.#wires.isHeld) return 'hold';
    return Atomics.load(this.#machine.event, 0) === 0 ? 'go on' : 'park';
  }

  /**
   * Waits for what the last access has begun, between that exit and the next entry. Node gets its turn when it asks, and a
   * stop ends it; a vCPU that is to park is held first, since the I/O worker serves until all are parked (contract §2.5).
   */
  #hold(): Next {
    this.#heldSince ??= monotonicMs();
    while (this.#wires.isHeld) {
      if (Atomics.load(this.#control.request, 0) === VcpuRequest.stop) return 'stop';
      if (monotonicMs() - this.#heldSince > holdDeadlineMs) return this.#stuck();
      if (this.#vcpu.immediateExit !== 0) {
        this.#vcpu.setImmediateExit(0);
        return 'yield';
      }
      this.#wires.awaitHold(holdSleepMs);
    }
    this.#heldSince = undefined;
    return this.#requested('go on');
  }

  #stuck(): Next {
    this.#failure = new TsvmmError(
      'ERR_TSVMM_TIMEOUT',
      `a device that the guest has reset has not finished its requests within ${holdDeadlineMs / 1000} s`,
      { hint: 'look at the storage behind the disks: the host still waits for it' },
    );
    return 'fail';
  }

  #runTasks(): boolean {
    if (!this.#topology.acquire(this.#owner, this.#control.request, VcpuRequest.stop)) return false;
    try {
      this.#wires.runTasks();
    } finally {
      this.#topology.release();
    }
    return true;
  }

  #systemEvent(): Next {
    const type = this.#vcpu.run.getUint32(KvmRun.offset.io + KvmRunExits.offset.system_event_type, true);
    if (type === SystemEvent.crash) this.#wires.raise(MachineEvent.panic, 0);
    else this.#wires.raise(type === SystemEvent.reset ? MachineEvent.reset : MachineEvent.powerOff, 0);
    return 'park';
  }

  #fail(result: number): Next {
    this.#failure = describeExit(this.#vcpu, this.#assignment.regions, result);
    return 'fail';
  }

  /** Completes what the last exit left open, so that registers and devices agree (contract §2.3). */
  #park(): void {
    let next: Next = 'go on';
    while (next === 'go on') {
      this.#vcpu.setImmediateExit(1);
      const result = native().run(this.#vcpu.fd);
      next = result === -Errno.EINTR || result === -Errno.EAGAIN ? 'park' : this.#complete(result);
    }
    this.#vcpu.setImmediateExit(0);
    if (next === 'fail') {
      this.#report({ type: 'failed', error: this.#failure!.toWire() });
      return;
    }
    if (next === 'stop' || Atomics.load(this.#control.request, 0) === VcpuRequest.stop) {
      this.#stop();
      return;
    }
    noteStop(this.#vcpu.fd);
    Atomics.store(this.#control.state, 0, VcpuState.parked);
    this.#report({ type: 'parked' });
  }

  /** An exit met while parking: served, and the vCPU parks all the same whatever it asked for. */
  #complete(result: number): Next {
    let next = this.#exit(result);
    while (next === 'hold' || next === 'yield') next = this.#hold();
    return next === 'park' ? 'go on' : next;
  }

  #stop(): void {
    this.close();
    this.#report({ type: 'stopped' });
  }
}
