/**
 * What main and the I/O worker say to each other: two closed unions. Both sides.
 *
 * Messages attach and detach machines; what happens while a machine runs goes through eventfds and machine state.
 */
import type { OpenDisk } from '../disk/disk-map.js';
import type { WireError } from '../errors.js';
import type { EngineKind } from '../host/choose-engine.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { BlkCounter, BlkLatency } from '../virtio/blk/blk-format.js';
import type { BlkDeviceOptions } from '../virtio/blk/blk-options.js';
import { ConsoleCounter } from '../virtio/console/console-format.js';
import type { ConsoleLayout } from '../virtio/console/console-state.js';
import { CommonCounter, countersOf, latencyBuckets } from '../virtio/device-counters.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { RngCounter } from '../virtio/rng/rng.js';
import type { PlatformDescriptors, PlatformLayout } from '../virtio/transport/platform-layout.js';

/** What serves one virtio device of a machine. Plain data. */
export type IoDeviceSpec =
  | ({ readonly kind: 'blk' } & BlkDeviceOptions)
  /** The layout is of machine state. */
  | { readonly kind: 'console'; readonly layout: ConsoleLayout }
  | { readonly kind: 'rng' }
  /** Its data path is somewhere else. */
  | { readonly kind: 'elsewhere' };

/** Everything the I/O worker needs of one machine; plain data, numbers and shared buffers. */
export interface IoAttachment {
  /** For messages. */
  readonly name: string;
  readonly vmFd: number;
  /** Machine state. */
  readonly state: SharedArrayBuffer;
  readonly platform: PlatformLayout;
  readonly descriptors: PlatformDescriptors;
  /** Of the machine's `MachineControl` in machine state. */
  readonly machineControl: number;
  readonly regions: readonly RamRegion[];
  /** eventfd of main: console output, and room for input. */
  readonly mainDoorbell: number;
  /** eventfd by which vCPUs and main say that a device's lifecycle or a shared ring changed. */
  readonly ioDoorbell: number;
  /** One for each virtio device of the platform. */
  readonly devices: readonly IoDeviceSpec[];
  /** Its drivers are from before: each is interrupted once for each queue (contract §2.5). */
  readonly revived: boolean;
  /** Of every device (virtio/device-counters.ts). */
  readonly counters: SharedArrayBuffer;
}

const counterNames: Readonly<Record<IoDeviceSpec['kind'], Readonly<Record<string, number>>>> = {
  blk: BlkCounter,
  console: ConsoleCounter,
  rng: RngCounter,
  elsewhere: {},
};

const latencyNames: Readonly<Partial<Record<IoDeviceSpec['kind'], Readonly<Record<string, number>>>>> = {
  blk: BlkLatency,
};

/** What was counted, by the device's name: `{ disk0: { reads: 1, ... } }`. */
export interface DeviceMetrics {
  readonly devices: Record<string, Record<string, number>>;
  readonly latencies: Record<string, Record<string, number[]>>;
}

export function readCounters(attachment: Pick<IoAttachment, 'devices' | 'platform' | 'counters'>): DeviceMetrics {
  const devices: DeviceMetrics['devices'] = {};
  const latencies: DeviceMetrics['latencies'] = {};
  attachment.devices.forEach((spec, number) => {
    if (spec.kind === 'elsewhere') return;
    const { name } = attachment.platform.shape.virtio[number]!;
    const counters = countersOf(attachment.counters, number);
    devices[name] = {
      ...mapValues(counterNames[spec.kind], (index) => counters.own[index]!),
      ...mapValues(CommonCounter, (index) => counters.common[index]!),
    };
    const kinds = latencyNames[spec.kind];
    if (kinds === undefined) return;
    latencies[name] = mapValues(kinds, (kind) => [
      ...counters.latencies.subarray(kind * latencyBuckets, (kind + 1) * latencyBuckets),
    ]);
  });
  return { devices, latencies };
}

const mapValues = <T>(indices: Readonly<Record<string, number>>, value: (index: number) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(indices).map(([name, index]) => [name, value(index)]));

/** How the worker is started. */
export interface IoWorkerData {
  readonly engine: EngineKind;
  /** URL of the bundle of io-helper.ts. */
  readonly helper: string;
  /** Nice value of the thread (contract §1.8). */
  readonly nice: number;
}

/** main -> I/O worker. `vm` is a number that main chose; `request` comes back with the answer. */
export type IoCommand =
  | { readonly type: 'attach'; readonly vm: number; readonly attachment: IoAttachment }
  /** Ends every data path of the machine; its memory and descriptors are not used any more once it is answered. */
  | { readonly type: 'detach'; readonly vm: number }
  /** Takes no more chains and waits for what the kernel has (contract §2.5). */
  | { readonly type: 'quiesce'; readonly vm: number }
  | { readonly type: 'resume'; readonly vm: number }
  /** One device takes no more chains; with `syncs` what was written to a disk is made durable. */
  | { readonly type: 'pause-device'; readonly vm: number; readonly device: number; readonly syncs: boolean }
  /** It goes on; with `medium` it is made of that from now on. */
  | {
      readonly type: 'resume-device';
      readonly vm: number;
      readonly device: number;
      readonly medium: { readonly disk: OpenDisk | undefined } | undefined;
    }
  | {
      readonly type: 'limit-device';
      readonly vm: number;
      readonly device: number;
      readonly limit: RateLimit | undefined;
    }
  /** Closes descriptors without blocking anybody. */
  | { readonly type: 'close-fds'; readonly request: number; readonly fds: readonly number[] }
  /** The worker ends. No machine may be attached. */
  | { readonly type: 'end' };

/** I/O worker -> main */
export type IoReport =
  | { readonly type: 'ready'; readonly engine: 'io_uring' | 'epoll' }
  | { readonly type: 'attached'; readonly vm: number }
  /** The machine was not attached. */
  | { readonly type: 'refused'; readonly vm: number; readonly error: WireError }
  | { readonly type: 'detached'; readonly vm: number }
  /** `held`: devices with answers that their drivers cannot be given, as PCI bus mastering is off. */
  | { readonly type: 'quiesced'; readonly vm: number; readonly held: readonly string[] }
  | { readonly type: 'resumed'; readonly vm: number }
  /** Nothing of this device is under way any more. */
  | { readonly type: 'device-paused'; readonly vm: number; readonly device: number }
  /** With an error it goes on as it was. */
  | {
      readonly type: 'device-resumed';
      readonly vm: number;
      readonly device: number;
      readonly error: WireError | undefined;
    }
  /** The machine is to end: the host has failed one of its devices. */
  | { readonly type: 'device-failed'; readonly vm: number; readonly device: string; readonly message: string }
  | { readonly type: 'closed'; readonly request: number }
  | {
      readonly type: 'warning';
      readonly vm: number;
      readonly source: 'guest' | 'device' | 'host';
      readonly device: string;
      readonly message: string;
      readonly suppressed: number;
    };
