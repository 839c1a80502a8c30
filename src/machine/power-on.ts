/**
 * The steps by which a machine whose parts are there comes to life, each when the one before it has ended. Main thread.
 *
 * KVM and the workers of the vCPUs take most of the time, and they take it at the same time.
 */
import type { StartState } from '../kvm/start-state.js';
import type { VcpuHandle } from '../threads/vcpu-handle.js';
import { allSettled } from './all-settled.js';
import { vcpuAssignments } from './assignments.js';
import type { DataPaths } from './data-paths.js';
import type { Hardware, Origin } from './hardware.js';
import type { KvmContext } from './kvm-context.js';
import type { VmConfig } from './options.js';
import type { PhaseClock } from './phases.js';
import { prefaultAll, prefaultRanges } from './prefault.js';
import { goesOnAlone, goOnAlone, reviveVcpus } from './revival.js';

export class PowerOn {
  readonly #config: VmConfig;
  readonly #context: KvmContext;
  readonly #origin: Origin;
  readonly #hardware: Hardware;
  readonly #dataPaths: DataPaths;
  readonly #vcpus: readonly VcpuHandle[];
  /** Of a vCPU that goes on by itself. */
  #goingOn: Promise<void> | undefined;

  constructor(
    config: VmConfig,
    context: KvmContext,
    origin: Origin,
    hardware: Hardware,
    dataPaths: DataPaths,
    vcpus: readonly VcpuHandle[],
  ) {
    this.#config = config;
    this.#context = context;
    this.#origin = origin;
    this.#hardware = hardware;
    this.#dataPaths = dataPaths;
    this.#vcpus = vcpus;
  }

  /** The workers build what they need of the machine while KVM makes it. */
  async createMachine(): Promise<void> {
    const { topology } = this.#config;
    const assignments = vcpuAssignments(this.#hardware, this.#context, topology, this.#dataPaths.doorbell.fd);
    for (const [cpu, vcpu] of this.#vcpus.entries()) vcpu.build(assignments[cpu]!);
    await this.#hardware.vm.made();
    this.#dataPaths.begin();
  }

  async createVcpus(): Promise<void> {
    const { vm } = this.#hardware;
    const connect = async (): Promise<void> => {
      this.#hardware.connectInterrupts();
      if (goesOnAlone(this.#config, this.#origin))
        this.#goingOn = goOnAlone(this.#origin, this.#vcpus[0]!, this.#context.saveFacts());
    };
    await Promise.all([...this.#vcpus.map((vcpu) => vcpu.create(vm.fd)), connect()]); // in the kernel, both, and at once
  }

  /** What is to be in memory before the guest is entered. */
  async prefault(phases: PhaseClock, signal: AbortSignal): Promise<void> {
    const { regions, source } = this.#hardware;
    const { prefault: ranges } = this.#origin;
    if (this.#config.memory.prefault) await phases.run('prefault', () => prefaultAll(this.#vcpus, regions));
    if (source !== undefined) await phases.run('read memory', () => source.prepare(ranges ?? [], signal));
    else if (ranges !== undefined) await phases.run('prefault', () => prefaultRanges(this.#vcpus, regions, ranges));
  }

  /** The other vCPUs wait for INIT and SIPI. */
  async enter(boot: StartState): Promise<void> {
    await Promise.all(this.#vcpus.map((vcpu) => vcpu.enter(vcpu.cpu === 0 ? boot : undefined)));
  }

  /** The state of then, in the kernel too. */
  revive(): Promise<void> {
    const { vm } = this.#hardware;
    return this.#goingOn ?? reviveVcpus(this.#origin, vm.fd, this.#vcpus, this.#context.saveFacts());
  }

  /** Every vCPU enters the guest where it was, if it has not. */
  async goOn(): Promise<void> {
    this.#dataPaths.goOn();
    if (this.#goingOn === undefined) await allSettled(this.#vcpus.map((vcpu) => vcpu.enter()));
  }
}
