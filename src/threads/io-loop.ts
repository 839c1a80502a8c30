/**
 * The I/O worker's loop: one batch after another, any number of machines, and Node whenever it wants the thread. The I/O
 * worker.
 *
 * The loop sleeps in the engine alone, and only after it has looked for work while that pays (busy-poll.ts). Node reaches
 * it through the event loop's backend descriptor, which is polled like everything else: when it is readable, or a signal
 * came, the loop yields with `setImmediate`, the event loop drains, and the loop goes on (contract §1.1). Nothing here
 * waits on promises or timers.
 */
import { asTsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Alarm } from '../host/alarm.js';
import { type IoClient, type IoEngine, POLLIN } from '../host/engine.js';
import type { IoSlots } from '../host/engine-slots.js';
import { closeFd } from '../host/system.js';
import { BusyPoll } from './busy-poll.js';
import type { IoCommand, IoReport } from './io-protocol.js';
import { IoVm } from './io-vm.js';

/** Descriptors being closed at one time. */
const closers = 16;
/** A look is a few loads per queue; a glance at the clock is a system call. */
const looksPerClock = 16;
/** Slots: Node's event loop, the alarm, and those that close descriptors. */
const NODE = 0;
const ALARM = 1;
const CLOSERS = 2;
/** Of its times. */
const NOW = 0;
const ALARM_AT = 1;

export class IoLoop implements IoClient {
  readonly #engine: IoEngine;
  readonly #report: (report: IoReport) => void;
  readonly #slots: IoSlots;
  readonly #backend: number;
  readonly #poll: BusyPoll;
  readonly #alarm = new Alarm();
  /** Now, and when it rings, in the engine's microseconds; infinite while it is not set. */
  readonly #times = Float64Array.of(0, Number.POSITIVE_INFINITY);
  readonly #vms = new Map<number, IoVm>();
  /** The same in an array, for the loop. */
  #machines: IoVm[] = [];
  /** Descriptors to close, with the request they belong to; and how many of each request are left. */
  readonly #toClose: { readonly request: number; readonly fd: number }[] = [];
  readonly #closing: (number | undefined)[] = new Array(closers).fill(undefined);
  readonly #leftToClose = new Map<number, number>();
  #nodeWants = false;
  #ended = false;

  constructor(engine: IoEngine, report: (report: IoReport) => void) {
    this.#engine = engine;
    this.#report = report;
    this.#poll = new BusyPoll(engine.clock);
    this.#backend = native().backendFd();
    if (this.#backend < 0) throw new Error('this Node has no backend descriptor');
    this.#slots = engine.claim(this, CLOSERS + closers)!; // a new engine has room
  }

  /** Starts the loop at the next turn of the event loop. */
  start(): void {
    this.#slots.eventRead(ALARM, this.#alarm.fd);
    setImmediate(this.#run);
  }

  /** From the event loop, between two runs. */
  command(command: IoCommand): void {
    switch (command.type) {
      case 'attach':
        this.#attach(command);
        break;
      case 'detach':
        this.#vms.get(command.vm)?.detach();
        break;
      case 'quiesce':
        this.#vms.get(command.vm)?.quiesce();
        break;
      case 'resume':
        this.#vms.get(command.vm)?.resume();
        break;
      case 'pause-device':
        this.#vms.get(command.vm)?.pauseDevice(command.device, command.syncs);
        break;
      case 'resume-device':
        this.#vms.get(command.vm)?.resumeDevice(command.device, command.medium);
        break;
      case 'limit-device':
        this.#vms.get(command.vm)?.limitDevice(command.device, command.limit);
        break;
      case 'close-fds':
        this.#closeFds(command.request, command.fds);
        break;
      case 'end':
        this.#ended = true;
        break;
      default:
        command satisfies never;
    }
  }

  onCompletion(slot: number, result: number): void {
    if (slot === NODE) {
      this.#nodeWants = true;
      return;
    }
    if (slot === ALARM) {
      if (result >= 0) this.#onAlarm(); // and not when it is cancelled
      return;
    }
    const request = this.#closing[slot - CLOSERS]!;
    this.#closing[slot - CLOSERS] = undefined;
    const left = this.#leftToClose.get(request)! - 1;
    if (left > 0) {
      this.#leftToClose.set(request, left);
    } else {
      this.#leftToClose.delete(request);
      this.#report({ type: 'closed', request });
    }
    this.#closeNext(slot);
  }

  readonly #run = (): void => {
    if (this.#ended) {
      this.#end();
      return;
    }
    // Armed here and not where it completes: until Node has had its turn it would be readable again at once.
    if (!this.#slots.isBusy(NODE)) this.#slots.poll(NODE, this.#backend, POLLIN);
    this.#nodeWants = false;
    this.#engine.clock.expire();
    while (!this.#nodeWants && this.#turn());
    this.#work();
    this.#engine.turn(false); // what was answered does not wait for Node
    setImmediate(this.#run);
  };

  /** One batch. False when a signal wants the thread. */
  #turn(): boolean {
    this.#work(); // commands may have left some
    if (this.#hasWork() || this.#engine.behind) {
      this.#engine.turn(false); // drivers need not ring meanwhile
      return true;
    }
    if (this.#poll.isOn && (this.#engine.turn(false) > 0 || this.#look())) return true;
    if (this.#armDoorbells()) {
      this.#engine.turn(false); // a driver that offers chains and takes them back keeps nobody waiting
      return true;
    }
    if (this.#engine.pending) return this.#engine.turn(true) > 0; // its time is the host's: no sleep that a driver ended
    this.#poll.falls();
    const completed = this.#engine.turn(true);
    this.#poll.wakes();
    return completed > 0;
  }

  /** Looks for work while that is worth it. */
  #look(): boolean {
    this.#poll.begin();
    do {
      for (let looks = looksPerClock; looks > 0; looks--) {
        if (this.#engine.pending) return true;
        let found = false;
        for (let i = 0; i < this.#machines.length; i++) if (this.#machines[i]!.look()) found = true;
        if (found) {
          this.#engine.clock.expire();
          return true;
        }
      }
    } while (this.#poll.goesOn());
    return false;
  }

  #armDoorbells(): boolean {
    let found = false;
    for (let i = 0; i < this.#machines.length; i++) if (this.#machines[i]!.armDoorbells()) found = true;
    return found;
  }

  #work(): void {
    let detached = false;
    for (let i = 0; i < this.#machines.length; i++) {
      const vm = this.#machines[i]!;
      vm.work();
      detached ||= vm.isDetached;
    }
    if (!detached) return;
    for (const vm of this.#machines) if (vm.isDetached) this.#vms.delete(vm.id);
    this.#machines = [...this.#vms.values()];
  }

  /** One alarm for all: who wanted it for a later time sets it again when it has rung. */
  readonly #wakeIn = (micros: number): void => {
    const times = this.#times;
    this.#engine.clock.stamp(times, NOW);
    if (times[NOW]! + micros >= times[ALARM_AT]!) return;
    times[ALARM_AT] = times[NOW]! + micros;
    this.#alarm.ringIn(micros);
  };

  #onAlarm(): void {
    this.#slots.eventRead(ALARM, this.#alarm.fd);
    this.#times[ALARM_AT] = Number.POSITIVE_INFINITY;
    this.#engine.clock.expire();
    for (let i = 0; i < this.#machines.length; i++) this.#machines[i]!.onAlarm();
  }

  #hasWork(): boolean {
    for (let i = 0; i < this.#machines.length; i++) if (this.#machines[i]!.hasWork) return true;
    return false;
  }

  #attach({ vm, attachment }: Extract<IoCommand, { type: 'attach' }>): void {
    try {
      this.#vms.set(vm, new IoVm(vm, attachment, this.#engine, this.#report, this.#wakeIn));
      this.#machines = [...this.#vms.values()];
      this.#report({ type: 'attached', vm });
    } catch (error) {
      this.#report({ type: 'refused', vm, error: asTsvmmError(error, 'ERR_TSVMM_STATE').toWire() });
    }
  }

  #closeFds(request: number, fds: readonly number[]): void {
    if (fds.length === 0) {
      this.#report({ type: 'closed', request });
      return;
    }
    this.#leftToClose.set(request, fds.length);
    for (const fd of fds) this.#toClose.push({ request, fd });
    for (let slot = CLOSERS; slot < CLOSERS + closers; slot++)
      if (this.#closing[slot - CLOSERS] === undefined) this.#closeNext(slot);
  }

  #closeNext(slot: number): void {
    const next = this.#toClose.shift();
    if (next === undefined) return;
    this.#closing[slot - CLOSERS] = next.request;
    this.#slots.closeFd(slot, next.fd);
  }

  /** Main has detached every machine. Nothing refers to this thread's event loop afterwards, so it ends. */
  #end(): void {
    for (const { fd } of this.#toClose) closeFd(fd);
    this.#slots.cancel(NODE);
    this.#slots.cancel(ALARM);
    while (this.#slots.outstanding > 0) this.#engine.turn(true);
    this.#slots.release();
    this.#engine.close();
    this.#alarm.close();
    this.onEnd?.();
  }

  /** Called once, when the loop is over. */
  onEnd: (() => void) | undefined;
}
