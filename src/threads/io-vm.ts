/**
 * One machine's attachment to the I/O worker: its devices, doorbells and interrupts, and how it comes and goes. The I/O
 * worker.
 *
 * A doorbell is a one-shot read of its eventfd, armed again in the batch in which it completed. Work is not done where it
 * is noticed: a queue gets its turn at the end of the batch, within a budget per machine, so that a guest that rings
 * without pause delays nobody. The driver is asked for a doorbell only when the worker is about to sleep; until then the
 * worker looks at the queue itself.
 */

import type { OpenDisk } from '../disk/disk-map.js';
import { asTsvmmError, TsvmmError, type WireError } from '../errors.js';
import { native } from '../host/addon.js';
import type { IoClient, IoEngine } from '../host/engine.js';
import type { IoSlots } from '../host/engine-slots.js';
import { errnoName } from '../host/errno.js';
import { IndexRing } from '../host/index-ring.js';
import { KvmVm } from '../kvm/vm.js';
import { type MachineControl, MachineControlMap } from '../memory/control.js';
import { GuestMemory } from '../memory/guest-memory.js';
import { BlkDevice } from '../virtio/blk/blk.js';
import { ConsoleDevice } from '../virtio/console/console.js';
import type { DataPath } from '../virtio/device.js';
import { countersOf } from '../virtio/device-counters.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { RngDevice } from '../virtio/rng/rng.js';
import { Served } from '../virtio/serve.js';
import { interruptTargets } from '../virtio/transport/platform-layout.js';
import { IoDevice, type IoDeviceHost } from './io-device.js';
import type { IoAttachment, IoDeviceSpec, IoReport } from './io-protocol.js';

/** Turns of queues that one machine gets before the others. */
const turnsPerBatch = 8;

/** The slot of the machine's own doorbell; those of queues follow. */
const CONTROL = 0;

type Mode = 'serving' | 'draining' | 'quiet' | 'detaching' | 'detached';

export class IoVm implements IoClient, IoDeviceHost {
  readonly id: number;
  readonly memory: GuestMemory;
  readonly #attachment: IoAttachment;
  readonly #report: (report: IoReport) => void;
  readonly #wakeIn: (micros: number) => void;
  readonly #control: MachineControl;
  readonly #slots: IoSlots;
  readonly #devices: IoDevice[] = [];
  /** Every queue of every device, by number; its doorbell is in slot number + 1. */
  readonly #queues: { readonly device: IoDevice; readonly index: number; readonly doorbell: number }[] = [];
  readonly #firstQueue = new Map<IoDevice, number>();
  /** By their number in the platform. */
  readonly #byNumber = new Map<number, IoDevice>();
  /** Numbers of devices whose pause somebody waits for. */
  readonly #pausing = new Set<number>();
  readonly #ready: IndexRing;
  readonly #isReady: Uint8Array;
  /** 1: the queue was empty, and its doorbell is not armed. */
  readonly #unarmed: Uint8Array;
  #unarmedCount = 0;
  /** Devices to be flushed: the first `#touchedCount`. Not emptied by its length, which would give its memory back. */
  readonly #touched: IoDevice[] = [];
  #touchedCount = 0;
  #mode: Mode = 'serving';
  #settled = false;

  /**
   * Throws when the engine has no room or the description is wrong; then nothing is held. `wakeIn` has `onAlarm` called in so
   * many microseconds.
   */
  constructor(
    id: number,
    attachment: IoAttachment,
    engine: IoEngine,
    report: (report: IoReport) => void,
    wakeIn: (micros: number) => void,
  ) {
    this.id = id;
    this.#wakeIn = wakeIn;
    this.#attachment = attachment;
    this.#report = report;
    this.#control = MachineControlMap.over(attachment.state, attachment.machineControl);
    this.memory = new GuestMemory(attachment.regions, wrap, this.#control.memoryFailed);
    const { state, platform, descriptors, devices } = attachment;
    const vm = new KvmVm().adopt(attachment.vmFd);
    const targets = interruptTargets(state, platform, descriptors, (gsi, level) => vm.setIrqLine(gsi, level));
    if (devices.length !== targets.length)
      throw new RangeError(`${devices.length} data paths for ${targets.length} devices`);
    try {
      devices.forEach((spec, number) => {
        const dataPath = makeDataPath(spec, state);
        if (dataPath === undefined) return;
        const target = targets[number]!;
        const counters = countersOf(attachment.counters, number);
        const device = IoDevice.create(this, engine, target, dataPath, counters);
        if (device === undefined) throw noRoom(attachment.name);
        this.#devices.push(device);
        this.#byNumber.set(number, device);
        this.#firstQueue.set(device, this.#queues.length);
        for (const [index, doorbell] of target.descriptors.doorbells.entries())
          this.#queues.push({ device, index, doorbell });
      });
      const slots = engine.claim(this, 1 + this.#queues.length);
      if (slots === undefined) throw noRoom(attachment.name);
      this.#slots = slots;
    } catch (error) {
      for (const device of this.#devices) device.close();
      throw error;
    }
    this.#ready = new IndexRing(this.#queues.length);
    this.#isReady = new Uint8Array(this.#queues.length);
    this.#unarmed = new Uint8Array(this.#queues.length);
    this.#slots.eventRead(CONTROL, attachment.ioDoorbell);
    this.#queues.forEach(({ doorbell }, queue) => {
      this.#slots.eventRead(1 + queue, doorbell);
    });
    // What happened before the doorbell was armed.
    for (const device of this.#devices) {
      device.observe();
      if (attachment.revived) device.wakeDriver();
    }
  }

  get isDetached(): boolean {
    return this.#mode === 'detached';
  }

  /** Queues wait for their turn. */
  get hasWork(): boolean {
    return this.#mode === 'serving' && this.#ready.size > 0;
  }

  /** Between two batches: answers are published, queues have their turns, a pause or an end goes on. */
  work(): void {
    this.#flush(); // drivers go on while the next chains are taken
    if (this.#mode === 'serving') {
      this.look();
      for (let turns = Math.min(turnsPerBatch, this.#ready.size); turns > 0; turns--) {
        const number = this.#ready.shift();
        this.#isReady[number] = 0;
        const { device, index } = this.#queues[number]!;
        const served = device.serveQueue(index);
        if (served === Served.more) this.schedule(device, index);
        this.#setUnarmed(number, served === Served.idle ? 1 : 0);
      }
      this.#flush();
    }
    if (this.#settled) this.#advance();
  }

  /** Gives turns to queues that have chains of which no doorbell tells. True if there are any. */
  look(): boolean {
    if (this.#unarmedCount === 0 || this.#mode !== 'serving') return false;
    let found = false;
    for (let number = 0; number < this.#queues.length; number++) {
      if (this.#unarmed[number] === 0 || this.#isReady[number] === 1) continue;
      const { device, index } = this.#queues[number]!;
      if (!device.hasAvailable(index)) continue;
      this.#makeReady(number);
      found = true;
    }
    return found;
  }

  /** The worker is about to sleep: drivers shall ring. True if one has offered chains meanwhile; its queue has a turn. */
  armDoorbells(): boolean {
    if (this.#unarmedCount === 0 || this.#mode !== 'serving') return false; // who resumes it looks at every queue
    let found = false;
    for (let number = 0; number < this.#queues.length; number++) {
      if (this.#unarmed[number] === 0) continue;
      this.#setUnarmed(number, 0);
      const { device, index } = this.#queues[number]!;
      if (!device.armDoorbell(index)) continue;
      this.#makeReady(number);
      found = true;
    }
    return found;
  }

  /** Takes no more chains, waits for the kernel, publishes; then reports `quiesced`. */
  quiesce(): void {
    if (this.#mode !== 'serving') return;
    this.#mode = 'draining';
    this.#settled = true;
  }

  /** Goes on after `quiesce`: every queue counts as kicked and is interrupted once (contract §2.5). */
  resume(): void {
    if (this.#mode !== 'draining' && this.#mode !== 'quiet') return;
    this.#mode = 'serving';
    for (const device of this.#devices) {
      device.observe();
      device.wakeDriver();
    }
    this.#report({ type: 'resumed', vm: this.id });
  }

  /** One device takes no more chains; reports `device-paused` once nothing of it is under way. */
  pauseDevice(number: number, syncs: boolean): void {
    this.#device(number).pause(syncs);
    this.#pausing.add(number);
    this.#settled = true;
  }

  /** A device that was paused goes on, with another medium if `medium` is given; reports `device-resumed`. */
  resumeDevice(number: number, medium: { readonly disk: OpenDisk | undefined } | undefined): void {
    const device = this.#device(number);
    this.#pausing.delete(number);
    let error: WireError | undefined;
    try {
      if (medium !== undefined) device.exchange(medium.disk);
    } catch (failure) {
      error = asTsvmmError(failure, 'ERR_TSVMM_STATE').toWire();
    }
    device.resume();
    this.#report({ type: 'device-resumed', vm: this.id, device: number, error });
  }

  limitDevice(number: number, limit: RateLimit | undefined): void {
    this.#device(number).setLimit(limit);
  }

  /** Time has passed that a device has asked for with `wakeIn`. */
  onAlarm(): void {
    for (let i = 0; i < this.#devices.length; i++) this.#devices[i]!.onAlarm();
  }

  /** Ends everything; reports `detached` once the kernel has nothing left of this machine. */
  detach(): void {
    if (this.#mode === 'detaching' || this.#mode === 'detached') return;
    this.#mode = 'detaching';
    this.#settled = true;
    this.#pausing.clear(); // nothing begins any more, a flush least of all
    for (const device of this.#devices) device.shutDown();
    for (let slot = 0; slot <= this.#queues.length; slot++) this.#slots.cancel(slot);
  }

  /** Of the machine's own slots: doorbells and interrupts. */
  onCompletion(slot: number, result: number): void {
    if (slot > this.#queues.length || this.#mode === 'detaching') {
      this.#settled = true; // an interrupt was written, or a doorbell has ended
      return;
    }
    const fd = slot === CONTROL ? this.#attachment.ioDoorbell : this.#queues[slot - 1]!.doorbell;
    if (result < 0) {
      // It would fail again at once: this doorbell stays silent, the machine is told.
      const name = slot === CONTROL ? 'I/O' : this.#queues[slot - 1]!.device.name;
      this.warn('host', name, `a doorbell cannot be read: ${errnoName(result)}`, 0);
      return;
    }
    this.#slots.eventRead(slot, fd);
    if (slot !== CONTROL) {
      const { device, index } = this.#queues[slot - 1]!;
      device.rung();
      this.schedule(device, index);
    } else {
      for (let i = 0; i < this.#devices.length; i++) this.#devices[i]!.observe();
    }
  }

  // What a device asks.

  schedule(device: IoDevice, queue: number): void {
    this.#makeReady(this.#firstQueue.get(device)! + queue);
  }

  touch(device: IoDevice): void {
    if (device.touched) return;
    device.touched = true;
    this.#touched[this.#touchedCount++] = device;
  }

  ringVector(irqfd: number): void {
    native().ring(irqfd);
  }

  settled(): void {
    this.#settled = true;
  }

  endMachine(device: string, message: string): void {
    this.#report({ type: 'device-failed', vm: this.id, device, message });
  }

  wakeIn(micros: number): void {
    this.#wakeIn(micros);
  }

  wakeMain(): void {
    if (Atomics.exchange(this.#control.mainRung, 0, 1) === 0) native().ring(this.#attachment.mainDoorbell);
  }

  warn(source: 'guest' | 'device' | 'host', device: string, message: string, suppressed: number): void {
    this.#report({ type: 'warning', vm: this.id, source, device, message, suppressed });
  }

  #makeReady(number: number): void {
    if (this.#isReady[number] === 1) return;
    this.#isReady[number] = 1;
    this.#ready.push(number);
  }

  #setUnarmed(number: number, unarmed: 0 | 1): void {
    this.#unarmedCount += unarmed - this.#unarmed[number]!;
    this.#unarmed[number] = unarmed;
  }

  #flush(): void {
    for (let i = 0; i < this.#touchedCount; i++) {
      const device = this.#touched[i]!;
      device.touched = false;
      device.flush();
    }
    this.#touchedCount = 0;
  }

  /** A pause or an end goes on if what it waits for has ended. */
  #advance(): void {
    this.#settled = false;
    if (this.#pausing.size > 0) this.#reportPaused();
    if (this.#mode !== 'draining' && this.#mode !== 'detaching') return;
    for (let i = 0; i < this.#devices.length; i++) if (!this.#devices[i]!.isQuiet) return;
    if (this.#mode === 'draining') {
      this.#mode = 'quiet';
      const held = this.#devices.filter((device) => device.held.size > 0).map(({ name }) => name);
      this.#report({ type: 'quiesced', vm: this.id, held });
    } else if (this.#slots.outstanding === 0) {
      this.#close();
    }
  }

  #reportPaused(): void {
    for (const device of this.#pausing) {
      if (!this.#device(device).hasPaused()) continue;
      this.#pausing.delete(device);
      this.#report({ type: 'device-paused', vm: this.id, device });
    }
  }

  #device(number: number): IoDevice {
    const device = this.#byNumber.get(number);
    if (device === undefined) throw new RangeError(`the I/O worker has no device ${number}`);
    return device;
  }

  #close(): void {
    this.#mode = 'detached';
    for (const device of this.#devices) device.close();
    this.#slots.release();
    this.memory.release((buffer) => native().detach(buffer));
    this.#report({ type: 'detached', vm: this.id });
  }
}

function wrap(address: number, length: number): ArrayBuffer {
  const buffer = native().wrapMemory(address, length);
  if (buffer === undefined) throw new Error('guest memory is not mapped');
  return buffer;
}

function makeDataPath(spec: IoDeviceSpec, state: SharedArrayBuffer): DataPath | undefined {
  switch (spec.kind) {
    case 'blk':
      return new BlkDevice(spec);
    case 'console':
      return new ConsoleDevice(state, spec.layout);
    case 'rng':
      return new RngDevice();
    case 'elsewhere':
      return undefined;
    default:
      return spec satisfies never;
  }
}

const noRoom = (name: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', `the I/O worker has no room for the devices of ${name}`, {
    hint: "give some machines an I/O worker of their own: ioWorker: 'own'",
  });
