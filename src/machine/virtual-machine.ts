/**
 * The public face of a machine: start, watch, stop. Main thread.
 *
 * A `VirtualMachine` outlives reboots: it owns what does not change (options, disks, console) and runs one `PowerCycle`
 * after another. Its promise to the embedding program: `exited` never rejects, no event is named 'error', nothing logs,
 * exits or reads the environment, and after the end nothing is left.
 */
import { EventEmitter } from 'node:events';
import { type InspectOptions, inspect } from 'node:util';
import { MachineEvent } from '../devices/wires.js';
import { asTsvmmError, type Phase, TsvmmError } from '../errors.js';
import { monotonicMs } from '../host/clock.js';
import { randomUUID } from '../host/random.js';
import { abortable } from './abortable.js';
import { BootProblems, watchBoot } from './boot-messages.js';
import type { BootWatch } from './boot-watch.js';
import type { Path } from './checks.js';
import { closeMachine } from './closing.js';
import { type CallOptions, GuestConsole } from './console.js';
import type { CycleMetrics } from './cycle-metrics.js';
import type { Disk } from './disk.js';
import { DiskChanges } from './disk-changes.js';
import { DiskSet } from './disk-set.js';
import type { VmEvents } from './events.js';
import { causeOf, type ExitReason, exitOf, startError, type VmExit } from './exit.js';
import { type ForkOptions, Forks } from './fork.js';
import { type GuestMemory, machineMemory } from './guest-memory-api.js';
import type { Origin } from './hardware.js';
import { openRestored, snapshotsOf } from './later-parts.js';
import { checkMemory } from './memory-check.js';
import { normalize, type VmConfig, type VmOptions } from './options.js';
import { Pauses, type ResumeOptions } from './pauses.js';
import { PhaseClock } from './phases.js';
import { type CycleHooks, PowerCycle } from './power-cycle.js';
import { Rest } from './rest.js';
import type { RestoreOptions } from './restore.js';
import type { Snapshot } from './snapshot.js';
import type { SnapshotOptions, Snapshots } from './snapshots.js';
import type { VmState } from './states.js';
import { stopMachine } from './stop.js';
import { parseDuration, show } from './units.js';
import { Voice } from './voice.js';

const defaultStopMs = 10_000;
/** A guest that resets faster than this is slowed down, so that it cannot keep main busy with starts. */
const restingUptimeMs = 1000;
const token = Symbol('VirtualMachine.start');

export class VirtualMachine extends EventEmitter<VmEvents> implements AsyncDisposable {
  /** @internal esbuild renames a class that names itself. */
  static override readonly name = 'VirtualMachine';
  #id: string | undefined;
  readonly name: string;
  readonly console: GuestConsole;
  readonly memory: GuestMemory;
  /** Resolves with why the machine ended; never rejects. */
  readonly exited: Promise<VmExit>;
  readonly #config: VmConfig;
  /** Of this power cycle. */
  #phases = new PhaseClock();
  #boot = this.#watchBoot();
  readonly #voice: Voice;
  #disks: DiskSet | undefined;
  #cycle: PowerCycle | undefined;
  /** A power-on under way: an end waits for it, and so does a change of a disk, since it uses the disks. */
  #poweringOn: Promise<unknown> | undefined;
  readonly #diskChanges: DiskChanges;
  #rebooting: Promise<unknown> = Promise.resolve();
  readonly #pauses = new Pauses({
    state: () => this.#voice.state,
    settled: () => this.#rebooting.then(() => this.#poweringOn),
    cycle: () => this.#cycle,
    moveTo: (state) => this.#voice.moveTo(state),
  });
  readonly #forks: Forks<VirtualMachine>;
  #snapshots: Promise<Snapshots> | undefined;
  #lastMetrics: CycleMetrics = { exits: {}, devices: {}, latencies: {} };
  #referenced = true;
  /** Between two power cycles of a guest that resets again and again. */
  readonly #rest = new Rest();
  #resolveExited!: (exit: VmExit) => void;
  /** Set by whoever first wants the machine to end; the reason it will have. */
  #ending: Promise<VmExit> | undefined;
  #reason: ExitReason | undefined;
  /** Cuts short a power-on under way, which may be looking at a disk that takes long. */
  readonly #ended = new AbortController();
  #stopping: Promise<VmExit> | undefined;
  #startedAt = monotonicMs();
  readonly #bootProblems = new BootProblems((warning) => this.#voice.warn(warning));

  private constructor(key: symbol, config: VmConfig) {
    super();
    if (key !== token) throw new TypeError('use VirtualMachine.start(options)');
    this.#config = config;
    this.name = config.name;
    this.#voice = new Voice(this, config.name, config.logger);
    this.console = new GuestConsole(config.console);
    this.console.watch((chunk) => this.#boot.see(chunk));
    this.memory = machineMemory(
      config.memory.size,
      () => this.#cycle,
      () => this.#voice.state,
    );
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    this.#forks = new Forks(config, this.#pauses, (of, origin) => VirtualMachine.#launch(() => of, origin));
    this.#diskChanges = new DiskChanges({
      poweringOn: () => this.#poweringOn,
      cycle: () => this.#cycle,
      ending: () => this.#ending && this.#voice.state,
    });
  }

  /**
   * Starts a machine; resolves once vCPU 0 has entered the guest. Rejects with a `TsvmmError` that carries the phases so
   * far, or with `options.signal`'s reason; nothing is left behind then.
   */
  static start(options: VmOptions): Promise<VirtualMachine> {
    return VirtualMachine.#launch(() => normalize(options));
  }

  /**
   * A machine that goes on from where one was when this snapshot was taken of it; any number of them, here and elsewhere. Memory
   * is read when the guest touches it. Rejects with `ERR_TSVMM_SNAPSHOT` when the snapshot or this host will not do.
   */
  static async restore(from: Path | Snapshot, options: RestoreOptions = {}): Promise<VirtualMachine> {
    await using restored = await openRestored(from, options);
    const vm = await VirtualMachine.#launch(() => restored.config, restored.origin);
    (await vm.#ownSnapshots()).note(restored.snapshot, restored.pieces);
    return vm;
  }

  /** With an origin, one that goes on as another was. */
  static async #launch(configure: () => VmConfig, origin?: Origin): Promise<VirtualMachine> {
    const config = configure();
    config.signal?.throwIfAborted();
    const vm = new VirtualMachine(token, config);
    config.signal?.addEventListener('abort', vm.#onAbort, { once: true });
    try {
      const concern = checkMemory(config.memory);
      if (concern !== undefined) vm.#voice.warn({ source: 'host', message: concern, suppressed: 0 });
      await vm.#poweredBy(() => vm.#openDisks().then(() => vm.#powerOn(origin)));
      vm.#throwIfEnded();
      // Its guest may have ended it already: then `exited` says how, and it does not run any more.
      if (vm.#voice.state === 'starting') vm.#voice.moveTo('running');
      setImmediate(() => vm.#voice.release());
      return vm;
    } catch (failure) {
      const error = config.signal?.aborted ? config.signal.reason : startError(failure, vm.phases, vm.console.tail);
      await vm.#end({ reason: 'error', error: asTsvmmError(failure, 'ERR_TSVMM_STATE') });
      throw error;
    }
  }

  /** @internal What console.log() shows. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    const { id, name, state } = this;
    return `VirtualMachine ${inspect({ id, name, state }, options)}`;
  }

  /** A UUID, this object's own. */
  get id(): string {
    this.#id ??= randomUUID();
    return this.#id;
  }

  get state(): VmState {
    return this.#voice.state;
  }

  /**
   * The steps of the start so far, in the order in which they ended, and what the console showed of the guest's own boot
   * (`guest: kernel`, `guest: login prompt`, ...). A reboot begins anew, from the guest's reset on.
   */
  get phases(): Phase[] {
    return [...this.#phases.phases];
  }

  /** As in `VmOptions.disks`, each of them a `Disk` whatever it was given as. */
  get disks(): readonly Disk[] {
    return this.#config.disks;
  }

  /** Counters of this power cycle: exits by kind, requests by device. After the end, those of the last one. */
  metrics(): CycleMetrics {
    return this.#cycle?.metrics() ?? this.#lastMetrics;
  }

  /** Presses the machine's power button. */
  async inject(event: 'power-button'): Promise<void> {
    if (event !== 'power-button') throw new TsvmmError('ERR_TSVMM_CONFIG', `inject: there is no event ${show(event)}`);
    if (this.#cycle === undefined)
      throw new TsvmmError('ERR_TSVMM_STATE', `a machine that is ${this.#voice.state} has no power button`);
    await this.#cycle.pressPowerButton();
  }

  /**
   * Asks the guest to power off by its power button; kills it after `timeout` (10 s). A stop under way is joined.
   * Rejects with `signal`'s reason if that aborts the wait; the machine then goes on stopping.
   */
  async stop(options: CallOptions = {}): Promise<VmExit> {
    options.signal?.throwIfAborted();
    const timeout = options.timeout === undefined ? defaultStopMs : parseDuration('timeout', options.timeout);
    this.#stopping ??= this.#stop(timeout);
    return abortable(this.#stopping, options.signal);
  }

  /**
   * Stops the machine where it is: its vCPUs stand still, its devices have finished what they had under way. It keeps its
   * memory and takes no processor. Idempotent; rejects if requests do not end within `timeout` (10 s), and it runs on.
   */
  pause(options: CallOptions = {}): Promise<void> {
    return this.#pauses.pause(options);
  }

  /** Lets a paused machine go on. Idempotent. */
  resume(options: ResumeOptions = {}): Promise<void> {
    return this.#pauses.resume(options);
  }

  /**
   * Another machine that goes on from where this one is, with its memory by copy-on-write; with `count` a list of them. This one
   * stands still for some milliseconds meanwhile, and goes on if it ran.
   */
  fork(options?: ForkOptions & { count?: undefined }): Promise<VirtualMachine>;
  fork(options: ForkOptions & { count: number }): Promise<VirtualMachine[]>;
  fork(options?: ForkOptions): Promise<VirtualMachine | VirtualMachine[]> {
    return this.#forks.make(options);
  }

  /**
   * Writes the machine to a directory, which must not exist, as it is now; it stands still for some milliseconds, and goes on
   * while its memory is written. Rejects with `ERR_TSVMM_SNAPSHOT`, or with `signal`'s reason, and nothing is left of it then.
   */
  async snapshot(directory: Path, options: SnapshotOptions = {}): Promise<Snapshot> {
    return (await this.#ownSnapshots()).take(directory, options);
  }

  /** Ends the machine now, as pulling its plug. Writes that the guest was told are done stay. Idempotent. */
  kill(): Promise<VmExit> {
    return this.#end({ reason: 'killed' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** The machine keeps the program alive (default). */
  ref(): this {
    this.#referenced = true;
    this.#cycle?.ref();
    this.#rest.ref();
    return this;
  }

  /** The program may end while the machine runs; the machine ends with it. */
  unref(): this {
    this.#referenced = false;
    this.#cycle?.unref();
    this.#rest.unref();
    return this;
  }

  #ownSnapshots(): Promise<Snapshots> {
    this.#snapshots ??= snapshotsOf(this.#config, this.#pauses);
    return this.#snapshots;
  }

  /** From its beginning to its end as one: nothing may come between the disks that are opened and the machine that uses them. */
  #poweredBy(powerOn: () => Promise<void>): Promise<void> {
    const done = powerOn();
    this.#poweringOn = done
      .catch(() => {})
      .then(() => {
        this.#poweringOn = undefined;
      });
    return done;
  }

  async #openDisks(): Promise<void> {
    await this.#phases.run('open disks', async () => {
      this.#disks = await DiskSet.take(this.#config.disks, {
        host: (index) => this.#diskChanges.host(index, this.disks[index]!),
        warning: (warning) => this.#voice.warn(warning),
        signal: this.#ended.signal,
      });
    });
  }

  async #powerOn(origin?: Origin): Promise<void> {
    const hooks: CycleHooks = {
      event: (event, detail) => this.#onEvent(event, detail),
      failed: (error) => void this.#end({ reason: 'error', error }),
      warning: (warning) => this.#voice.warn(warning),
      bootProblems: (disk, problems) => this.#bootProblems.tell(disk, problems),
    };
    const { signal } = this.#ended;
    await this.#diskChanges.settled;
    signal.throwIfAborted();
    const [disks, phases] = [this.#disks!, this.#phases];
    this.#cycle = await PowerCycle.start(this.#config, disks, this.console, phases, hooks, signal, origin);
    if (!this.#referenced) this.#cycle.unref();
  }

  #onEvent(event: MachineEvent, detail: number): void {
    if (event === MachineEvent.reset && this.#config.onReboot === 'reboot' && this.#stopping === undefined) {
      this.#rebooting = this.#reboot().catch((error) =>
        this.#end({ reason: 'error', error: asTsvmmError(error, 'ERR_TSVMM_STATE') }),
      );
      return;
    }
    // A kernel that resets after its panic has panicked, whether or not it has a driver for pvpanic.
    const ended = event === MachineEvent.reset && this.#boot.panic !== undefined ? MachineEvent.panic : event;
    const exit = exitOf(ended, detail, this.console.tail);
    const asked = this.#stopping !== undefined && exit.reason === 'power-off';
    void this.#end(asked ? { reason: 'stopped' } : exit);
  }

  async #reboot(): Promise<void> {
    await this.#poweringOn; // a guest may reset while its other vCPUs are still on their way in
    const cycle = this.#cycle;
    if (cycle === undefined || this.#ending !== undefined) return;
    this.#voice.log('guest reset');
    this.#lastMetrics = cycle.metrics();
    await cycle.close();
    this.#cycle = undefined;
    if (this.#ending !== undefined) return;
    this.#voice.tell('reboot');
    this.#phases = new PhaseClock();
    this.#boot = this.#watchBoot();
    const resting = restingUptimeMs - cycle.uptimeMs;
    if (resting > 0) await this.#rest.wait(resting, this.#referenced);
    // An end that comes meanwhile finds the next cycle and closes it.
    if (this.#ending === undefined) await this.#poweredBy(() => this.#powerOn({ battery: cycle.battery }));
  }

  #watchBoot(): BootWatch {
    const runs = (boot: BootWatch): boolean => this.#ending === undefined && this.#boot === boot;
    return watchBoot(this.#phases, runs, (warning) => this.#voice.tell('warning', warning));
  }

  async #stop(timeout: number): Promise<VmExit> {
    if (this.#ending !== undefined) return this.#ending;
    if (this.#voice.state === 'paused') await this.resume().catch((error) => this.#ending ?? Promise.reject(error));
    if (this.#voice.state === 'running') this.#voice.moveTo('stopping');
    const failed = (cause: unknown): void =>
      this.#voice.tell('warning', { source: 'host', message: 'the power button did not work', suppressed: 0, cause });
    const press = (): void => void this.#cycle?.pressPowerButton().catch(failed);
    return stopMachine({ exited: this.exited, press, kill: () => void this.kill() }, timeout);
  }

  /** The one way out: whoever comes first decides the reason, everybody waits for the same end. */
  #end(reason: ExitReason): Promise<VmExit> {
    if (this.#ending === undefined) {
      this.#reason = reason;
      this.#rest.cut();
      this.#ended.abort(causeOf(reason));
      this.#ending = this.#finish(reason);
    }
    return this.#ending;
  }

  async #finish(reason: ExitReason): Promise<VmExit> {
    await this.#poweringOn;
    if (this.#voice.state !== 'stopping') this.#voice.moveTo('stopping');
    this.#config.signal?.removeEventListener('abort', this.#onAbort);
    if (reason.reason === 'error') reason.error.phases ??= this.phases;
    const cycle = this.#cycle;
    if (cycle !== undefined) this.#lastMetrics = cycle.metrics();
    this.#cycle = undefined;
    const closeDisks = () => this.#diskChanges.settled.then(() => this.#disks?.close());
    const unclean = (cause: unknown): void =>
      this.#voice.tell('warning', {
        source: 'host',
        message: 'the machine did not close cleanly',
        suppressed: 0,
        cause,
      });
    const failures = await closeMachine(cycle, closeDisks, async () => this.console.finish(), unclean);
    const exit = { ...reason, consoleTail: this.console.tail, uptimeMs: monotonicMs() - this.#startedAt } as VmExit;
    if (reason.reason === 'error' && exit.consoleTail !== '') reason.error.consoleTail ??= exit.consoleTail;
    failures.forEach(unclean);
    this.#voice.moveTo('stopped');
    this.#voice.log('machine ended', { reason: exit.reason, uptimeMs: exit.uptimeMs });
    this.#resolveExited(exit);
    this.#voice.tell('exit', exit);
    return exit;
  }

  readonly #onAbort = (): void => {
    void this.#end({ reason: 'aborted', cause: this.#config.signal!.reason });
  };

  #throwIfEnded(): void {
    if (this.#reason?.reason === 'aborted') throw this.#reason.cause;
    if (this.#reason?.reason === 'error') throw this.#reason.error;
  }
}
