/**
 * tsvmm: KVM virtual machines as TypeScript objects. The public API and nothing else.
 *
 * Importing does nothing: no addon is loaded, no thread started, no hook installed before the first machine.
 */
export type { RequestContext } from './disk/user-disk.js';
export { type ErrorCode, type Phase, TsvmmError } from './errors.js';
export type { Path } from './machine/checks.js';
export { type CallOptions, GuestConsole } from './machine/console.js';
export type { TopologyOptions } from './machine/cpu-options.js';
export { Disk } from './machine/disk.js';
export type { DiskHandlers } from './machine/disk-handlers.js';
export type { DiskOptions, DriveOptions } from './machine/disk-options.js';
export type { VmEvents, Warning } from './machine/events.js';
export type { VmExit } from './machine/exit.js';
export type { ForkOptions, ReviveOptions } from './machine/fork.js';
export type { GuestMemory } from './machine/guest-memory-api.js';
export type { MemoryOptions } from './machine/memory-options.js';
export type { BootOptions, ConsoleOptions, ConsoleReaderOptions, Logger, VmOptions } from './machine/options.js';
export type { PageSource } from './machine/page-source-options.js';
export type { ResumeOptions } from './machine/pauses.js';
export type { MemoryRange } from './machine/prefault.js';
export { prewarm } from './machine/prewarm.js';
export type { RateLimit } from './machine/rate-limit-options.js';
export type { RestoreOptions } from './machine/restore.js';
export { type CrashDumpOptions, Snapshot } from './machine/snapshot.js';
export type { SnapshotOptions } from './machine/snapshots.js';
export type { VmState } from './machine/states.js';
export type { Duration, Size } from './machine/units.js';
export { VirtualMachine } from './machine/virtual-machine.js';
