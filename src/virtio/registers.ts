/**
 * The machine state of one virtio device: what its transport (vCPU threads) and its data path (I/O worker) share.
 *
 * Driver-visible registers are read and written by the transport under the machine lock. `words` fields are crossed
 * between threads by `Atomics` alone. Layout is a pure function of the device's shape, so that every thread, and later a
 * snapshot, finds the same bytes (design §3).
 */
import { type RegistersOf, registerMap, u8, u16, u32, words } from '../memory/registers.js';

/** What a device is to its driver; fixed when the machine is made. Plain data: it is posted to workers. */
export interface VirtioShape {
  /** For messages: "blk0", "console". */
  readonly name: string;
  /** virtio 1.2 §5: 2 block, 3 console, 4 entropy. */
  readonly deviceType: number;
  /** Largest size of each queue: powers of two up to 32,768. */
  readonly queueSizes: readonly number[];
  /** Feature bits 0-31 and 32-63 that the device offers (transport features included). */
  readonly features: readonly [number, number];
  /** Bytes of device-specific configuration. */
  readonly configSize: number;
  /** Which of its configuration bytes the driver may write, e.g. blk `writeback`. */
  readonly writableConfig: readonly number[];
}

/** Life of the data path, in `lifecycle[0]`. */
export const Lifecycle = {
  /** No driver: the I/O worker does not touch guest memory. */
  inactive: 0,
  /** vCPU -> I/O: DRIVER_OK, the frozen parameters are valid. */
  activating: 1,
  /** I/O: the queues are served. */
  active: 2,
  /** vCPU -> I/O: status 0 was written; wait for the kernel, then say inactive. */
  resetting: 3,
} as const;

export const VirtioDeviceMap = registerMap('virtio-device', {
  // virtio 1.2 §4.1.4.3, as the driver sees them
  deviceFeatureSelect: u32,
  driverFeatureSelect: u32,
  driverFeatures0: u32,
  driverFeatures1: u32,
  queueSelect: u16,
  configVector: u16,
  status: u8,
  /** Crossed by Atomics: [0] bit 0 a queue, bit 1 configuration (virtio 1.2 §4.1.4.5); read-to-clear by the driver. */
  isr: words(1),
  /** Configuration generation; whoever changes device configuration adds 1. */
  generation: words(1),
  /** One of `Lifecycle`; moved by compare-and-exchange. */
  lifecycle: words(1),
  /** Set to 1 by the data path when the driver broke the protocol: status reads with DEVICE_NEEDS_RESET. */
  needsReset: words(1),
  /** MSI-X function state, kept by the PCI transport: bit 0 enabled, bit 1 function masked. INTx is used when 0. */
  msixControl: words(1),
  /** PCI command bit 2: without it no DMA and no MSI (contract §6.2); bit 10 (Interrupt Disable) is `intxDisabled`. */
  busMaster: words(1),
  intxDisabled: words(1),
});
export type VirtioDeviceRegisters = RegistersOf<typeof VirtioDeviceMap>;

/** One queue. `driver*` is what the driver writes; `frozen*` is the validated copy that the data path uses (trap T5). */
export const VirtioQueueMap = registerMap('virtio-queue', {
  size: u16,
  vector: u16,
  enabled: u16,
  descLow: u32,
  descHigh: u32,
  driverLow: u32,
  driverHigh: u32,
  deviceLow: u32,
  deviceHigh: u32,
  frozenSize: u16,
  /** Below 2^53: two words each. */
  frozenDescLow: u32,
  frozenDescHigh: u32,
  frozenDriverLow: u32,
  frozenDriverHigh: u32,
  frozenDeviceLow: u32,
  frozenDeviceHigh: u32,
  /** Positions, owned by the data path while active; kept here so that a snapshot finds them. */
  nextAvail: u16,
  nextUsed: u16,
  signalledUsed: u16,
  signalledUsedValid: u16,
});
export type VirtioQueueRegisters = RegistersOf<typeof VirtioQueueMap>;

/**
 * MSI-X table entries as the driver wrote them (PCI 3.0 §6.8.2): address low, address high, data, vector control. The
 * driver sees bit 0 of vector control; above it is whether the kernel's route is up to date (`VectorControl`, interrupt.ts).
 */
export const msixEntryWords = 4;

export interface VirtioLayout {
  readonly shape: VirtioShape;
  /** Byte offsets in the machine state. */
  readonly device: number;
  readonly queues: readonly number[];
  readonly config: number;
  /** One vector per queue and one for configuration: vector count = queues + 1. */
  readonly msixTable: number;
  readonly msixPending: number;
  readonly end: number;
}

export const vectorCount = (shape: VirtioShape): number => shape.queueSizes.length + 1;

/** Places a device's state at `base` (8-aligned). */
export function layoutVirtio(shape: VirtioShape, base: number): VirtioLayout {
  const device = base;
  let end = device + VirtioDeviceMap.size;
  const queues = shape.queueSizes.map(() => {
    end += VirtioQueueMap.size;
    return end - VirtioQueueMap.size;
  });
  const config = end;
  end = config + Math.ceil(shape.configSize / 8) * 8;
  const msixTable = end;
  end += vectorCount(shape) * msixEntryWords * 4;
  end = Math.ceil(end / 8) * 8;
  const msixPending = end;
  end += Math.ceil(vectorCount(shape) / 64) * 8;
  return { shape, device, queues, config, msixTable, msixPending, end };
}

export interface VirtioState {
  readonly shape: VirtioShape;
  readonly device: VirtioDeviceRegisters;
  readonly queues: readonly VirtioQueueRegisters[];
  readonly config: Uint8Array;
  /** Words of the MSI-X table, by `msixEntryWords`; crossed by Atomics. */
  readonly msixTable: Int32Array;
  /** Pending bits, one per vector; crossed by Atomics. */
  readonly msixPending: Int32Array;
}

export function bindVirtio(buffer: ArrayBufferLike, layout: VirtioLayout): VirtioState {
  const vectors = vectorCount(layout.shape);
  return {
    shape: layout.shape,
    device: VirtioDeviceMap.over(buffer, layout.device),
    queues: layout.queues.map((base) => VirtioQueueMap.over(buffer, base)),
    config: new Uint8Array(buffer, layout.config, layout.shape.configSize),
    msixTable: new Int32Array(buffer, layout.msixTable, vectors * msixEntryWords),
    msixPending: new Int32Array(buffer, layout.msixPending, Math.ceil(vectors / 32)),
  };
}

/** The descriptors that belong to one virtio device in this process; posted to workers, plain numbers. */
export interface VirtioDescriptors {
  /** ioeventfd of each queue: the driver's doorbell. */
  readonly doorbells: readonly number[];
  /** irqfd of each MSI-X vector, or the one of a virtio-mmio device, assigned to `gsi + vector` for the machine's life. */
  readonly vectors: readonly number[];
  /** First GSI of the device's vectors (24 and up), or its line. */
  readonly gsi: number;
}
