/**
 * The split virtqueue as it lies in guest memory: virtio 1.2 §2.7. Any thread.
 *
 *   descriptor table  16 * size bytes, 16-aligned: address u64, length u32, flags u16, next u16
 *   available ring     6 + 2 * size, 2-aligned: flags u16, idx u16, ring u16[size], used_event u16
 *   used ring          6 + 8 * size, 4-aligned: flags u16, idx u16, ring {id u32, length u32}[size], avail_event u16
 */
export const DescriptorFlag = { next: 1, write: 2, indirect: 4 } as const;
/** In `flags` of the available ring: the driver wants no interrupts. */
export const AVAIL_NO_INTERRUPT = 1;
/** In `flags` of the used ring: the device wants no notifications. */
export const USED_NO_NOTIFY = 1;

/** Feature bits that change how rings are read (virtio 1.2 §6). */
export const RingFeature = { indirectDescriptors: 28, eventIndex: 29 } as const;

export const maxQueueSize = 32_768;
export const descriptorSize = 16;
export const descriptorAlignment = 16;
export const availableAlignment = 2;
export const usedAlignment = 4;

export const descriptorTableBytes = (size: number): number => descriptorSize * size;
export const availableRingBytes = (size: number): number => 6 + 2 * size;
export const usedRingBytes = (size: number): number => 6 + 8 * size;

/** `new` has passed `event` since `old`: vring_need_event() of virtio 1.2 §2.7.7.2. Indices wrap at 2^16. */
export const passes = (event: number, now: number, old: number): boolean =>
  ((now - event - 1) & 0xffff) < ((now - old) & 0xffff);
