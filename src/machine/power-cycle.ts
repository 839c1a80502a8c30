/**
 * A machine from power-on to power-off: hardware, host ends, data paths, vCPUs. Main thread.
 *
 * Everything is closed in reverse: vCPUs first, then data paths, then the KVM machine, and memory only when KVM has let
 * go of it. A vCPU that cannot be stopped keeps everything it could still touch.
 */
import type { MachineEvent } from '../devices/wires.js';
import { asTsvmmError, type TsvmmError } from '../errors.js';
import { monotonicMs } from '../host/clock.js';
import type { ClockPolicy } from '../kvm/clock-save.js';
import { eventDetail, eventOf, lockOwner, type VcpuControl, VcpuControlMap } from '../memory/control.js';
import type { CopyJob } from '../memory/copy-job.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { SharedLock } from '../memory/lock.js';
import { VcpuHandle } from '../threads/vcpu-handle.js';
import type { PooledWorker } from '../threads/vcpu-pool.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { abortable, inTime, type Limits } from './abortable.js';
import { allSettled } from './all-settled.js';
import type { GuestConsole } from './console.js';
import { CopyAhead } from './copy-ahead.js';
import { loadBoot } from './cycle-boot.js';
import { type CycleMetrics, countExits } from './cycle-metrics.js';
import { DataPaths } from './data-paths.js';
import type { MediumChange } from './disk-host.js';
import type { DiskSet } from './disk-set.js';
import type { Warning } from './events.js';
import { Gathering } from './gathering.js';
import { type Battery, Hardware, noPage, type Origin } from './hardware.js';
import { HostEnds } from './host-ends.js';
import { type KvmContext, kvmContext } from './kvm-context.js';
import { captureMachine, type MachineImage } from './machine-image.js';
import type { VmConfig } from './options.js';
import { Ownership } from './ownership.js';
import type { PhaseClock } from './phases.js';
import { type MachinePlan, planMachine } from './plan.js';
import { PowerOn } from './power-on.js';
import type { MemoryRange } from './prefault.js';
import { vcpuPool } from './prewarm.js';
import type { SourceMemory } from './source-memory.js';
import { goOnFrom, refuseHeld, type Standstill, standStill } from './standstill.js';

export interface CycleHooks {
  /** The guest asked to end or to restart; at most once. */
  event(event: MachineEvent, detail: number): void;
  /** The machine cannot go on; at most once. */
  failed(error: TsvmmError): void;
  warning(warning: Warning): void;
  /** What is wrong with the disk that is booted, at every boot; few and short. */
  bootProblems(disk: number, problems: readonly string[]): void;
}

export class PowerCycle {
  readonly #hooks: CycleHooks;
  readonly #owned: Ownership;
  readonly #startedAt = monotonicMs();
  readonly #hardware: Hardware;
  readonly #hostEnds: HostEnds;
  readonly #dataPaths: DataPaths;
  /** Of memory, before a `capture`. */
  readonly ahead: CopyAhead;
  readonly #vcpus: readonly VcpuHandle[];
  readonly #vcpuControls: readonly VcpuControl[];
  /** Since it was paused. */
  #still: Standstill | undefined;
  readonly #gathering = new Gathering(() => this.#onRing());
  /** Until then nobody hears of what the guest asks for: a machine that has begun has not failed to. */
  #hasEntered = false;
  /** The hooks have heard of the end. */
  #told = false;
  /** What was counted when it began to close: the counters are other machines' afterwards. */
  #counted: CycleMetrics | undefined;

  private constructor(
    config: VmConfig,
    context: KvmContext,
    plan: MachinePlan,
    workers: PooledWorker[],
    console: GuestConsole,
    hooks: CycleHooks,
    origin: Origin,
    owned: Ownership,
  ) {
    this.#hooks = hooks;
    this.#owned = owned;
    const hardware = new Hardware(context.kvm, plan, config.memory.hugepages, origin, this.#owned, {
      rung: () => this.#onRing(),
      failed: (error) => this.#vcpus !== undefined && this.#fail(error), // else it has failed to be made
    });
    this.#hardware = hardware;
    const { control, state } = hardware;
    const machineLock = new SharedLock(control.lock, control.lockWaiters);
    const topologyLock = new SharedLock(control.topologyLock, control.topologyWaiters);
    this.#hostEnds = new HostEnds(hardware, machineLock, console, () => this.#dataPaths.doorbell.fd, this.#owned);
    this.#dataPaths = new DataPaths({
      name: config.name,
      ioWorker: config.ioWorker,
      plan,
      state,
      regions: hardware.regions,
      descriptors: hardware.descriptors,
      vm: hardware.vm,
      mainDoorbell: hardware.doorbell.fd,
      revived: origin.image !== undefined,
      failed: (error) => this.#fail(error),
      warning: (warning) => hooks.warning(warning),
    });
    this.ahead = new CopyAhead(hardware.ram, this.#dataPaths, this.#owned);
    // It waits for as long as it takes; if it fails all the same, nobody knows what the I/O worker still uses.
    this.#owned.own(
      'devices',
      () => this.#dataPaths.close(),
      () => new Promise(() => {}),
    );
    this.#vcpuControls = plan.control.vcpus.map((base) => VcpuControlMap.over(state, base));
    this.#vcpus = workers.splice(0).map(
      (worker, cpu) =>
        new VcpuHandle(cpu, vcpuPool(), worker, this.#vcpuControls[cpu]!, {
          warning: (device, message, suppressed) => {
            const source = message.startsWith('host:') ? 'host' : 'guest';
            hooks.warning({ source, device, message, suppressed });
          },
          failed: (error) => {
            machineLock.releaseFor(lockOwner(cpu));
            topologyLock.releaseFor(lockOwner(cpu));
            this.#fail(error);
          },
        }),
    );
    this.#owned.own(
      'vCPUs',
      () => allSettled(this.#vcpus.map((vcpu) => vcpu.stop())),
      () => allSettled(this.#vcpus.map((vcpu) => vcpu.left())),
    );
  }

  /** Resolves when vCPU 0 is about to enter the guest; rejects with everything closed again, also when `signal` aborts. */
  static async start(
    config: VmConfig,
    disks: DiskSet,
    console: GuestConsole,
    phases: PhaseClock,
    hooks: CycleHooks,
    signal: AbortSignal,
    origin: Origin = {},
  ): Promise<PowerCycle> {
    const context = kvmContext();
    // Workers first: they start while the machine is made.
    const workers: PooledWorker[] = [];
    const owned = new Ownership();
    let cycle: PowerCycle | undefined;
    try {
      const { sockets, cores, threads } = config.topology;
      while (workers.length < sockets * cores * threads) workers.push(vcpuPool().acquire());
      const starting = workers.map(({ idle }) => idle);
      phases.run('start workers', () => Promise.all(starting)).catch(() => {}); // who needs one sees its failure
      const { image } = origin;
      const plan = planMachine(config, disks.disks, context, image);
      const powerOn = await phases.run('create machine', async () => {
        cycle = new PowerCycle(config, context, plan, workers, console, hooks, origin, owned);
        const steps = new PowerOn(config, context, origin, cycle.#hardware, cycle.#dataPaths, cycle.#vcpus);
        await steps.createMachine();
        return steps;
      });
      // The workers create the vCPUs while main reads the kernel.
      const creating = abortable(
        phases.run('create vCPUs', () => powerOn.createVcpus()).then(() => powerOn.prefault(phases, signal)),
        signal,
      );
      creating.catch(() => {}); // awaited below, unless the kernel cannot be read
      const boot = () => loadBoot(config, plan, disks, cycle!.regions, phases, hooks.bootProblems, signal);
      const entry = image === undefined ? await boot() : undefined;
      await creating;
      console.attach(cycle!.#hostEnds.pump);
      if (image === undefined) await phases.run('enter', () => powerOn.enter(entry!));
      else {
        await phases.run('revive', () => abortable(powerOn.revive(), signal));
        await phases.run('enter', () => powerOn.goOn());
      }
      cycle!.#hasEntered = true;
      cycle!.#onRing();
      return cycle!;
    } catch (error) {
      for (const worker of workers) vcpuPool().release(worker);
      // What a constructor that failed half way had opened is owned all the same.
      await (cycle ?? owned).close();
      throw cycle?.source?.failure ?? error;
    }
  }

  get regions(): readonly RamRegion[] {
    return this.#hardware.regions;
  }

  /** Nothing of it may be touched any more. */
  get isClosing(): boolean {
    return this.#owned.isClosing;
  }

  get battery(): Battery {
    return this.#hardware.battery;
  }

  get uptimeMs(): number {
    return monotonicMs() - this.#startedAt;
  }

  pressPowerButton(): Promise<void> {
    return this.#hostEnds.pressPowerButton();
  }

  metrics(): CycleMetrics {
    if (this.#counted !== undefined) return this.#counted;
    return { exits: countExits(this.#vcpuControls), ...this.#dataPaths.metrics() };
  }

  /**
   * Every vCPU out of the guest, everything that its devices had under way done, published and signalled (contract §2.5).
   * Rejects if requests do not end in time, and it runs on; a vCPU that cannot be stopped is the machine's end.
   */
  async pause({ signal, timeout }: Limits): Promise<void> {
    try {
      this.#dataPaths.wake();
      // One that waits for a page may not hear of it before.
      await allSettled(this.#vcpus.map((vcpu) => vcpu.park(this.#hardware.source?.patienceMs)));
    } catch (error) {
      if (!this.isOver) this.#fail(asTsvmmError(error, 'ERR_TSVMM_TIMEOUT'));
      throw error;
    }
    let held: readonly string[];
    try {
      held = await inTime(this.#dataPaths.quiesce(), 'the devices still have requests under way', { signal, timeout });
    } catch (error) {
      if (!this.isOver) await this.resume('catch-up');
      throw error;
    }
    if (!this.isOver) this.#still = standStill(this.#hardware, this.#vcpuFds, held);
  }

  /** Throws if a paused machine cannot be captured as it stands. */
  checkCapture(): void {
    refuseHeld(this.#still!);
  }

  /** A paused machine, as it was then. Memory is copied in steps; rejects, and nothing has changed, where it cannot be. */
  async capture(): Promise<MachineImage> {
    this.#hostEnds.pump.pump(); // what was printed was printed here
    try {
      const facts = kvmContext().saveFacts();
      const help = (job: CopyJob) => allSettled(this.#vcpus.map((vcpu) => vcpu.copy(job)));
      return await captureMachine(this.#hardware, this.#vcpuFds, facts, this.#still!, () => this.isClosing, help);
    } catch (error) {
      if (this.#hardware.ram.isLost) this.#fail(asTsvmmError(error, 'ERR_TSVMM_STATE'));
      throw error;
    }
  }

  /** Memory that comes from a source: undefined where all of it is there, as far as anybody is concerned. */
  get source(): SourceMemory | undefined {
    return this.#hardware.source;
  }

  /** Guest-physical, in whole pages: what the guest, its devices and the program have touched since the machine is there. */
  touched(): MemoryRange[] {
    return this.#hardware.touched();
  }

  /** The program has written to guest memory. */
  touch(hostAddress: number, length: number): void {
    this.#hardware.ram.touch(hostAddress, length);
  }

  async resume(clock: ClockPolicy): Promise<void> {
    if (clock === 'keep' && this.#still !== undefined) goOnFrom(this.#still, this.#hardware, this.#vcpuFds);
    this.#still = undefined;
    // What the guest asks for before the devices go on waits for them, as it waits for a worker that is busy.
    await Promise.all([this.#dataPaths.resume(), ...this.#vcpus.map((vcpu) => vcpu.enter())]);
  }

  /** The guest has asked to end or to restart, or the machine is being closed. */
  get isOver(): boolean {
    return this.#told || this.isClosing || Atomics.load(this.#hardware.control.event, 0) !== 0;
  }

  /** Disks are the first devices of a machine, so that an index is a device's number. */
  async changeDisk(index: number, change: MediumChange): Promise<void> {
    const medium = await this.#dataPaths.change(index, change);
    change.commit(medium);
    if (change.isTold) this.#hostEnds.tellCapacity(index, medium?.open.size ?? 0);
  }

  limitDisk(index: number, limit: RateLimit | undefined): void {
    this.#dataPaths.limit(index, limit);
  }

  ref(): void {
    for (const vcpu of this.#vcpus) vcpu.ref();
    this.#hardware.doorbell.ref();
  }

  unref(): void {
    for (const vcpu of this.#vcpus) vcpu.unref();
    this.#hardware.doorbell.unref();
    this.#dataPaths.doorbell.unref();
  }

  /**
   * Idempotent. Rejects when something could not be closed; the rest is closed all the same, and the program may end
   * before what had to stay open.
   */
  async close(): Promise<void> {
    this.#told = true;
    this.#counted ??= this.metrics();
    this.#hardware.source?.cut(); // whoever waits for memory waits no more
    try {
      await this.#owned.close();
    } catch (error) {
      this.unref();
      throw error;
    }
  }

  /** Resolves when nothing of it is used any more: after a `close` that failed, perhaps much later. */
  left(): Promise<void> {
    return this.#owned.left();
  }

  get #vcpuFds(): number[] {
    return this.#vcpus.map(({ fd }) => fd);
  }

  /** While output gathers `mainRung` stays set, so that nobody rings for more; events ring all the same. */
  #onRing(): void {
    this.#gathering.stop();
    if (this.#owned.isClosing) return;
    const { control } = this.#hardware;
    let output = this.#hostEnds.service();
    if (!output) {
      Atomics.store(control.mainRung, 0, 0); // before the last look: what comes later rings again
      output = this.#hostEnds.pump.pending;
    }
    this.#gathering.looked(output);
    if (Atomics.load(control.memoryFailed, 0) !== 0) this.#fail(noPage());
    const event = Atomics.load(control.event, 0);
    if (event === 0 || this.#told || !this.#hasEntered) return;
    this.#told = true;
    this.#hooks.event(eventOf(event) as MachineEvent, eventDetail(event));
  }

  #fail(error: TsvmmError): void {
    if (this.#told) return;
    this.#told = true;
    this.#hostEnds.pump.pump();
    // KVM, which meets it before us, says something else each time.
    const isMemory = !this.isClosing && this.#hardware.ram.isTruncated;
    this.#hooks.failed(this.#hardware.source?.failure ?? (isMemory ? noPage(error) : error));
  }
}
