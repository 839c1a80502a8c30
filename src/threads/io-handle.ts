/**
 * Main's end of an I/O worker: starts it, attaches machines, notices its death. Main thread, one shared worker per
 * importing environment (contract §1.5), or one of a machine's own.
 *
 * The worker keeps nothing alive but while an answer is awaited. If it dies every machine on it ends with
 * `ERR_TSVMM_WORKER_DIED`: a shared fate (contract §1.6). The next machine gets a new worker.
 */
import type { Worker } from 'node:worker_threads';
import type { OpenDisk } from '../disk/disk-map.js';
import { fromWire, TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import type { EngineKind } from '../host/choose-engine.js';
import { closeFd } from '../host/system.js';
import type { RateLimit } from '../virtio/rate-limit.js';
import { AwaitedWorker } from './awaited-worker.js';
import type { IoAttachment, IoCommand, IoReport, IoWorkerData } from './io-protocol.js';
import { startWorker } from './worker-start.js';

/** Rings, bitmaps of ephemeral disks and device state; nothing that a guest can make grow. */
const heapMegabytes = 256;

export interface IoWorkerOptions {
  /** The bundle of io-worker.ts. */
  readonly url: URL;
  /** The bundle of io-helper.ts; beside the other unless given. */
  readonly helper?: URL;
  readonly engine?: EngineKind;
  readonly nice?: number;
}

const defaultNice = 5;

export interface IoEvents {
  warning(source: 'guest' | 'device' | 'host', device: string, message: string, suppressed: number): void;
  /** The machine shall end: the host has failed this device. The worker serves the others until `detach`. */
  deviceFailed(device: string, message: string): void;
  /** The worker is gone and with it the machine's devices. Once at most, and not after `detach` was called. */
  failed(error: TsvmmError): void;
}

/** A machine on an I/O worker. */
export interface IoMachine {
  /**
   * Ends the data paths. Once it resolves neither the worker nor the kernel touches the machine's memory, disks and
   * eventfds. Idempotent; resolves for a worker that is dead already.
   */
  detach(): Promise<void>;
  /**
   * No chain is taken any more, everything the kernel had is done, published and signalled; but for what the devices have
   * that it names, whose drivers cannot be told for now.
   */
  quiesce(): Promise<readonly string[]>;
  resume(): Promise<void>;
  /**
   * One device takes no more chains, and nothing of it is under way; with `syncs` a disk has been flushed. `resumeDevice`
   * follows, also when this rejects.
   */
  pauseDevice(device: number, syncs: boolean): Promise<void>;
  /** It goes on; `medium`: as a disk that is made of that. Rejects if it cannot be; then it goes on as it was. */
  resumeDevice(device: number, medium?: { readonly disk: OpenDisk | undefined }): Promise<void>;
  limitDevice(device: number, limit: RateLimit | undefined): void;
}

interface Waiter {
  resolve(held?: readonly string[]): void;
  reject(error: TsvmmError): void;
}

type Answer = 'attached' | 'detached' | 'quiesced' | 'resumed' | DeviceAnswer;
type DeviceAnswer = `${number} paused` | `${number} resumed`;

interface Attached {
  readonly events: IoEvents;
  readonly waiting: Map<Answer, Waiter>;
  detaching: Promise<void> | undefined;
}

export class IoWorker {
  readonly #worker: Worker;
  readonly #machines = new Map<number, Attached>();
  readonly #closing = new Map<number, Waiter>();
  readonly #ready: Promise<'io_uring' | 'epoll'>;
  #becomeReady!: { resolve(engine: 'io_uring' | 'epoll'): void; reject(error: TsvmmError): void };
  #next = 1;
  readonly #awaited: AwaitedWorker;
  #ending = false;
  #dead: TsvmmError | undefined;
  #cause: Error | undefined;

  constructor({ url, helper = new URL('./io-helper.cjs', url), engine = 'auto', nice = defaultNice }: IoWorkerOptions) {
    this.#ready = new Promise((resolve, reject) => {
      this.#becomeReady = { resolve, reject };
    });
    this.#ready.catch(() => {}); // whoever attaches is told
    this.#worker = startWorker(url, {
      name: 'tsvmm-io',
      workerData: { engine, helper: helper.href, nice } satisfies IoWorkerData,
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
    });
    this.#awaited = new AwaitedWorker(this.#worker);
    this.#worker.on('message', this.#onReport);
    this.#worker.once('error', this.#onError);
    this.#worker.once('exit', this.#onExit);
  }

  get isDead(): boolean {
    return this.#dead !== undefined || this.#ending;
  }

  /** Which engine it found. Rejects if it could not start. */
  get engine(): Promise<'io_uring' | 'epoll'> {
    return this.#awaited.until(this.#ready);
  }

  /** Rejects with `ERR_TSVMM_WORKER_DIED`, or with why the worker refused the machine. */
  async attach(attachment: IoAttachment, events: IoEvents): Promise<IoMachine> {
    await this.engine;
    const vm = this.#next++;
    const attached: Attached = { events, waiting: new Map(), detaching: undefined };
    this.#machines.set(vm, attached);
    try {
      await this.#ask(vm, 'attached', { type: 'attach', vm, attachment });
    } catch (error) {
      this.#machines.delete(vm);
      throw error;
    }
    return {
      detach: () => {
        attached.detaching ??= this.#detach(vm);
        return attached.detaching;
      },
      quiesce: async () => (await this.#askFor(vm, 'quiesced', { type: 'quiesce', vm })) ?? [],
      resume: () => this.#ask(vm, 'resumed', { type: 'resume', vm }),
      pauseDevice: (device, syncs) => this.#ask(vm, `${device} paused`, { type: 'pause-device', vm, device, syncs }),
      resumeDevice: (device, medium) =>
        this.#ask(vm, `${device} resumed`, { type: 'resume-device', vm, device, medium }),
      limitDevice: (device, limit) => this.#post({ type: 'limit-device', vm, device, limit }),
    };
  }

  /** Closes descriptors on the worker's side; resolves when they are closed. On this thread if the worker is dead. */
  async closeFds(fds: readonly number[]): Promise<void> {
    if (this.isDead) {
      for (const fd of fds) closeFd(fd);
      return;
    }
    for (const fd of fds) native().giveFd(fd);
    const request = this.#next++;
    const closed = new Promise<void>((resolve, reject) => {
      this.#closing.set(request, { resolve: () => resolve(), reject });
    });
    this.#post({ type: 'close-fds', request, fds });
    await this.#awaited.until(closed);
  }

  /** Ends the worker; every machine has been detached. */
  async end(): Promise<void> {
    if (this.isDead) return;
    this.#ending = true;
    const ended = new Promise<void>((resolve) => this.#worker.once('exit', () => resolve()));
    this.#post({ type: 'end' });
    await this.#awaited.until(ended);
  }

  /** Ends the worker whatever it does, for one that does not answer. Its machines fail. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  async #detach(vm: number): Promise<void> {
    try {
      if (this.#dead === undefined) await this.#ask(vm, 'detached', { type: 'detach', vm });
    } catch (error) {
      // A thread that is gone has no operation left: the kernel ends them before the thread does.
      if (this.#dead === undefined) throw error;
    } finally {
      this.#machines.delete(vm);
    }
  }

  async #ask(vm: number, answer: Answer, command: IoCommand): Promise<void> {
    await this.#askFor(vm, answer, command);
  }

  #askFor(vm: number, answer: Answer, command: IoCommand): Promise<readonly string[] | undefined> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    const machine = this.#machines.get(vm);
    if (machine === undefined) {
      return Promise.reject(new TsvmmError('ERR_TSVMM_STATE', 'the machine is not on this I/O worker any more'));
    }
    const answered = new Promise<readonly string[] | undefined>((resolve, reject) => {
      machine.waiting.set(answer, { resolve, reject });
    });
    this.#post(command);
    return this.#awaited.until(answered);
  }

  #post(command: IoCommand): void {
    this.#worker.postMessage(command);
  }

  readonly #onReport = (report: IoReport): void => {
    switch (report.type) {
      case 'ready':
        this.#becomeReady.resolve(report.engine);
        break;
      case 'attached':
        this.#answer(report.vm, 'attached')?.resolve();
        break;
      case 'quiesced':
        this.#answer(report.vm, 'quiesced')?.resolve(report.held);
        break;
      case 'resumed':
        this.#answer(report.vm, 'resumed')?.resolve();
        this.#answer(report.vm, 'quiesced')?.reject(overtaken('resumed'));
        break;
      case 'detached':
        this.#answer(report.vm, 'detached')?.resolve();
        for (const { reject } of this.#machines.get(report.vm)?.waiting.values() ?? []) reject(overtaken('detached'));
        this.#machines.get(report.vm)?.waiting.clear();
        break;
      case 'device-paused':
        this.#answer(report.vm, `${report.device} paused`)?.resolve();
        break;
      case 'device-resumed': {
        // A pause that nobody waits for any more is not answered otherwise, and would keep the program alive.
        this.#answer(report.vm, `${report.device} paused`)?.reject(overtaken('resumed'));
        const resumed = this.#answer(report.vm, `${report.device} resumed`);
        if (report.error === undefined) resumed?.resolve();
        else resumed?.reject(fromWire(report.error));
        break;
      }
      case 'refused':
        this.#answer(report.vm, 'attached')?.reject(fromWire(report.error));
        break;
      case 'closed':
        this.#closing.get(report.request)?.resolve();
        this.#closing.delete(report.request);
        break;
      case 'warning':
        this.#machines.get(report.vm)?.events.warning(report.source, report.device, report.message, report.suppressed);
        break;
      case 'device-failed':
        this.#machines.get(report.vm)?.events.deviceFailed(report.device, report.message);
        break;
      default:
        report satisfies never;
    }
  };

  #answer(vm: number, answer: Answer): Waiter | undefined {
    const waiting = this.#machines.get(vm)?.waiting;
    const waiter = waiting?.get(answer);
    waiting?.delete(answer);
    return waiter;
  }

  /** The thread may still be at work: nobody is told before it has gone. */
  readonly #onError = (cause: Error): void => {
    this.#cause = cause;
  };

  readonly #onExit = (): void => {
    const cause = this.#cause;
    const heap = (cause as NodeJS.ErrnoException | undefined)?.code === 'ERR_WORKER_OUT_OF_MEMORY';
    const what = cause === undefined ? 'ended' : heap ? 'ran out of heap' : `died: ${cause.message}`;
    this.#dead = new TsvmmError('ERR_TSVMM_WORKER_DIED', `the I/O worker ${what}`, { cause });
    this.#becomeReady.reject(this.#dead);
    for (const { reject } of this.#closing.values()) reject(this.#dead);
    this.#closing.clear();
    for (const { events, waiting, detaching } of [...this.#machines.values()]) {
      const attaching = waiting.has('attached');
      for (const { reject } of waiting.values()) reject(this.#dead);
      waiting.clear();
      if (!attaching && detaching === undefined) events.failed(this.#dead);
    }
  };
}

const overtaken = (what: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', `the machine was ${what} before it was quiet`);

const shared = new Map<string, IoWorker>();

/** The worker that machines of this environment share: started at the first call, and again if it has died. */
export function sharedIoWorker(options: IoWorkerOptions): IoWorker {
  const key = `${options.url.href} ${options.engine ?? 'auto'}`;
  const running = shared.get(key);
  if (running !== undefined && !running.isDead) return running;
  const worker = new IoWorker(options);
  shared.set(key, worker);
  return worker;
}
