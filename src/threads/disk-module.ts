/**
 * Main's end of the worker of a disk's module: starts it, reads through it for the boot, notices its death. Main thread.
 *
 * The worker keeps nothing alive but while an answer is awaited. When it dies, or does not answer any more, every request
 * fails from then on: main takes its place at the channel, and the machine goes on.
 */
import type { Worker } from 'node:worker_threads';
import type { OpenUserDisk } from '../disk/user-channel.js';
import type { UserDiskFacts, UserDiskSource } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { AwaitedWorker } from './awaited-worker.js';
import type { DiskCommand, DiskReport, DiskWorkerData } from './disk-protocol.js';
import { DiskRequests, type DiskWarning, reasonOf } from './user-disk-requests.js';
import { UserDiskServer } from './user-disk-server.js';
import { graceMs, UserDiskWatch } from './user-disk-watch.js';
import { startWorker } from './worker-start.js';

/** For the module's code and what its default export does. */
const loadMs = 30_000;
/** The worker itself waits for a second. */
const closeMs = 2000;

export interface DiskModuleOptions extends DiskWorkerData {
  /** The bundle of disk-worker.ts. */
  readonly url: URL;
  /** Says what the module's disk is, or throws what is wrong with it. */
  check(values: Readonly<Record<string, unknown>>, functions: readonly string[]): UserDiskFacts;
  readonly warn: DiskWarning;
  readonly signal: AbortSignal;
  readonly loadTimeout?: number;
}

interface Waiter {
  resolve(report: DiskReport): void;
  reject(error: unknown): void;
}

export class DiskModule implements UserDiskSource {
  facts!: UserDiskFacts;
  readonly #options: DiskModuleOptions;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #loading: Waiter | undefined;
  readonly #reads = new Map<number, Waiter>();
  #next = 1;
  readonly #awaited: AwaitedWorker;
  #served: OpenUserDisk | undefined;
  #watch: UserDiskWatch | undefined;
  #replacement: UserDiskServer | undefined;
  #cause: unknown;
  /** Why it was ended before its time. */
  #givenUp: string | undefined;
  #dead: TsvmmError | undefined;
  #closing: Promise<void> | undefined;
  #onClosed: (() => void) | undefined;

  /** Rejects when the module has no usable disk, and when it takes too long. */
  static async start(options: DiskModuleOptions): Promise<DiskModule> {
    options.signal.throwIfAborted();
    const started = startedWith(options);
    try {
      started.facts = await started.#load();
      return started;
    } catch (error) {
      await started.#terminate();
      throw error;
    }
  }

  /** @internal */
  constructor(options: DiskModuleOptions) {
    this.#options = options;
    const { module, data } = options;
    this.#worker = startWorker(options.url, {
      name: 'tsvmm-disk',
      workerData: { module, data } satisfies DiskWorkerData,
      stdout: false, // what the module prints is the program's to print
      stderr: false,
    });
    this.#awaited = new AwaitedWorker(this.#worker);
    this.#worker.on('message', this.#onReport);
    this.#worker.once('error', (cause) => {
      this.#cause = cause;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#onExit(code);
        resolve();
      });
    });
  }

  serve(disk: OpenUserDisk): void {
    this.#served = disk;
    if (this.#dead !== undefined) {
      this.#replace();
      return;
    }
    this.#post({ type: 'serve', disk });
    this.#watch = new UserDiskWatch(disk, this.facts.timeout, () =>
      this.#giveUp('does not answer: it blocks its thread'),
    );
  }

  async read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    if (this.#dead !== undefined) throw this.#dead;
    const id = this.#next++;
    const onAbort = (): void => {
      this.#reads.get(id)?.reject(signal.reason);
      this.#post({ type: 'abort', id });
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const late = setTimeout(
      () => this.#giveUp('does not answer: it blocks its thread'),
      this.facts.timeout + graceMs,
    ).unref();
    try {
      const answered = new Promise<DiskReport>((resolve, reject) => this.#reads.set(id, { resolve, reject }));
      this.#post({ type: 'read', id, offset, length });
      const report = (await this.#awaited.until(answered)) as Extract<DiskReport, { type: 'read' }>;
      if (report.bytes !== undefined) return report.bytes;
      throw new Error(report.failure);
    } finally {
      clearTimeout(late);
      this.#reads.delete(id);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async fail(why: string): Promise<void> {
    if (this.#dead !== undefined || this.#closing !== undefined) return;
    this.#giveUp(why);
    await this.#exited;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #load(): Promise<UserDiskFacts> {
    const { module, signal, check, loadTimeout = loadMs } = this.#options;
    const loaded = new Promise<DiskReport>((resolve, reject) => {
      this.#loading = { resolve, reject };
    });
    const onAbort = (): void => this.#loading?.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const late = setTimeout(() => this.#loading?.reject(tooLate(module, loadTimeout)), loadTimeout);
    try {
      const report = await this.#awaited.until(loaded);
      if (report.type === 'failed') {
        const error = new TsvmmError(
          'ERR_TSVMM_CONFIG',
          `the disk module ${module} cannot be used: ${report.message}`,
          {
            hint: 'its default export is a function (data) => ({ size, read, ... })',
            details: { stack: report.stack },
          },
        );
        throw error;
      }
      if (report.type !== 'loaded') throw new Error(report.type);
      const facts = check(report.values, report.functions);
      this.#post({ type: 'open', facts });
      return facts;
    } finally {
      clearTimeout(late);
      signal.removeEventListener('abort', onAbort);
      this.#loading = undefined;
    }
  }

  async #close(): Promise<void> {
    this.#watch?.close();
    if (this.#dead === undefined) {
      const closed = new Promise<void>((resolve) => {
        this.#onClosed = resolve;
      });
      this.#post({ type: 'close' });
      let late: NodeJS.Timeout | undefined;
      const given = new Promise<void>((resolve) => {
        late = setTimeout(resolve, closeMs);
      });
      await this.#awaited.until(Promise.race([closed, given, this.#exited]));
      clearTimeout(late);
    }
    await this.#terminate();
    this.#replacement?.close();
  }

  async #terminate(): Promise<void> {
    this.#closing ??= Promise.resolve(); // what its exit says is nobody's news
    await this.#worker.terminate();
    await this.#exited;
  }

  /** For a worker that does not answer: it is ended, and its exit says why. */
  #giveUp(why: string): void {
    this.#givenUp ??= why;
    void this.#worker.terminate();
  }

  #post(command: DiskCommand): void {
    this.#worker.postMessage(command);
  }

  readonly #onReport = (report: DiskReport): void => {
    switch (report.type) {
      case 'loaded':
      case 'failed':
        this.#loading?.resolve(report);
        break;
      case 'read':
        this.#reads.get(report.id)?.resolve(report);
        break;
      case 'warning':
        this.#options.warn(report.message, report.suppressed, undefined);
        break;
      case 'closed':
        this.#onClosed?.();
        break;
      default:
        report satisfies never;
    }
  };

  #onExit(code: number): void {
    const cause = this.#cause;
    const why =
      this.#givenUp ?? (cause === undefined ? `ended by itself with code ${code}` : `failed: ${reasonOf(cause)}`);
    this.#dead = new TsvmmError('ERR_TSVMM_WORKER_DIED', `the disk module ${this.#options.module} ${why}`, { cause });
    this.#watch?.close();
    const isNews = this.#closing === undefined && this.#loading === undefined;
    this.#loading?.reject(this.#dead);
    for (const { reject } of this.#reads.values()) reject(this.#dead);
    this.#reads.clear();
    if (!isNews) return;
    this.#options.warn(`${this.#dead.message}; every request fails from now on`, 0, cause);
    if (this.#served !== undefined) this.#replace();
  }

  /** Answers everything with an error. */
  #replace(): void {
    const none = () => Promise.reject(this.#dead);
    const requests = new DiskRequests({ facts: this.facts, functions: { read: none } }, this.#options.warn);
    void requests.close({ message: this.#dead!.message });
    this.#replacement = new UserDiskServer(this.#served!, requests);
  }
}

function startedWith(options: DiskModuleOptions): DiskModule {
  try {
    return new DiskModule(options);
  } catch (cause) {
    if ((cause as Error).name !== 'DataCloneError') throw cause;
    throw new TsvmmError('ERR_TSVMM_CONFIG', `the data for the disk module ${options.module} cannot be cloned`, {
      hint: 'functions and class instances stay on their thread: pass plain values',
      cause,
    });
  }
}

const tooLate = (module: string, ms: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_TIMEOUT', `the disk module ${module} was not ready in ${ms} ms`, {
    hint: 'let its default export return the disk at once, and let the disk get ready when it is read',
  });
