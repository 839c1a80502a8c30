/** What a disk and the machine that has it say to each other. Main thread. */
import type { RateLimit } from '../virtio/rate-limit.js';
import type { CallOptions } from './console.js';
import type { OpenOptions } from './disk-origin.js';
import type { Medium } from './medium.js';

/** What is to happen to a disk of a machine. */
export interface MediumChange extends CallOptions {
  /** What was written is made durable before. */
  readonly syncs: boolean;
  /** The guest is told of it; if not, it must find nothing new. */
  readonly isTold: boolean;
  /** While no request is under way; resolves with what is in the disk from then on. */
  prepare(): Promise<Medium | undefined>;
  /** The machine has it. */
  commit(medium: Medium | undefined): void;
}

/** The machine that has a disk. */
export interface DiskHost {
  change(change: MediumChange): Promise<void>;
  limit(limit: RateLimit | undefined): void;
}

/** In a machine. */
export interface Place {
  readonly host: DiskHost;
  readonly options: OpenOptions;
  /** Resolves when the machine has given it back, as `leave` says. */
  readonly left: Promise<void>;
  leave(): void;
}
