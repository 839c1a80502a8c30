/**
 * A disk as the program has it: an image, or functions of its own, and what a machine's drive makes of it. Main thread.
 *
 * It is in one machine at a time, and keeps no program alive. What is in it can be exchanged while the machine runs; then
 * this object stays and stands for what is in it.
 */
import { TsvmmError } from '../errors.js';
import { allocateBuckets, type RateLimit as RateLimitConfig } from '../virtio/rate-limit.js';
import { bad } from './checks.js';
import type { CallOptions } from './console.js';
import { checkFits, type DriveFacts, factsOf } from './disk-fit.js';
import { type DiskHandlers, diskHandlers } from './disk-handlers.js';
import type { DiskHost, MediumChange, Place } from './disk-host.js';
import { type DiskOptions, type DriveConfig, type DriveOptions, diskConfig, driveConfig } from './disk-options.js';
import {
  type DiskOrigin,
  disposed,
  emptyOrigin,
  frozenOrigin,
  functionsOrigin,
  moduleOrigin,
  type OpenOptions,
  openOrigin,
  pathOrigin,
} from './disk-origin.js';
import { FileMedium } from './file-medium.js';
import { FrozenDisk, forgetFrozen, freezeMedium, freezingOf } from './frozen-disk.js';
import type { Medium } from './medium.js';
import { type RateLimit, rateLimit } from './rate-limit-options.js';
import { formatSize, parseSize, type Size, show } from './units.js';

const token = Symbol('Disk');

export class Disk implements AsyncDisposable {
  /** @internal esbuild renames a class that names itself. */
  static readonly name = 'Disk';
  #origin: DiskOrigin;
  readonly #drive: DriveConfig;
  /** One of `VmOptions`: no other machine will have it, whatever is in it by then. */
  readonly #ofMachine: boolean;
  #limit: RateLimitConfig | undefined;
  readonly #buckets = allocateBuckets();
  /** While it is open. */
  #medium: Medium | undefined;
  #size: number | undefined;
  #readOnly: boolean | undefined;
  /** By a machine, which may still be opening it, or by another disk that takes over what is in it. */
  #isTaken = false;
  #in: Place | undefined;
  /** What its machine's driver was told at the last power-on. */
  #told: DriveFacts | undefined;
  /** What the driver knows already, of a machine that goes on from where another was. */
  #assumed: DriveFacts | undefined;
  /** Changes come one after the other. */
  #changes: Promise<unknown> = Promise.resolve();
  #disposing: Promise<void> | undefined;
  /** Why it cannot be used any more. */
  #gone: TsvmmError | undefined;

  private constructor(key: symbol, origin: DiskOrigin, drive: DriveConfig, ofMachine = false) {
    if (key !== token) throw new TypeError('use Disk.open(path), Disk.from(handlers) or Disk.fromModule(url)');
    this.#origin = origin;
    this.#drive = drive;
    this.#ofMachine = ofMachine;
    this.#limit = drive.limit;
    this.#note(origin.facts);
  }

  /**
   * Opens an image and locks it until the disk is disposed of, for one machine after another: what was written to an
   * ephemeral one stays between them. Rejects as `VirtualMachine.start` does for an image that cannot be used.
   */
  static async open(path: DiskOptions['path'], options: Omit<DiskOptions, 'path'> = {}): Promise<Disk> {
    const { medium, drive } = diskConfig('Disk.open', { ...options, path });
    return new Disk(token, openOrigin(await FileMedium.open(medium)), drive);
  }

  /** A disk whose content these functions supply, on this thread. Throws `ERR_TSVMM_CONFIG` for what cannot be one. */
  static from(handlers: DiskHandlers, options: DriveOptions = {}): Disk {
    return new Disk(token, functionsOrigin(diskHandlers('Disk.from', handlers)), driveConfig('Disk.from', options));
  }

  /**
   * A disk of a module, whose default export is `(data) => DiskHandlers`, maybe async. It runs in a worker thread of its
   * own, from the start of a machine to its end; `data` is cloned. It neither has the program's environment nor its flags.
   */
  static fromModule(module: URL, data?: unknown, options: DriveOptions = {}): Disk {
    if (!(module instanceof URL))
      throw bad(`Disk.fromModule: ${show(module)} is no URL`, "pass new URL('./disk.js', import.meta.url)");
    return new Disk(token, moduleOrigin(module.href, data), driveConfig('Disk.fromModule', options));
  }

  /** @internal One of `VmOptions`, which its machine opens and closes. */
  static ofOptions(what: string, options: DiskOptions): Disk {
    const { medium, drive } = diskConfig(what, options);
    return new Disk(token, pathOrigin(medium), drive, true);
  }

  /** @internal A copy of its own of what a disk was, for one machine, at whose end that is released. */
  static ofFrozen(frozen: FrozenDisk): Disk {
    const disk = new Disk(token, frozenOrigin(frozen), frozen.drive, true);
    if (frozen.told !== undefined) disk.assume(frozen.told);
    return disk;
  }

  /**
   * Bytes, 0 when nothing is in it. What a machine opens (an image by its path, a module) has a size once a machine has
   * started with it; before that this throws.
   */
  get size(): number {
    return this.#known(this.#size);
  }

  /** The guest cannot write to it. */
  get readOnly(): boolean {
    return this.#known(this.#readOnly);
  }

  /**
   * Makes it larger, at once for a guest that runs with it: an image file is extended, a device must have the room, and
   * functions are asked for what lies beyond the old end. Never smaller, which would cost the guest its data.
   */
  resize(size: Size, options: CallOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      const bytes = parseSize('resize', size);
      const medium = this.#medium ?? this.#origin.held;
      if (medium === undefined)
        throw new TsvmmError('ERR_TSVMM_STATE', `${this.#name} is not open: it cannot be resized`, {
          hint: 'a disk given by its path is open while its machine runs; Disk.open opens it before',
        });
      const now = medium.open.size;
      if (bytes < now)
        throw bad(
          `resize: ${formatSize(bytes)} is less than the ${formatSize(now)} of ${this.#name}`,
          'a disk can only grow: what is beyond the end would be lost',
        );
      const prepare = async (): Promise<Medium> => {
        await medium.grow(bytes);
        return medium;
      };
      await this.#change({ ...options, syncs: false, isTold: true, prepare, commit: () => this.#note(medium.open) });
    });
  }

  /** How much the guest may read and write from now on; `null`: as much as it can. */
  setLimit(limit: RateLimit | null): void {
    this.#limit = rateLimit('setLimit', limit);
    this.#in?.host.limit(this.#limit);
  }

  /**
   * Exchanges what is in it, for a guest that runs with it as well: what was written before is made durable, requests wait
   * meanwhile, and the guest is told the new size. `next` is used up: this disk stands for it from now on, with its own
   * serial number, limit and `onError`. `null` leaves it empty. Only one that is `removable`; a guest must not have it in
   * use, as it is told of the size alone.
   */
  swap(next: Disk | null, options: CallOptions = {}): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#drive.removable)
        throw new TsvmmError('ERR_TSVMM_STATE', `${this.#name} is not removable`, {
          hint: 'give it the option removable: true',
        });
      if (next !== null && !(next instanceof Disk))
        throw bad('swap: expected a disk or null', 'pass await Disk.open(path)');
      if (next === this) throw bad('swap: a disk cannot be exchanged for itself', 'pass another disk, or null');
      const place = this.#in;
      if (place === undefined)
        throw new TsvmmError('ERR_TSVMM_STATE', `${this.#name} is in no machine: there is nothing to exchange it for`);
      const before = this.#origin;
      const medium = this.#medium;
      if (next === null) await this.#exchange(place, emptyOrigin, undefined, options);
      else await this.#takeOver(next, place, options);
      if (medium !== undefined) await before.release(medium);
      await before.dispose();
    });
  }

  /**
   * Gives back what it holds. In a machine, its functions are not called any more and every request fails from now on; an
   * image is taken out.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  /** @internal For one machine, until `detach`. */
  async attach(host: DiskHost, options: OpenOptions): Promise<void> {
    let leave!: () => void;
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    await this.#take(options, async (medium) => {
      this.#medium = medium;
      this.#note(medium?.open ?? { size: 0, readOnly: this.#assumed?.readOnly ?? false });
      this.#in = { host, options, left, leave };
    });
  }

  /** @internal The machine's end: neither it nor its I/O worker uses the disk any more, and no change is under way. */
  async detach(): Promise<void> {
    const medium = this.#medium;
    const leave = this.#in?.leave;
    this.#in = undefined;
    this.#told = undefined;
    this.#medium = undefined;
    try {
      if (medium !== undefined) await this.#origin.release(medium);
      if (this.#ofMachine) await this.#origin.dispose();
    } finally {
      this.#isTaken = false;
      leave?.();
    }
  }

  /** @internal */
  get drive(): DriveConfig & { readonly limit: RateLimitConfig | undefined; readonly buckets: SharedArrayBuffer } {
    return { ...this.#drive, limit: this.#limit, buckets: this.#buckets };
  }

  /** @internal While a machine has it; undefined when nothing is in it. */
  get medium(): Medium | undefined {
    return this.#medium;
  }

  /** @internal A machine powers on: what its driver is told. An empty drive is as it was before. */
  tell(): DriveFacts {
    const assumed = this.#assumed;
    this.#assumed = undefined;
    if (assumed !== undefined && this.#medium !== undefined) checkFits(this.#name, assumed, this.#medium);
    this.#told =
      assumed === undefined ? factsOf(this.#medium, this.#told) : { ...assumed, size: this.#medium?.open.size ?? 0 };
    return this.#told;
  }

  /** @internal What its machine's driver knows of it. */
  get told(): DriveFacts | undefined {
    return this.#told;
  }

  /** @internal The machine that will have it goes on with a driver that has been told this. Until the next power-on. */
  assume(told: DriveFacts): void {
    this.#assumed = told;
  }

  /** @internal Does beforehand what may take long of `freeze`, which follows soon. Throws if it cannot be frozen. */
  async prepareFreeze(): Promise<void> {
    await this.#inTurn(async () => {
      const medium = this.#freezable();
      if (medium !== undefined) await freezingOf(medium, this.#place).prepareFreeze();
    });
  }

  /** @internal What it is now, whatever becomes of it; released by the caller, who holds it. Its machine stands still, if it is in one. */
  async freeze(options: CallOptions = {}): Promise<FrozenDisk> {
    const medium = this.#freezable();
    const drive = { drive: { ...this.#drive, limit: this.#limit }, told: this.#told };
    if (medium === undefined) return new FrozenDisk(drive);
    const frozen = await freezeMedium(medium, drive, this.#place, (change) => this.#change({ ...options, ...change }));
    medium.freezing!.onIdle(() => void this.#forget(medium));
    return frozen;
  }

  /** @internal Resolves when no change is under way; none begins before what it resolves to is called. */
  hold(): Promise<() => void> {
    return new Promise((resolve, reject) => void this.#inTurn(() => new Promise<void>(resolve)).catch(reject));
  }

  get #name(): string {
    return this.#origin.name ?? this.#place ?? 'the disk';
  }

  get #place(): string | undefined {
    return this.#in?.options.what;
  }

  /** What is in it, undefined if nothing is. */
  #freezable(): Medium | undefined {
    this.#refuse(this.#name);
    const medium = this.#medium ?? this.#origin.held;
    if (medium !== undefined || this.#in !== undefined) return medium;
    throw new TsvmmError('ERR_TSVMM_STATE', `${this.#name} is not open: it cannot be frozen`);
  }

  /** What was frozen of it has gone. */
  async #forget(medium: Medium): Promise<void> {
    await this.#inTurn(async () => {
      if ((this.#medium ?? this.#origin.held) === medium) await forgetFrozen(medium, (change) => this.#change(change));
    }).catch(() => {}); // its machine ends, or is busy: it goes with the medium, or next time
  }

  /** In a machine, between its requests. */
  async #change(change: MediumChange): Promise<void> {
    if (this.#in !== undefined) await this.#in.host.change(change);
    else change.commit(await change.prepare());
  }

  async #exchange(place: Place, origin: DiskOrigin, medium: Medium | undefined, options: CallOptions): Promise<void> {
    const check = (): void => {
      if (medium !== undefined && this.#told !== undefined) checkFits(this.#name, this.#told, medium);
    };
    const prepare = async (): Promise<Medium | undefined> => {
      check(); // a machine that was starting has told its driver meanwhile
      return medium;
    };
    const commit = (): void => {
      this.#origin = origin;
      this.#medium = medium;
      this.#note(medium?.open ?? { size: 0, readOnly: this.#readOnly ?? false });
    };
    check();
    await place.host.change({ ...options, syncs: true, isTold: true, prepare, commit });
  }

  /**
   * Opens it for whoever has it from now on, in its turn: until `use` has ended nobody changes it or closes it. Who comes
   * second is refused at once, so that no two disks wait for each other's turns.
   */
  async #take(options: OpenOptions, use: (medium: Medium | undefined) => Promise<void>): Promise<void> {
    const what = this.#origin.name ?? options.what;
    this.#refuse(what);
    if (this.#isTaken)
      throw new TsvmmError('ERR_TSVMM_DISK_LOCKED', `${what} is in use by another machine`, {
        hint: 'a Disk is in one machine at a time: make another of the same functions if they can serve two',
      });
    this.#isTaken = true;
    try {
      await this.#inTurn(async () => {
        const medium = await this.#origin.open(options);
        try {
          if (this.#disposing !== undefined) throw disposed(what);
          await use(medium);
        } catch (error) {
          if (medium !== undefined) await this.#origin.release(medium);
          throw error;
        }
      });
    } catch (error) {
      this.#isTaken = false;
      throw error;
    }
  }

  async #takeOver(next: Disk, place: Place, options: CallOptions): Promise<void> {
    await next.#take(place.options, async (medium) => {
      await this.#exchange(place, next.#origin, medium, options);
      medium?.freezing?.onIdle(() => void this.#forget(medium));
      next.#gone = new TsvmmError('ERR_TSVMM_STATE', `${next.#name} has become what is in another disk`);
    });
  }

  async #dispose(): Promise<void> {
    const failed = this.#medium;
    await failed?.fail?.('has been disposed'); // at once: a change may wait for what its functions do
    await this.#inTurn(async () => {
      if (this.#gone !== undefined) return;
      const before = this.#origin;
      const medium = this.#medium;
      const place = this.#in;
      if (medium?.fail !== undefined) return medium === failed ? undefined : medium.fail('has been disposed');
      if (medium !== undefined && place !== undefined) {
        // A machine that ends meanwhile gives it back.
        const isOut = await this.#exchange(place, emptyOrigin, undefined, {}).then(
          () => true,
          () => place.left,
        );
        if (isOut === true) await before.release(medium);
      }
      await before.dispose();
    }, true);
  }

  /** One change after the other. */
  #inTurn<T>(change: () => Promise<T>, isLast = false): Promise<T> {
    const done = this.#changes.then(() => {
      if (!isLast) this.#refuse(this.#name);
      return change();
    });
    this.#changes = done.catch(() => {});
    return done;
  }

  #refuse(what: string): void {
    if (this.#gone !== undefined) throw this.#gone;
    if (this.#disposing !== undefined) throw disposed(what);
  }

  #note(facts: { readonly size: number; readonly readOnly: boolean } | undefined): void {
    this.#size = facts?.size;
    this.#readOnly = facts?.readOnly;
  }

  #known<T>(value: T | undefined): T {
    if (this.#gone !== undefined) throw this.#gone;
    if (value !== undefined) return value;
    throw new TsvmmError('ERR_TSVMM_STATE', `${this.#name} is not known before a machine has started with it`);
  }
}
