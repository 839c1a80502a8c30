/** Structures and constants of io_uring (linux/io_uring.h) that tsvmm uses. Any thread. */
import { struct } from './layout.js';

export const ioSqringOffsets = struct('io_sqring_offsets', {
  head: 'u32',
  tail: 'u32',
  ring_mask: 'u32',
  ring_entries: 'u32',
  flags: 'u32',
  dropped: 'u32',
  array: 'u32',
  resv1: 'u32',
  user_addr: 'u64',
});

export const ioCqringOffsets = struct('io_cqring_offsets', {
  head: 'u32',
  tail: 'u32',
  ring_mask: 'u32',
  ring_entries: 'u32',
  overflow: 'u32',
  cqes: 'u32',
  flags: 'u32',
  resv1: 'u32',
  user_addr: 'u64',
});

export const ioUringParams = struct('io_uring_params', {
  sq_entries: 'u32',
  cq_entries: 'u32',
  flags: 'u32',
  sq_thread_cpu: 'u32',
  sq_thread_idle: 'u32',
  features: 'u32',
  wq_fd: 'u32',
  resv: ['u32', 3],
  sq_off: ioSqringOffsets,
  cq_off: ioCqringOffsets,
});

export const ioUringSqe = struct('io_uring_sqe', {
  opcode: 'u8',
  flags: 'u8',
  ioprio: 'u16',
  fd: 'u32',
  off: 'u64',
  addr: 'u64',
  len: 'u32',
  rw_flags: 'u32',
  user_data: 'u64',
  buf_index: 'u16',
  personality: 'u16',
  splice_fd_in: 'u32',
  addr3: 'u64',
  pad2: 'u64',
});

export const ioUringCqe = struct('io_uring_cqe', { user_data: 'u64', res: 'u32', flags: 'u32' });

export const Opcode = {
  readv: 1,
  writev: 2,
  fsync: 3,
  pollAdd: 6,
  asyncCancel: 14,
  fallocate: 17,
  close: 19,
  read: 22,
  write: 23,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

export const SqeFlag = { async: 1 << 4 } as const;

export const Setup = {
  cqSize: 1 << 3,
  submitAll: 1 << 7,
  coopTaskrun: 1 << 8,
  taskrunFlag: 1 << 9,
  singleIssuer: 1 << 12,
  deferTaskrun: 1 << 13,
} as const;

/** Bits of the submission ring's `flags`: what waits in the kernel until the next io_uring_enter. */
export const SqRing = { overflow: 1 << 1, taskrun: 1 << 2 } as const;

export const Feature = { singleMmap: 1 << 0, noDrop: 1 << 1, submitStable: 1 << 2, fastPoll: 1 << 5 } as const;

export const ENTER_GETEVENTS = 1;
export const FSYNC_DATASYNC = 1;
export const REGISTER_IOWQ_MAX_WORKERS = 19;
export const OFFSET_SQ_RING = 0;
export const OFFSET_SQES = 0x1000_0000;
