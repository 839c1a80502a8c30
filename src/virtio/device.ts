/**
 * The data path of a virtio device: the half that owns the queues. The I/O worker.
 *
 * Registers, feature negotiation and status belong to the transport, on vCPU threads; what is here starts at DRIVER_OK
 * with frozen, validated queues and ends at reset. Whoever runs the device (threads/io-device.ts) rings, pops, publishes
 * and interrupts; a device class only answers chains. It is a state machine driven by calls: no promise, timer or
 * `async`, since nothing would run them while the worker waits (contract §1.2).
 */
import type { OpenDisk } from '../disk/disk-map.js';
import type { IoClient } from '../host/engine.js';
import type { IoSlots } from '../host/engine-slots.js';
import type { GuestMemory } from '../memory/guest-memory.js';
import { type FeatureWords, VIRTIO_F_VERSION_1 } from './features.js';
import { RingFeature } from './queue/ring-format.js';
import type { SplitQueue } from './queue/split-queue.js';
import type { RateLimit } from './rate-limit.js';

/** What tsvmm's queues and transports can do for every device. */
export const commonFeatures: readonly number[] = [
  RingFeature.indirectDescriptors,
  RingFeature.eventIndex,
  VIRTIO_F_VERSION_1,
];

/** What a data path may ask of whoever runs it. */
export interface DataPathHost {
  readonly memory: GuestMemory;
  /** As many as `slotCount` said; completions come to the data path. */
  readonly slots: IoSlots;
  /** The device's configuration space, in machine state. */
  readonly config: Uint8Array;
  /** By the device's own indices; shared with main, which reads them. */
  readonly counters: Float64Array;
  /** For `countLatency`, by the device's own kinds. */
  readonly latencies: Float64Array;
  /** Puts the time there, microseconds, of one batch the same. */
  stamp(into: Float64Array, index: number): void;
  /** Whole microseconds since then. */
  since(from: Float64Array, index: number): number;
  /** Offers the chains of this queue (again) when the work at hand is done: what stopped it has gone. */
  serve(queue: number): void;
  /** Rate-limited. `guest`: what the driver did; `host`: what the host refused. */
  warn(source: 'guest' | 'host', message: string): void;
  /** The host has failed the device, and its owner wants no machine that goes on without it: the machine ends with this. */
  endMachine(message: string): void;
  /** Bytes for main are in a ring of shared memory. */
  wakeMain(): void;
  /** Asks for `onAlarm` in so many microseconds; it may come sooner. */
  wakeIn(micros: number): void;
}

export interface DataPath extends IoClient {
  /** I/O slots that it needs, for its whole life. */
  readonly slotCount: number;
  /** Once, before anything else. */
  attach(host: DataPathHost): void;
  /** The driver is ready, with these features; from here on chains come. A queue that it did not enable is undefined. */
  activate(queues: readonly (SplitQueue | undefined)[], features: FeatureWords): void;
  /**
   * Answer the chain in `queue.chain`: give it back with `queue.push`, now or from a completion. False leaves it where
   * it was; then ask `serve` when there is room for it. What breaks the device's protocol is said with `queue.violate`.
   * Never blocks, never throws for what a driver does.
   */
  onChain(queue: SplitQueue, index: number): boolean;
  /** Main has read from or written to a ring it shares with this device. */
  onWake?(): void;
  /** Time has passed that somebody asked for with `wakeIn`, maybe another device. */
  onAlarm?(): void;
  /** How much it may do from now on; undefined: as much as it can. */
  setLimit?(limit: RateLimit | undefined): void;
  /** Makes durable what was written. No request is under way; one of its own may be then. */
  sync?(): void;
  /** What a disk is made of from now on; undefined: nothing. Nothing is under way. Throws if that is not possible. */
  exchange?(disk: OpenDisk | undefined): void;
  /**
   * The driver reset the device, or the machine ends. Queues and guest memory are not touched any more; completions of
   * what the kernel still has free their slots and do nothing else. May be followed by another `activate` when none is
   * outstanding.
   */
  stop(): void;
  /** Once, at the end, after `stop` and the last completion. */
  close(): void;
}
