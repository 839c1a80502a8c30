/**
 * A disk that the program supplies: by functions on its main thread, or by a module in a worker of its own. Main thread.
 *
 * It is in one machine at a time, and stays as it is when that ends. It keeps no program alive.
 */
import type { UserDisk, UserDiskFacts, UserDiskSource } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { DiskFunctions } from '../threads/disk-functions.js';
import { DiskRequests, type DiskWarning } from '../threads/user-disk-requests.js';
import { bad } from './checks.js';
import { type DiskHandlers, diskFacts, diskHandlers } from './disk-handlers.js';
import { show } from './units.js';

/** Beside this module once bundled (scripts/build.js). */
const workerUrl = new URL('./disk-worker.cjs', import.meta.url);
const token = Symbol('Disk');

interface Origin {
  readonly facts: UserDiskFacts | undefined;
  /** `signal` ends the wait. */
  open(warn: DiskWarning, signal: AbortSignal): Promise<UserDiskSource>;
}

export class Disk implements AsyncDisposable {
  /** @internal esbuild renames a class that names itself. */
  static readonly name = 'Disk';
  readonly #origin: Origin;
  #facts: UserDiskFacts | undefined;
  /** By a machine, which may still be opening it. */
  #isTaken = false;
  #user: UserDiskSource | undefined;
  #disposing: Promise<void> | undefined;

  private constructor(key: symbol, origin: Origin) {
    if (key !== token) throw new TypeError('use Disk.from(handlers) or Disk.fromModule(url)');
    this.#origin = origin;
    this.#facts = origin.facts;
  }

  /** A disk whose content these functions supply, on this thread. Throws `ERR_TSVMM_CONFIG` for what cannot be one. */
  static from(handlers: DiskHandlers): Disk {
    return new Disk(token, functionsOrigin(diskHandlers('Disk.from', handlers)));
  }

  /**
   * A disk of a module, whose default export is `(data) => DiskHandlers`, maybe async. It runs in a worker thread of its
   * own, from the start of a machine to its end; `data` is cloned. It neither has the program's environment nor its flags.
   */
  static fromModule(module: URL, data?: unknown): Disk {
    if (!(module instanceof URL))
      throw bad(`Disk.fromModule: ${show(module)} is no URL`, "pass new URL('./disk.js', import.meta.url)");
    return new Disk(token, moduleOrigin(module.href, data));
  }

  /** Bytes. A disk of a module tells them once a machine has started with it; before that this throws. */
  get size(): number {
    return this.#known.size;
  }

  /** The guest cannot write to it. */
  get readOnly(): boolean {
    return this.#known.readOnly;
  }

  /** Nothing calls its functions any more: in a machine, every request fails from now on. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#user?.fail('has been disposed') ?? Promise.resolve();
    return this.#disposing;
  }

  /** @internal For one machine, until the source is closed. */
  async open(what: string, warn: DiskWarning, signal: AbortSignal): Promise<UserDiskSource> {
    this.#refuseDisposed(what);
    if (this.#isTaken)
      throw new TsvmmError('ERR_TSVMM_DISK_LOCKED', `${what} is in use by another machine`, {
        hint: 'a Disk is in one machine at a time: make another of the same functions if they can serve two',
      });
    this.#isTaken = true;
    try {
      const source = await this.#origin.open(warn, signal);
      if (this.#disposing !== undefined) await source.close();
      this.#refuseDisposed(what);
      this.#user = source;
      this.#facts = source.facts;
      return source;
    } catch (error) {
      this.#isTaken = false;
      throw error;
    }
  }

  /** @internal What `open` gave. */
  async release(source: UserDiskSource): Promise<void> {
    await source.close();
    this.#user = undefined;
    this.#isTaken = false;
  }

  #refuseDisposed(what: string): void {
    if (this.#disposing !== undefined) throw new TsvmmError('ERR_TSVMM_STATE', `${what} has been disposed`);
  }

  get #known(): UserDiskFacts {
    if (this.#facts !== undefined) return this.#facts;
    throw new TsvmmError('ERR_TSVMM_STATE', 'a disk of a module is not known before a machine has started with it');
  }
}

function functionsOrigin(disk: UserDisk): Origin {
  const requests = new DiskRequests(disk);
  return {
    facts: disk.facts,
    open: async (warn) => new DiskFunctions(disk.facts, requests, warn),
  };
}

const moduleOrigin = (module: string, data: unknown): Origin => ({
  facts: undefined,
  open: async (warn, signal) => {
    const { DiskModule } = await import('../threads/disk-module.js');
    const check = (values: Readonly<Record<string, unknown>>, functions: readonly string[]) => {
      const standIns = Object.fromEntries(functions.map((name) => [name, () => {}]));
      return diskFacts(`the disk of ${module}`, { ...values, ...standIns }, true);
    };
    return DiskModule.start({ url: workerUrl, module, data, check, warn, signal });
  },
});
