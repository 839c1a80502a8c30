/**
 * One virtio device of a machine on the I/O worker: follows its lifecycle word, runs its data path, publishes what that
 * has answered. The I/O worker.
 *
 * An exception in a data path stops that device and nothing else: it needs a reset, and stays so. A driver that breaks the
 * protocol gets the same state from a value; then a reset helps.
 */
import type { OpenDisk } from '../disk/disk-map.js';
import type { BatchClock } from '../host/batch-clock.js';
import type { IoEngine } from '../host/engine.js';
import type { IoSlots } from '../host/engine-slots.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import type { DataPath, DataPathHost } from '../virtio/device.js';
import { CommonCounter, type DeviceCounters } from '../virtio/device-counters.js';
import { hasFeature, negotiatedFeatures } from '../virtio/features.js';
import { type InterruptTarget, raiseConfig, raiseQueue } from '../virtio/interrupt.js';
import { RingFeature } from '../virtio/queue/ring-format.js';
import { SplitQueue } from '../virtio/queue/split-queue.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { Lifecycle } from '../virtio/registers.js';
import { Served, serveQueue } from '../virtio/serve.js';
import { HeldCompletions } from './held-completions.js';
import { WarningLimit } from './warning-limit.js';

/** Chains that one queue may hand over before others have their turn. */
const chainBudget = 64;

/** What a device needs of its machine. */
export interface IoDeviceHost {
  readonly memory: GuestMemory;
  /** Gives the queue a turn at the end of this batch. */
  schedule(device: IoDevice, queue: number): void;
  /** Something was answered: `flush` is called at the end of this batch. */
  touch(device: IoDevice): void;
  ringVector(irqfd: number): void;
  /** The last operation of a device that is to become quiet has ended. */
  settled(): void;
  endMachine(device: string, message: string): void;
  wakeMain(): void;
  /** Asks for `onAlarm` of its devices. */
  wakeIn(micros: number): void;
  warn(source: 'guest' | 'device' | 'host', device: string, message: string, suppressed: number): void;
}

export class IoDevice implements DataPathHost {
  readonly name: string;
  readonly memory: GuestMemory;
  readonly slots: IoSlots;
  readonly config: Uint8Array;
  readonly counters: Float64Array;
  readonly latencies: Float64Array;
  readonly #common: Float64Array;
  readonly #clock: BatchClock;
  readonly #host: IoDeviceHost;
  readonly #target: InterruptTarget;
  readonly #dataPath: DataPath;
  /** It is on its machine's list of devices to be flushed. */
  touched = false;
  readonly #limit = new WarningLimit();
  /** While the driver is there; empty otherwise, and after a fault. */
  #queues: readonly (SplitQueue | undefined)[] = [];
  #phase: 'inactive' | 'active' | 'stopping' = 'inactive';
  /** A data path that has thrown is not trusted again. */
  #faulty = false;
  #paused = false;
  /** What its driver wrote is to be made durable before the pause. */
  #syncs = false;
  readonly held: HeldCompletions;

  /** Undefined when the engine has no room for the device's operations. */
  static create(
    host: IoDeviceHost,
    engine: IoEngine,
    target: InterruptTarget,
    dataPath: DataPath,
    counters: DeviceCounters,
  ): IoDevice | undefined {
    let device: IoDevice | undefined;
    const client = { onCompletion: (slot: number, result: number) => device?.onCompletion(slot, result) };
    const slots = engine.claim(client, dataPath.slotCount);
    if (slots === undefined) return undefined;
    device = new IoDevice(host, target, dataPath, slots, counters, engine.clock);
    dataPath.attach(device);
    return device;
  }

  private constructor(
    host: IoDeviceHost,
    target: InterruptTarget,
    dataPath: DataPath,
    slots: IoSlots,
    counters: DeviceCounters,
    clock: BatchClock,
  ) {
    this.#host = host;
    this.#target = target;
    this.#dataPath = dataPath;
    this.name = target.state.shape.name;
    this.memory = host.memory;
    this.slots = slots;
    this.config = target.state.config;
    this.counters = counters.own;
    this.latencies = counters.latencies;
    this.#common = counters.common;
    this.#clock = clock;
    this.held = new HeldCompletions(dataPath.slotCount);
  }

  get isQuiet(): boolean {
    return this.slots.outstanding === 0;
  }

  /** Takes no more chains until `resume`. `syncs`: a disk is flushed. */
  pause(syncs: boolean): void {
    this.#paused = true;
    this.#syncs = syncs;
  }

  /** Whether nothing is under way after `pause`. If so it is flushed, which the answer waits for. */
  hasPaused(): boolean {
    if (this.#isStill() && this.#syncs) {
      this.#syncs = false;
      if (!this.#faulty) this.#dataPath.sync?.();
    }
    return this.#isStill();
  }

  resume(): void {
    this.#paused = false;
    this.kickAll();
  }

  /** `DataPath.exchange`, of one that is paused. */
  exchange(disk: OpenDisk | undefined): void {
    if (!this.#isStill() || !this.#dataPath.exchange) throw new Error(`${this.name} cannot be exchanged now`);
    this.#dataPath.exchange(disk);
  }

  setLimit(limit: RateLimit | undefined): void {
    this.#dataPath.setLimit?.(limit);
  }

  onAlarm(): void {
    if (this.#phase === 'active' && !this.#faulty) this.#dataPath.onAlarm?.();
  }

  /** The lifecycle word or a ring shared with main may have changed. */
  observe(): void {
    // A reset may be asked for while the device is being activated: then the second look finds it.
    for (let i = 0; i < 2; i++) {
      const life = Atomics.load(this.#target.state.device.lifecycle, 0);
      if (life === Lifecycle.activating && this.#phase === 'inactive') this.#activate();
      else if (life === Lifecycle.resetting && this.#phase !== 'stopping') this.#stop();
      else break;
    }
    this.#confirmReset();
    if (this.#phase !== 'active' || this.#faulty) return;
    try {
      this.#dataPath.onWake?.();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** One turn of a queue. One that is not there is stalled: who brings it back asks for its turn. */
  serveQueue(index: number): Served {
    const queue = this.#queues[index];
    if (queue === undefined || !this.#isBusMaster()) return Served.stalled;
    this.#host.touch(this);
    this.#completeHeld();
    if (this.#isStill()) this.#host.settled();
    if (this.#faulty || this.#paused) return Served.stalled;
    try {
      const served = serveQueue(this.#dataPath, queue, index, chainBudget);
      if (served === Served.violated) this.#needReset('guest', `driver: ${queue.violation}`);
      return served;
    } catch (error) {
      this.#fail(error);
      return Served.stalled;
    }
  }

  /** Whether a queue that was left idle has chains again. */
  hasAvailable(index: number): boolean {
    return this.#served(index)?.hasAvailable === true;
  }

  /** Arms the doorbell of a queue that was left idle. True if it has chains again, for which no doorbell may come. */
  armDoorbell(index: number): boolean {
    return this.#served(index)?.armDoorbell() === true;
  }

  onCompletion(slot: number, result: number): void {
    this.#host.touch(this);
    if (this.#queues.length > 0 && !this.#isBusMaster()) this.held.push(slot, result);
    else this.#complete(slot, result);
    if (this.slots.outstanding > 0) return;
    this.#confirmReset();
    this.#host.settled();
  }

  /** Shows the driver what was answered and interrupts it where it wants that. */
  flush(): void {
    if (!this.#isBusMaster()) return;
    for (let index = 0; index < this.#queues.length; index++) {
      const queue = this.#queues[index];
      if (queue === undefined || !queue.unpublished) continue;
      if (queue.publish()) {
        this.#common[CommonCounter.interrupts]! += 1;
        this.#ring(raiseQueue(this.#target, index));
      } else {
        this.#common[CommonCounter.suppressedInterrupts]! += 1;
      }
    }
  }

  /** The driver rang the doorbell of a queue. */
  rung(): void {
    this.#common[CommonCounter.doorbells]! += 1;
  }

  /** Looks at every queue, as if each had been kicked. */
  kickAll(): void {
    for (let index = 0; index < this.#queues.length; index++) this.serve(index);
  }

  /** After a pause: looks at every queue and interrupts for each, since what was signalled before may be lost. */
  wakeDriver(): void {
    for (let index = 0; index < this.#queues.length; index++) {
      if (this.#queues[index] !== undefined) this.#ring(raiseQueue(this.#target, index));
    }
    this.kickAll();
  }

  /** Ends the data path whatever its driver does; `isQuiet` says when the kernel has nothing left of it. */
  shutDown(): void {
    if (this.#phase === 'active') this.#stop();
    else if (!this.#faulty) this.#dataPath.stop(); // a flush of ours may be under way
  }

  /** After `shutDown`, when it is quiet. */
  close(): void {
    Atomics.store(this.#target.state.device.lifecycle, 0, Lifecycle.inactive);
    Atomics.notify(this.#target.state.device.lifecycle, 0);
    this.slots.release();
    this.#dataPath.close();
    this.#dropQueues();
    this.held.close();
  }

  // What a data path asks.

  serve(queue: number): void {
    if (this.#queues[queue] !== undefined) this.#host.schedule(this, queue);
  }

  warn(source: 'guest' | 'host', message: string): void {
    this.#warn(source, source === 'guest' ? `driver: ${message}` : message);
  }

  endMachine(message: string): void {
    this.#host.endMachine(this.name, message);
  }

  wakeMain(): void {
    this.#host.wakeMain();
  }

  stamp(into: Float64Array, index: number): void {
    this.#clock.stamp(into, index);
  }

  since(from: Float64Array, index: number): number {
    return this.#clock.since(from, index);
  }

  wakeIn(micros: number): void {
    this.#host.wakeIn(micros);
  }

  /** No request is under way, and none begins. */
  #isStill(): boolean {
    return this.#paused && this.isQuiet && this.held.size === 0;
  }

  /** Without it there is no DMA (contract §6.2): what completes is held, and its return rings every doorbell. */
  #isBusMaster(): boolean {
    return Atomics.load(this.#target.state.device.busMaster, 0) !== 0;
  }

  /** The queue, if it may be touched and does not stand still. */
  #served(index: number): SplitQueue | undefined {
    const queue = this.#queues[index];
    return queue?.violation === undefined && this.#isBusMaster() ? queue : undefined;
  }

  #complete(slot: number, result: number): void {
    if (this.#faulty) return;
    try {
      this.#dataPath.onCompletion(slot, result);
    } catch (error) {
      this.#fail(error);
    }
  }

  #completeHeld(): void {
    for (let left = this.held.size; left > 0; left--) {
      const slot = this.held.shift();
      this.#complete(slot, this.held.result(slot));
    }
  }

  #activate(): void {
    const { state } = this.#target;
    const features = negotiatedFeatures(state.device);
    let wrong: string | undefined;
    const queues = state.queues.map((registers, index) => {
      if (registers.frozenSize === 0) return undefined;
      const queue = SplitQueue.open(registers, this.memory, {
        indirect: hasFeature(features, RingFeature.indirectDescriptors),
        eventIndex: hasFeature(features, RingFeature.eventIndex),
        maxChain: state.shape.queueSizes[index]!,
      });
      if (typeof queue !== 'string') return queue;
      wrong ??= queue;
      return undefined;
    });
    // Registers read before this were not those of a later driver: only this thread ends a reset.
    const { lifecycle } = state.device;
    if (Atomics.compareExchange(lifecycle, 0, Lifecycle.activating, Lifecycle.active) !== Lifecycle.activating) return;
    this.#phase = 'active';
    if (wrong !== undefined) {
      this.#needReset('guest', `driver: ${wrong}`);
    } else if (this.#faulty) {
      this.#needReset('device', 'the device has failed and cannot be used again');
    } else {
      this.#queues = queues;
      try {
        this.#dataPath.activate(queues, features);
      } catch (error) {
        this.#fail(error);
      }
      this.kickAll();
    }
  }

  #stop(): void {
    this.#phase = 'stopping';
    this.#dropQueues();
    if (this.#faulty) return;
    try {
      this.#dataPath.stop();
    } catch (error) {
      this.#fail(error);
    }
    this.#completeHeld(); // to nobody: their places are free
    this.#host.settled();
  }

  /** Says that nothing touches guest memory any more, once that is so (contract §2.7). */
  #confirmReset(): void {
    if (this.#phase !== 'stopping' || this.slots.outstanding > 0) return;
    const { lifecycle, isr } = this.#target.state.device;
    // An answer may have been told between the reset's request and now: nothing of it is left (virtio 1.2 §2.4.1, §4.2.2.1).
    Atomics.store(isr, 0, 0);
    this.#target.line.settle();
    if (Atomics.compareExchange(lifecycle, 0, Lifecycle.resetting, Lifecycle.inactive) !== Lifecycle.resetting) return;
    this.#phase = 'inactive';
    Atomics.notify(lifecycle, 0);
  }

  /** virtio 1.2 §2.1.2: the driver finds DEVICE_NEEDS_RESET and is told that something changed. */
  #needReset(source: 'guest' | 'device', message: string): void {
    if (Atomics.exchange(this.#target.state.device.needsReset, 0, 1) === 1) return;
    this.#warn(source, message);
    this.#ring(raiseConfig(this.#target));
  }

  #dropQueues(): void {
    for (const queue of this.#queues) queue?.close();
    this.#queues = [];
  }

  #ring(irqfd: number): void {
    if (irqfd >= 0) this.#host.ringVector(irqfd);
  }

  /** Its requests in flight still complete and are counted by the slots; nothing else is left of it. */
  #fail(error: unknown): void {
    this.#faulty = true;
    this.#dropQueues();
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#needReset('device', `the device has failed: ${what}`);
  }

  #warn(source: 'guest' | 'device' | 'host', message: string): void {
    const suppressed = this.#limit.pass();
    if (suppressed >= 0) this.#host.warn(source, this.name, message, suppressed);
  }
}
