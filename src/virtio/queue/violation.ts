/**
 * What a driver can do wrong with a queue. Any thread.
 *
 * Each is a value, never an exception (traps T1-T10): the device is marked DEVICE_NEEDS_RESET, the message becomes a
 * rate-limited "driver:" warning, everything else goes on. Constant strings, so that a hostile guest costs no memory.
 */
export const Violation = {
  queueSize: 'the queue size is not a power of two up to the device limit',
  ringAddress: 'a ring is not in RAM',
  ringAlignment: 'a ring is not aligned (virtio 1.2 §2.7)',
  availableJump: 'the available index is further ahead than the queue is long (virtio 1.2 §2.7.13.3)',
  headIndex: 'a chain starts outside the descriptor table',
  duplicateHead: 'a chain was made available again before it was used',
  descriptorIndex: 'a descriptor points outside its table',
  loop: 'a chain is longer than its table: it is a loop (virtio 1.2 §2.7.5.1)',
  tooLong: 'a chain has more buffers than the device accepts',
  notRam: 'a buffer is not in RAM',
  order: 'a readable buffer follows a writable one (virtio 1.2 §2.7.4.2)',
  tooManyBytes: 'a chain describes more than 2^32 bytes (virtio 1.2 §2.7.5.2)',
  indirectRefused: 'an indirect descriptor without the feature (virtio 1.2 §2.7.5.3.1)',
  indirectNext: 'an indirect descriptor has a next one (virtio 1.2 §2.7.5.3.1)',
  indirectNested: 'an indirect table has an indirect descriptor (virtio 1.2 §2.7.5.3.1)',
  indirectLength: 'an indirect table is empty, too long, or no whole number of descriptors',
} as const;
export type Violation = (typeof Violation)[keyof typeof Violation];
