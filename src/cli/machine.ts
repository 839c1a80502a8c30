/**
 * What the command line program needs of the library: the part of the public API that `tsvmm run` uses. Main thread.
 *
 * `VirtualMachine` satisfies it, and so does the machine that the tests put in its place.
 */
import type { Duplex } from 'node:stream';
import type { Phase, TsvmmError } from '../errors.js';
import type { CpuChoice, DiskChoice } from './values.js';

/** The options of `VirtualMachine.start` that the command line can set. */
export interface StartOptions {
  name?: string;
  memory: number;
  cpus: number;
  cpu: CpuChoice;
  boot:
    | { kernel: string; initrd?: string; cmdline?: string }
    | { disk: number; entry?: number | string; append?: string };
  disks: DiskChoice[];
  console: { device: 'serial' | 'virtio'; whenUnread: 'block' };
  onReboot: 'reboot' | 'exit';
  logger?: Logger;
  signal?: AbortSignal;
}

export interface Logger {
  debug(fields: object, message?: string): void;
  info(fields: object, message?: string): void;
  warn(fields: object, message?: string): void;
  error(fields: object, message?: string): void;
}

export interface Warning {
  source: 'guest' | 'device' | 'host';
  device?: string;
  message: string;
  suppressed: number;
}

export type MachineExit = { consoleTail: string; uptimeMs: number } & (
  | { reason: 'power-off' | 'reset' | 'stopped' | 'killed' }
  | { reason: 'aborted'; cause: unknown }
  | { reason: 'panic'; message: string }
  | { reason: 'error'; error: TsvmmError }
);

export interface Machine {
  readonly id: string;
  readonly name: string;
  readonly phases: readonly Phase[];
  readonly console: Duplex & { resize(columns: number, rows: number): void };
  /** Never rejects. */
  readonly exited: Promise<MachineExit>;
  /** Power button, then force at the API's deadline. */
  stop(): Promise<MachineExit>;
  kill(): Promise<MachineExit>;
  on(event: 'state', listener: (to: string, from: string) => void): unknown;
  on(event: 'reboot', listener: () => void): unknown;
  on(event: 'warning', listener: (warning: Warning) => void): unknown;
}

export type StartMachine = (options: StartOptions) => Promise<Machine>;
