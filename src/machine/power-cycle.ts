/**
 * A machine from power-on to power-off: the KVM machine, its memory, its state, its threads. Main thread.
 *
 * What is opened is registered for closing at once and closed in reverse: vCPUs first, then data paths, then the KVM
 * machine, and memory only when KVM has let go of it (contract §1.11). A vCPU that cannot be stopped keeps everything it
 * could still touch.
 */
import { close as closeFile } from 'node:fs';
import { promisify } from 'node:util';
import type { BootImage } from '../boot/boot-image.js';
import { gsi, kvmIdentityMap, kvmTss, ramRegions } from '../devices/memory-map.js';
import type { MachineEvent } from '../devices/wires.js';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Doorbell } from '../host/doorbell.js';
import { encodeCpuid, forVcpu } from '../kvm/cpuid.js';
import { exitName } from '../kvm/ioctls.js';
import { buildRouting } from '../kvm/routing.js';
import { KvmVm } from '../kvm/vm.js';
import {
  exitCounters,
  lockOwner,
  type MachineControl,
  MachineControlMap,
  type VcpuControl,
  VcpuControlMap,
} from '../memory/control.js';
import { GuestMemory, type RamRegion } from '../memory/guest-memory.js';
import { SharedLock } from '../memory/lock.js';
import { GuestRam } from '../memory/ram.js';
import { VcpuHandle } from '../threads/vcpu-handle.js';
import type { PooledWorker } from '../threads/vcpu-pool.js';
import { consoleSize } from '../virtio/console/console.js';
import { ConsoleHost } from '../virtio/console/console-host.js';
import { bindVirtio, type VirtioDescriptors } from '../virtio/registers.js';
import { resetPlatform } from '../virtio/transport/platform.js';
import { PlatformHost } from '../virtio/transport/platform-host.js';
import { prepareBoot } from './boot-prepare.js';
import { ClockService } from './clock-service.js';
import type { GuestConsole } from './console.js';
import { ConsolePump } from './console-pump.js';
import { DataPaths } from './data-paths.js';
import { EventFds } from './descriptors.js';
import type { DiskSet } from './disk-set.js';
import { kvmContext } from './kvm-context.js';
import { MainLock } from './main-lock.js';
import type { VmConfig } from './options.js';
import type { PhaseClock } from './phases.js';
import { type MachinePlan, planMachine } from './plan.js';
import { vcpuPool } from './prewarm.js';
import type { Warning } from './virtual-machine.js';

const closeFd = promisify(closeFile);
/** Contract §1.8: the program that embeds us stays responsive. */
const vcpuNice = 10;
const smallPage = 4096;

export interface CycleHooks {
  /** The guest asked to end or to restart; at most once. */
  event(event: MachineEvent, detail: number): void;
  /** The machine cannot go on; at most once. */
  failed(error: TsvmmError): void;
  warning(warning: Warning): void;
}

export interface CycleMetrics {
  /** Exits by kind, all vCPUs together. */
  exits: Record<string, number>;
  /** Counters by device. */
  devices: Record<string, Record<string, number>>;
}

/** What outlives a reset: CMOS RAM and the clock. */
export interface Battery {
  readonly rtc: Uint8Array;
}

export class PowerCycle {
  readonly #plan: MachinePlan;
  readonly #hooks: CycleHooks;
  readonly #console: GuestConsole;
  readonly #state: SharedArrayBuffer;
  readonly #control: MachineControl;
  readonly #machineLock: SharedLock;
  readonly #topologyLock: SharedLock;
  /** Main's way to the machine lock. */
  readonly #lock: MainLock;
  readonly #closers: { readonly name: string; close(): void | Promise<unknown> }[] = [];
  readonly #startedAt = performance.now();
  #regions: readonly RamRegion[] = [];
  #vcpus: VcpuHandle[] = [];
  #vcpuControls: VcpuControl[] = [];
  #descriptors!: { readonly virtio: VirtioDescriptors[]; readonly ioDoorbell: number };
  #platform!: PlatformHost;
  #pump!: ConsolePump;
  #clock!: ClockService;
  #doorbell!: Doorbell;
  #dataPaths: DataPaths | undefined;
  #told = false;
  #closing: Promise<void> | undefined;

  private constructor(plan: MachinePlan, console: GuestConsole, hooks: CycleHooks) {
    this.#plan = plan;
    this.#console = console;
    this.#hooks = hooks;
    this.#state = new SharedArrayBuffer(plan.stateSize);
    this.#control = MachineControlMap.over(this.#state, plan.control.machine);
    this.#machineLock = new SharedLock(this.#control.lock, this.#control.lockWaiters);
    this.#topologyLock = new SharedLock(this.#control.topologyLock, this.#control.topologyWaiters);
    this.#lock = new MainLock(this.#machineLock);
    this.#own('machine lock', () => this.#lock.close());
  }

  static ramLayout(config: VmConfig): { start: number; size: number }[] {
    return ramRegions(config.memory);
  }

  /** Resolves when vCPU 0 is about to enter the guest; rejects with everything closed again. */
  static async start(
    config: VmConfig,
    disks: DiskSet,
    console: GuestConsole,
    phases: PhaseClock,
    hooks: CycleHooks,
    battery?: Battery,
  ): Promise<PowerCycle> {
    const context = kvmContext();
    // Workers first: they start while everything else is prepared.
    const workers = Array.from({ length: config.cpus }, () => vcpuPool().acquire());
    let cycle: PowerCycle | undefined;
    try {
      const plan = planMachine(config, disks.disks, context);
      cycle = new PowerCycle(plan, console, hooks);
      const image = await cycle.#prepare(config, disks, phases);
      const vm = await phases.run('create machine', () => cycle!.#create(context.kvm, config, image, battery));
      cycle.#makeVcpus(workers.splice(0));
      await phases.run('create vCPUs', () => cycle!.#createVcpus(vm, context.runPageSize, image));
      await phases.run('attach devices', () => cycle!.#attach(vm, config));
      await phases.run('enter', () => cycle!.#enter());
      return cycle;
    } catch (error) {
      for (const worker of workers)
        worker.idle.then(
          () => vcpuPool().release(worker),
          () => {},
        );
      await cycle?.close();
      throw error;
    }
  }

  get regions(): readonly RamRegion[] {
    return this.#regions;
  }

  get uptimeMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** CMOS RAM and clock, for the next power cycle. */
  get battery(): Battery {
    const { rtc, i8042 } = this.#plan.platform.chipset;
    return { rtc: new Uint8Array(this.#state.slice(rtc, i8042)) };
  }

  pressPowerButton(): Promise<void> {
    return new Promise((resolve) => {
      this.#lock.run(() => {
        this.#platform.pressPowerButton();
        resolve();
      });
    });
  }

  metrics(): CycleMetrics {
    const exits: Record<string, number> = {};
    for (const control of this.#vcpuControls) {
      for (let reason = 0; reason < exitCounters; reason++) {
        const count = Atomics.load(control.exits, reason) >>> 0;
        if (count > 0) exits[exitName(reason)] = (exits[exitName(reason)] ?? 0) + count;
      }
    }
    return { exits, devices: this.#dataPaths?.metrics() ?? {} };
  }

  ref(): void {
    for (const vcpu of this.#vcpus) vcpu.ref();
    this.#doorbell.ref();
  }

  unref(): void {
    for (const vcpu of this.#vcpus) vcpu.unref();
    this.#doorbell.unref();
  }

  /** Idempotent. Rejects when something could not be closed; the rest is closed all the same. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#told = true;
    const failures: Error[] = [];
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer.close();
      } catch (cause) {
        failures.push(new Error(`closing the ${closer.name} failed`, { cause }));
        if (closer.name === 'vCPUs') break; // a thread in the kernel may still use what comes next
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }

  #own(name: string, close: () => void | Promise<unknown>): void {
    this.#closers.push({ name, close });
  }

  async #prepare(config: VmConfig, disks: DiskSet, phases: PhaseClock): Promise<BootImage> {
    const opened: AsyncDisposable[] = [];
    try {
      return await prepareBoot(
        {
          boot: config.boot,
          disk: async (index) => {
            const reader = await disks.openForBoot(index);
            opened.push(reader);
            return reader;
          },
          ram: this.#plan.ram,
          cpus: config.cpus,
          bar64: this.#plan.bar64,
          console: config.console.device === 'virtio' ? 'hvc0' : 'ttyS0',
        },
        phases,
      );
    } finally {
      for (const reader of opened) await reader[Symbol.asyncDispose]();
    }
  }

  /** Memory, KVM machine, machine state, host ends. In the order of docs/decisions/0001. */
  #create(
    kvm: Parameters<typeof KvmVm.create>[0],
    config: VmConfig,
    image: BootImage,
    battery: Battery | undefined,
  ): KvmVm {
    const { platform, ram: layout } = this.#plan;
    const ram = GuestRam.map(config.memory);
    this.#own('memory', () => ram.release());
    const regions = ram.place(layout);
    const vm = KvmVm.create(kvm);
    this.#own('KVM machine', () => closeFd(vm.fd));
    vm.reservePages(kvmTss.start, kvmIdentityMap.start);
    regions.forEach(({ start, size, hostAddress }, slot) => vm.setMemoryRegion(slot, start, size, hostAddress));
    vm.createIrqchip();
    vm.createPit();
    copyImage(image, regions);
    this.#regions = regions;

    if (battery !== undefined) new Uint8Array(this.#state).set(battery.rtc, platform.chipset.rtc);
    resetPlatform(this.#state, platform, battery !== undefined);
    this.#plan.devices.forEach(({ config: bytes }, i) =>
      bindVirtio(this.#state, platform.virtio[i]!).config.set(bytes),
    );

    this.#doorbell = new Doorbell(() => this.#onRing());
    this.#own('doorbell', () => this.#doorbell.close());
    const failedWord = native().addressOf(this.#control.memoryFailed);
    const guard = native().guard(ram.hostAddress, ram.size, smallPage, failedWord, this.#doorbell.fd);
    if (guard < 0) throw new TsvmmError('ERR_TSVMM_STATE', 'too many machines in this process for the memory guard');
    this.#own('memory guard', () => void native().unguard(guard));

    const fds = new EventFds();
    this.#own('eventfds', () => fds.close());
    const shapes = this.#plan.devices.map(({ shape }) => shape);
    this.#descriptors = { virtio: fds.forDevices(shapes, gsi.msiFirst), ioDoorbell: fds.make() };
    this.#hostEnds(vm);
    return vm;
  }

  #makeVcpus(workers: PooledWorker[]): void {
    this.#vcpuControls = this.#plan.control.vcpus.map((base) => VcpuControlMap.over(this.#state, base));
    this.#vcpus = workers.map(
      (worker, cpu) =>
        new VcpuHandle(cpu, vcpuPool(), worker, this.#vcpuControls[cpu]!, {
          warning: (device, message, suppressed) => this.#warn('guest', device, message, suppressed),
          failed: (error) => {
            this.#machineLock.releaseFor(lockOwner(cpu));
            this.#topologyLock.releaseFor(lockOwner(cpu));
            this.#fail(error);
          },
        }),
    );
  }

  async #createVcpus(vm: KvmVm, runPageSize: number, image: BootImage): Promise<void> {
    const { platform, control } = this.#plan;
    const { virtio, ioDoorbell } = this.#descriptors;
    this.#own('vCPUs', () => settle(this.#vcpus.map((vcpu) => vcpu.stop())));
    await Promise.all(
      this.#vcpus.map((vcpu, cpu) =>
        vcpu.create({
          cpu,
          vmFd: vm.fd,
          runPageSize,
          cpuid: encodeCpuid(forVcpu(this.#plan.cpuid, cpu, this.#vcpus.length)),
          start: cpu === 0 ? image.entry : undefined,
          state: this.#state,
          control,
          platform,
          descriptors: { virtio },
          regions: this.#regions,
          mainDoorbell: this.#doorbell.fd,
          ioDoorbell,
          nice: vcpuNice,
        }),
      ),
    );
    vm.setRouting(buildRouting([]));
    for (const { vectors, gsi: first } of virtio) vectors.forEach((fd, vector) => vm.assignIrqfd(fd, first + vector));
  }

  /** Console, clock, power button: what main does to registers. */
  #hostEnds(vm: KvmVm): void {
    const { platform, devices } = this.#plan;
    const { virtio, ioDoorbell } = this.#descriptors;
    this.#platform = new PlatformHost(
      this.#state,
      platform,
      { virtio },
      (line, level) => void vm.setIrqLine(line, level),
    );
    const at = devices.findIndex(({ kind }) => kind === 'console');
    const plan = devices[at];
    const virtioConsole =
      plan?.kind === 'console'
        ? new ConsoleHost(this.#state, plan.layout, () => void native().ring(ioDoorbell))
        : undefined;
    this.#pump = new ConsolePump(
      this.#console,
      this.#platform,
      virtioConsole,
      (task) => this.#lock.run(task),
      (columns, rows) => {
        if (virtioConsole === undefined) return;
        this.#lock.run(() => {
          const fd = this.#platform.changeConfig(at, 0, consoleSize(columns, rows));
          if (fd >= 0) native().ring(fd);
        });
      },
    );
    this.#own('console', () => this.#pump.drain());
    this.#clock = new ClockService(this.#platform.rtc, (task) => this.#lock.run(task));
    this.#own('clock', () => this.#clock.close());
  }

  async #attach(vm: KvmVm, config: VmConfig): Promise<void> {
    const vcpus = this.#closers.pop()!; // vCPUs stop first, so that no doorbell rings while the data paths drain
    this.#dataPaths = await DataPaths.attach({
      ioWorker: config.ioWorker,
      plan: this.#plan,
      state: this.#state,
      regions: this.#regions,
      descriptors: this.#descriptors.virtio,
      vmFd: vm.fd,
      doorbell: this.#descriptors.ioDoorbell,
      mainDoorbell: this.#doorbell.fd,
      failed: (error) => this.#fail(error),
      warning: (warning) => this.#hooks.warning(warning),
    }).finally(() => this.#closers.push(vcpus));
    this.#closers.splice(-1, 0, { name: 'data paths', close: () => this.#dataPaths!.close() });
  }

  async #enter(): Promise<void> {
    this.#console.attach(this.#pump);
    await Promise.all(this.#vcpus.map((vcpu) => vcpu.enter()));
  }

  #onRing(): void {
    Atomics.store(this.#control.mainRung, 0, 0);
    if (this.#closing !== undefined) return;
    this.#pump.pump();
    this.#clock.service();
    if (Atomics.load(this.#control.memoryFailed, 0) !== 0) {
      this.#fail(
        new TsvmmError('ERR_TSVMM_GUEST', 'the host could not supply a page of guest memory (SIGBUS)', {
          hint: 'a file behind guest memory was truncated, or the host ran out of huge pages or met a disk error',
        }),
      );
    }
    const event = Atomics.load(this.#control.event, 0);
    if (event === 0 || this.#told) return;
    this.#told = true;
    this.#hooks.event(event as MachineEvent, Atomics.load(this.#control.event, 1));
  }

  #fail(error: TsvmmError): void {
    if (this.#told) return;
    this.#told = true;
    this.#pump.pump();
    this.#hooks.failed(error);
  }

  #warn(source: Warning['source'], device: string, message: string, suppressed: number): void {
    this.#hooks.warning({ source, device, message, suppressed });
  }
}

function copyImage(image: BootImage, regions: readonly RamRegion[]): void {
  const ram = new GuestMemory(regions, () => new ArrayBuffer(0));
  for (const { name, address, data } of image.segments) {
    const host = ram.hostAddress(address, data.length);
    if (host === 0) throw new TsvmmError('ERR_TSVMM_BOOT_KERNEL', `the ${name} does not lie in guest RAM`);
    native().copyIn(host, data);
  }
}

/** All of them, then the first failure. */
async function settle(promises: Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(promises)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
