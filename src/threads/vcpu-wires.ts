/**
 * The wires of register code on a vCPU worker: what a register access may cause. vCPU worker.
 *
 * Under the machine lock only interrupt lines and eventfds are touched; topology tasks (ioeventfds, routing) are kept
 * until the lock is free and then run under the topology lock (contract §2.1), and what this vCPU has to wait for is waited
 * for without any.
 */
import type { MachineEvent, TopologyTask, Wires } from '../devices/wires.js';
import { native } from '../host/addon.js';
import type { KvmVm } from '../kvm/vm.js';
import { eventWord, type MachineControl } from '../memory/control.js';
import { WarningLimit } from './warning-limit.js';

export class VcpuWires implements Wires {
  readonly #vm: KvmVm;
  readonly #control: MachineControl;
  readonly #mainDoorbell: number;
  readonly #ioDoorbell: number;
  readonly #report: (device: string, message: string, suppressed: number) => void;
  readonly #tasks: TopologyTask[] = [];
  #heldBy: Int32Array | undefined;
  #heldWhile = 0;
  readonly #limit = new WarningLimit();

  constructor(
    vm: KvmVm,
    control: MachineControl,
    doorbells: { readonly main: number; readonly io: number },
    report: (device: string, message: string, suppressed: number) => void,
  ) {
    this.#vm = vm;
    this.#control = control;
    this.#mainDoorbell = doorbells.main;
    this.#ioDoorbell = doorbells.io;
    this.#report = report;
  }

  setLine(gsi: number, level: 0 | 1): void {
    this.#vm.setIrqLine(gsi, level);
  }

  ring(eventFd: number): void {
    native().ring(eventFd);
  }

  raise(event: MachineEvent, detail: number): void {
    if (Atomics.compareExchange(this.#control.event, 0, 0, eventWord(event, detail)) !== 0) return;
    native().ring(this.#mainDoorbell); // at once: main may be letting output gather
  }

  /** One ring per wake of main, however much happens until it answers. */
  wakeMain(): void {
    if (Atomics.exchange(this.#control.mainRung, 0, 1) === 0) native().ring(this.#mainDoorbell);
  }

  afterwards(task: TopologyTask): void {
    if (!this.#tasks.includes(task)) this.#tasks.push(task);
  }

  /** One access reaches one device: there is nothing held already. */
  hold(word: Int32Array, value: number): void {
    this.#heldBy = word;
    this.#heldWhile = value;
  }

  wakeDataPath(): void {
    if (this.#ioDoorbell >= 0) native().ring(this.#ioDoorbell);
  }

  warn(device: string, message: string): void {
    const suppressed = this.#limit.pass();
    if (suppressed >= 0) this.#report(device, message, suppressed);
  }

  get isHeld(): boolean {
    if (this.#heldBy === undefined) return false;
    if (Atomics.load(this.#heldBy, 0) === this.#heldWhile) return true;
    this.#heldBy = undefined;
    return false;
  }

  /** Sleeps while held, at most this long. No lock is held. */
  awaitHold(milliseconds: number): void {
    if (this.#heldBy !== undefined) Atomics.wait(this.#heldBy, 0, this.#heldWhile, milliseconds);
  }

  get hasTasks(): boolean {
    return this.#tasks.length > 0;
  }

  /** Runs what `afterwards` kept. The topology lock is held, the machine lock is not. */
  runTasks(): void {
    for (let i = 0; i < this.#tasks.length; i++) this.#tasks[i]!.run();
    this.#tasks.length = 0;
  }
}
