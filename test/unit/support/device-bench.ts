/**
 * One device on the bench: a data path, a mock driver for each of its queues and, if it needs one, an I/O engine; what
 * threads/io-device.ts does for a device in a machine is done here by `run`, without threads and registers.
 */
import type { IoEngine } from '../../../src/host/engine.js';
import type { IoSlots } from '../../../src/host/engine-slots.js';
import type { DataPath, DataPathHost } from '../../../src/virtio/device.js';
import { latencyBuckets } from '../../../src/virtio/device-counters.js';
import { featureWords } from '../../../src/virtio/features.js';
import { RingFeature } from '../../../src/virtio/queue/ring-format.js';
import { SplitQueue } from '../../../src/virtio/queue/split-queue.js';
import { Served, serveQueue } from '../../../src/virtio/serve.js';
import { MockDriver } from './mock-driver.js';
import type { TestRam } from './test-ram.js';

export interface BenchOptions {
  readonly queues?: number;
  readonly queueSize?: number;
  readonly maxChain?: number;
  /** Device features that the driver accepts, beside those of the rings. */
  readonly features?: readonly number[];
  readonly config?: Uint8Array;
  readonly engine?: IoEngine;
}

export class DeviceBench implements DataPathHost {
  readonly device: DataPath;
  readonly ram: TestRam;
  readonly drivers: readonly MockDriver[];
  readonly config: Uint8Array;
  readonly counters = new Float64Array(16);
  readonly latencies = new Float64Array(4 * latencyBuckets);
  /** Of the clock, which stands still. */
  microseconds = 0;
  readonly warnings: string[] = [];
  /** Why the machine should have ended. */
  readonly failures: string[] = [];
  readonly slots: IoSlots;
  wakes = 0;
  /** What was asked of `wakeIn`. */
  readonly alarms: number[] = [];
  readonly #engine: IoEngine | undefined;
  readonly #options: BenchOptions;
  #queues: SplitQueue[] = [];
  readonly #pending = new Set<number>();

  constructor(device: DataPath, ram: TestRam, options: BenchOptions = {}) {
    const { queues = 1, queueSize = 16, config = new Uint8Array(0), engine } = options;
    this.device = device;
    this.ram = ram;
    this.#options = options;
    this.config = config;
    this.#engine = engine;
    const room = Math.floor((ram.bytes.length - 0x1000) / queues / 16) * 16;
    this.drivers = Array.from(
      { length: queues },
      (_, i) => new MockDriver(ram, { size: queueSize, base: 0x1000 + i * room, room, eventIndex: true }),
    );
    this.slots = engine?.claim(device, device.slotCount) ?? (undefined as unknown as IoSlots);
    device.attach(this);
    this.activate();
  }

  get driver(): MockDriver {
    return this.drivers[0]!;
  }

  get memory() {
    return this.ram.memory;
  }

  get violations(): (string | undefined)[] {
    return this.#queues.map((queue) => queue.violation);
  }

  get inFlight(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.inFlight, 0);
  }

  activate(): void {
    const { maxChain = 64, features = [] } = this.#options;
    this.#queues = this.drivers.map((driver) => {
      const queue = SplitQueue.open(driver.registers, this.ram.memory, { indirect: true, eventIndex: true, maxChain });
      if (typeof queue === 'string') throw new Error(queue);
      return queue;
    });
    const ring = [RingFeature.indirectDescriptors, RingFeature.eventIndex];
    this.device.activate(this.#queues, featureWords([...ring, ...features]));
    this.#lookAtAll();
  }

  /** Every queue is looked at until nothing is left to do and nothing is outstanding. */
  run(): void {
    this.#lookAtAll();
    for (let turns = 0; this.#pending.size > 0 || (this.slots?.outstanding ?? 0) > 0; turns++) {
      if (turns > 1_000_000) throw new Error('the device does not come to an end');
      for (const index of [...this.#pending]) {
        this.#pending.delete(index);
        if (serveQueue(this.device, this.#queues[index]!, index, 16) === Served.more) this.#pending.add(index);
      }
      this.#engine?.turn(this.#pending.size === 0 && this.slots.outstanding > 0);
      for (const queue of this.#queues) queue.publish();
    }
  }

  /** One batch without waiting, for what also needs the event loop. */
  turn(): void {
    this.#lookAtAll();
    for (const index of [...this.#pending]) {
      this.#pending.delete(index);
      serveQueue(this.device, this.#queues[index]!, index, 16);
    }
    this.#engine?.turn(false);
    for (const queue of this.#queues) queue.publish();
  }

  /** One look at every queue: what the device starts is not performed, what it answers not published. */
  start(): void {
    this.#queues.forEach((queue, index) => {
      serveQueue(this.device, queue, index, 256);
    });
  }

  /** Answers what is in the first queue, with as little of its own as possible: for measurements. */
  step(): void {
    const queue = this.#queues[0]!;
    serveQueue(this.device, queue, 0, 16);
    while (this.slots.outstanding > 0) this.#engine!.turn(true);
    queue.publish();
  }

  #lookAtAll(): void {
    for (let index = 0; index < this.#queues.length; index++) this.#pending.add(index);
  }

  serve(queue: number): void {
    this.#pending.add(queue);
  }

  warn(source: 'guest' | 'host', message: string): void {
    this.warnings.push(`${source}: ${message}`);
  }

  stamp(into: Float64Array, index: number): void {
    into[index] = this.microseconds;
  }

  since(from: Float64Array, index: number): number {
    return Math.ceil(this.microseconds - from[index]!);
  }

  wakeIn(micros: number): void {
    this.alarms.push(micros);
  }

  endMachine(message: string): void {
    this.failures.push(message);
  }

  wakeMain(): void {
    this.wakes++;
  }

  close(): void {
    this.device.stop();
    while ((this.slots?.outstanding ?? 0) > 0) this.#engine!.turn(true);
    this.device.close();
    this.slots?.release();
    this.ram.close();
  }
}
