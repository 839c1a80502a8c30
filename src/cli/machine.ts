/**
 * What `tsvmm run` needs of a machine: the part of the public API that it uses. Main thread.
 *
 * `VirtualMachine` satisfies it, and so does the machine that the tests put in its place.
 */
import type { Duplex } from 'node:stream';
import type { Phase } from '../errors.js';
import type { Warning } from '../machine/events.js';
import type { VmExit } from '../machine/exit.js';
import type { ForkOptions } from '../machine/fork.js';
import type { VmOptions } from '../machine/options.js';
import type { ResumeOptions } from '../machine/pauses.js';
import type { RestoreOptions } from '../machine/restore.js';
import type { Snapshot } from '../machine/snapshot.js';
import type { SnapshotOptions } from '../machine/snapshots.js';

export interface Machine {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly phases: readonly Phase[];
  readonly console: Duplex & { readonly tail: string; resize(columns: number, rows: number): void };
  metrics(): { readonly exits: Readonly<Record<string, number>> };
  /** Never rejects. */
  readonly exited: Promise<VmExit>;
  /** Power button, then force after `timeout` milliseconds. */
  stop(options: { timeout: number }): Promise<VmExit>;
  kill(): Promise<VmExit>;
  pause(): Promise<void>;
  resume(options: Pick<ResumeOptions, 'clock'>): Promise<void>;
  snapshot(directory: string, options: Pick<SnapshotOptions, 'diffFrom' | 'onProgress' | 'signal'>): Promise<Snapshot>;
  fork(options: Pick<ForkOptions, 'names' | 'clock'> & { count: number }): Promise<Machine[]>;
  on(event: 'state', listener: (to: string, from: string) => void): unknown;
  on(event: 'reboot', listener: () => void): unknown;
  on(event: 'warning', listener: (warning: Warning) => void): unknown;
}

export type RestoreMachine = (directory: string, options: RestoreOptions) => Promise<Machine>;
export type StartMachine = (options: VmOptions) => Promise<Machine>;
