/** Types of index.js for TypeScript programs (the tests). */

export interface Transfer {
  from: string;
  to: string;
}

export interface LabOptions {
  /** Processors; 2 by default. */
  smp?: number;
  /** MiB; 3072 by default. */
  memory?: number;
  /** Files and folders from here into the lab, as `cp -a` does it; a `to` that ends in / keeps the name. */
  copy?: Transfer[];
  /** Packages of this checkout, with what they depend on, that the product itself does not need. */
  packages?: string[];
  /** Whether the test disks are in /images; true by default. */
  disks?: boolean;
  /**
   * A file here that is the drive /run/drives/scratch and outlives the lab, as a disk outlives a power cut: what the lab
   * has written to it and flushed is there, what it had only in memory is not. Made if it does not exist (16 GiB, sparse).
   */
  scratch?: string;
}

export interface StartOptions {
  /** /project by default. */
  cwd?: string;
  env?: Record<string, string>;
  /** Runs it on a terminal of this size; standard error then comes as standard output. */
  terminal?: { rows: number; columns: number };
  onStdout?: (data: Buffer) => void;
  onStderr?: (data: Buffer) => void;
}

export interface ExecOptions extends StartOptions {
  /** Empty by default. */
  stdin?: string | Uint8Array;
  /** Seconds, after which the lab is killed and the promise rejects with what was written so far and the console's last lines. */
  timeout?: number;
}

export interface ExecResult {
  stdout: string;
  stderr: string;
  /** 128 + N when signal N ended it, 127 when there is no such program. */
  exitCode: number;
}

/** A command under way. */
export interface Command {
  /** Rejects when the lab dies first. */
  readonly exited: Promise<number>;
  write(data: Uint8Array): boolean;
  /** The end of its input. */
  end(): void;
  resize(size: { rows: number; columns: number }): void;
  /** To the command and its children. */
  signal(signal: NodeJS.Signals): void;
}

/** A running lab. Commands may run side by side. */
export interface Lab extends AsyncDisposable {
  start(command: string[], options?: StartOptions): Command;
  exec(command: string[], options?: ExecOptions): Promise<ExecResult>;
  /** Files and folders of the lab to here, as `cp -a` does it. */
  get(items: Transfer[]): Promise<void>;
  /** Ends it at once, as a power cut would. */
  kill(): Promise<void>;
}

export class LabError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  constructor(message: string, options?: { hint?: string; cause?: unknown; exitCode?: number });
}

export type DiskName =
  | 'debian-gpt'
  | 'debian-mbr'
  | 'debian-bare'
  | 'debian-sdboot'
  | 'debian-uki'
  | 'debian-extlinux'
  | 'debian-xfs';

/** Builds what a lab of this size needs. */
export function ensureLab(options?: LabOptions): Promise<void>;
/** A lab of one's own, resumed from the saved one. */
export function openLab(options?: LabOptions): Promise<Lab>;
/** One command in a lab of its own, on this process's standard streams; its exit code. */
export function runInLab(
  command: string[],
  options?: LabOptions & { get?: Transfer[]; timeout?: number; env?: Record<string, string> },
): Promise<number>;
/** The paths of the test disks, built if need be. They are shared and read-only: copy one before booting it. */
export function ensureDisks(): Promise<Record<DiskName, string>>;
export function ensureDisk(name: DiskName): Promise<string>;
/** The path of a disk with a Debian that has fio and boots with the kernel of the test disks; built if need be, in a minute. */
export function ensureFioDisk(): Promise<string>;
/** The paths of a kernel without PCI and modules, built if need be, which takes a quarter of an hour. */
export function ensureMicrovmKernel(): Promise<{ bzImage: string; vmlinux: string }>;
/** The same of one with PCI and a driver for the identifier of a machine's generation. */
export function ensureGenerationKernel(): Promise<{ bzImage: string; vmlinux: string }>;
/** The path of the `vmlinux` of a kernel of Debian's, by its `uname -r`: downloaded if need be, 280 MB. */
export function ensureDebugSymbols(release: string): Promise<string>;
/** The cache folder of the test beds. */
export function cacheFolder(): string;
/** As root on Debian installs them, otherwise throws an error with the command to run. */
export function installPackages(packages: string[], why: string): void;
