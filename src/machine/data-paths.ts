/**
 * A machine's devices on the I/O worker: attached when they are needed, detached at the end. Main thread.
 *
 * A machine with disks or a virtio console is attached as soon as it exists, while its guest already runs: doorbells are
 * counted and resets wait. One without gets its I/O worker when a driver first brings a device to life, so that a guest
 * that never does costs no worker. With virtio-mmio a vCPU waits for a reset inside the access (contract §2.7), and must not
 * wait for main: such a machine is attached at once as well. One that goes on as another was is attached when its state is that
 * of then; the worker starts as early as the others.
 */
import { quote } from '../disk/range.js';
import { asTsvmmError, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Doorbell } from '../host/doorbell.js';
import type { KvmVm } from '../kvm/vm.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { giveShared } from '../memory/shared-pool.js';
import { type IoMachine, IoWorker, sharedIoWorker } from '../threads/io-handle.js';
import { type DeviceMetrics, type IoAttachment, type IoDeviceSpec, readCounters } from '../threads/io-protocol.js';
import { allocateCounters } from '../virtio/device-counters.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { bindVirtio, Lifecycle, type VirtioDescriptors } from '../virtio/registers.js';
import { inTime } from './abortable.js';
import type { MediumChange } from './disk-host.js';
import type { Warning } from './events.js';
import type { Medium } from './medium.js';
import type { DevicePlan, MachinePlan } from './plan.js';
import { parseDuration } from './units.js';

/** Beside this module once bundled (scripts/build.js). */
const workerUrl = new URL('./io-worker.cjs', import.meta.url);

/** Beyond the deadline of most guests for a request. */
const defaultChangeMs = 30_000;

export interface DataPathsOptions {
  readonly name: string;
  readonly ioWorker: 'shared' | 'own';
  readonly plan: MachinePlan;
  readonly state: SharedArrayBuffer;
  readonly regions: readonly RamRegion[];
  readonly descriptors: readonly VirtioDescriptors[];
  readonly vm: KvmVm;
  readonly mainDoorbell: number;
  /** Machine state comes from another machine: attached when `goOn` is called. */
  readonly revived: boolean;
  failed(error: TsvmmError): void;
  warning(warning: Warning): void;
}

export class DataPaths {
  /** What vCPUs and main ring when a device's life or a shared ring changed. */
  readonly doorbell: Doorbell;
  readonly #options: DataPathsOptions;
  readonly #attachment: Omit<IoAttachment, 'vmFd'>;
  #attaching: Promise<IoMachine> | undefined;
  #quiesced: IoMachine | undefined;
  /** How often it was told to go on. */
  #resumes = 0;
  #own: IoWorker | undefined;

  constructor(options: DataPathsOptions) {
    this.#options = options;
    this.doorbell = new Doorbell(() => this.#attach());
    const { plan } = options;
    this.#attachment = {
      name: options.name,
      state: options.state,
      platform: plan.platform,
      descriptors: { virtio: options.descriptors },
      machineControl: plan.control.machine,
      regions: options.regions,
      mainDoorbell: options.mainDoorbell,
      ioDoorbell: this.doorbell.fd,
      devices: plan.devices.map(deviceSpec),
      revived: options.revived,
      counters: allocateCounters(plan.devices.length),
    };
  }

  /** The KVM machine is there; what its registers say is only then true if it is a new one. */
  begin(): void {
    if (!this.#isNeeded) this.doorbell.unref();
    else if (this.#options.revived) this.#start();
    else this.#attach();
  }

  /** Machine state is that of another machine, in the kernel too. */
  goOn(): void {
    if (this.#isNeeded) this.#attach();
  }

  get #isNeeded(): boolean {
    const { plan, state } = this.#options;
    const { shape, virtio } = plan.platform;
    return (
      shape.transport === 'mmio' ||
      plan.devices.some(({ kind }) => kind !== 'rng') ||
      virtio.some((layout) => Atomics.load(bindVirtio(state, layout).device.lifecycle, 0) !== Lifecycle.inactive)
    );
  }

  metrics(): DeviceMetrics {
    return readCounters(this.#attachment);
  }

  /** `quiesce` follows soon: a thread that has slept for long takes a third of a millisecond to hear of it. */
  wake(): void {
    if (this.#attaching !== undefined) native().ring(this.doorbell.fd);
  }

  /** Nothing of its requests is under way any more, and none begins until `resume`; with what `IoMachine.quiesce` names. */
  async quiesce(): Promise<readonly string[]> {
    if (this.#attaching === undefined && this.#isNeeded) this.#attach(); // a driver's ring may not have been heard yet
    const resumes = this.#resumes;
    const machine = await this.#attaching;
    // Nobody waits for this any more, and nobody would tell the devices to go on.
    if (this.#resumes !== resumes) throw new TsvmmError('ERR_TSVMM_STATE', 'the devices were told to go on meanwhile');
    this.#quiesced = machine;
    return (await machine?.quiesce()) ?? [];
  }

  /** Of what was quiesced: a ring that changed nothing may have brought the machine there since. */
  async resume(): Promise<void> {
    this.#resumes++;
    const machine = this.#quiesced;
    this.#quiesced = undefined;
    await machine?.resume();
  }

  /** Rejects when the device's requests do not end in time, or the change cannot be made; then it goes on as it was. */
  async change(device: number, { syncs, prepare, signal, timeout }: MediumChange): Promise<Medium | undefined> {
    const machine = await this.#attaching!; // one with disks is attached
    let medium: Medium | undefined;
    try {
      const limits = { signal, timeout: parseDuration('timeout', timeout ?? defaultChangeMs) };
      await inTime(machine.pauseDevice(device, syncs), 'the disk still has requests under way', limits);
      medium = await prepare();
    } catch (error) {
      await machine.resumeDevice(device).catch(() => {}); // it is gone, as the error says
      throw error;
    }
    await machine.resumeDevice(device, { disk: medium?.open });
    return medium;
  }

  limit(device: number, limit: RateLimit | undefined): void {
    this.#attaching?.then(
      (machine) => machine.limitDevice(device, limit),
      () => {}, // the machine has failed, and has been told so
    );
  }

  /** Resolves when neither the I/O worker nor the kernel touches the machine any more. No vCPU may be running. */
  async close(): Promise<void> {
    this.doorbell.unwatch();
    const machine = await this.#attaching?.catch(() => undefined);
    await machine?.detach();
    await this.#own?.end();
    this.doorbell.close();
    giveShared(this.#attachment.counters);
  }

  /** Serves the devices from here on. Idempotent. */
  #attach(): void {
    if (this.#attaching !== undefined) return;
    this.doorbell.unwatch(); // from here on the I/O worker answers it
    this.#attaching = this.#attachNow();
    this.#attaching.then(
      () => native().ring(this.doorbell.fd), // what happened before has not been looked at
      (error) => this.#options.failed(asTsvmmError(error, 'ERR_TSVMM_WORKER_DIED')),
    );
  }

  /** Rejects, too, when the host cannot start a thread: the doorbell's callback has nobody to throw to. */
  async #attachNow(): Promise<IoMachine> {
    return this.#start().attach(
      { ...this.#attachment, vmFd: this.#options.vm.fd },
      {
        warning: (source, device, message, suppressed) =>
          this.#options.warning({ source, device, message, suppressed }),
        deviceFailed: (device, message) => this.#options.failed(this.#diskFailed(device, message)),
        failed: (error) => this.#options.failed(error),
      },
    );
  }

  #diskFailed(device: string, message: string): TsvmmError {
    const plan = this.#options.plan.devices.find(({ shape }) => shape.name === device);
    const path = (plan?.kind === 'blk' && plan.disk.medium?.name) || device;
    return new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)}: ${message}`, {
      hint: 'the guest has not been told (onError: stop); put right what is wrong on the host and start the machine again',
      details: { path, device },
    });
  }

  #start(): IoWorker {
    if (this.#options.ioWorker === 'shared') return sharedIoWorker({ url: workerUrl });
    this.#own ??= new IoWorker({ url: workerUrl });
    return this.#own;
  }
}

function deviceSpec(plan: DevicePlan): IoDeviceSpec {
  switch (plan.kind) {
    case 'blk': {
      const { disk } = plan;
      const { onError, removable, limit, buckets, serial } = disk.drive;
      const id = serial ?? `tsvmm-${plan.shape.name}`;
      const options = { id, stopOnError: onError === 'stop', removable, limit, buckets };
      return { kind: 'blk', disk: disk.medium?.open, readOnly: plan.readOnly, ...options };
    }
    case 'console':
      return { kind: 'console', layout: plan.layout };
    case 'rng':
      return { kind: 'rng' };
  }
}
