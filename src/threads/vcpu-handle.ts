/**
 * Main's end of one vCPU: build, create, enter, park, stop, and what it reports in between. Main thread.
 *
 * Stopping is one function in one order with a deadline (contract §2.2): the request word, then the kick, which reaches
 * the thread in KVM_RUN and in a lock's wait alike.
 */
import { asTsvmmError, fromWire, TsvmmError, type WireError } from '../errors.js';
import { native } from '../host/addon.js';
import type { StartState } from '../kvm/start-state.js';
import type { VcpuSave, VcpuSaveFacts } from '../kvm/vcpu-save.js';
import { type VcpuControl, VcpuRequest } from '../memory/control.js';
import type { CopyJob } from '../memory/copy-job.js';
import type { HostRange } from '../memory/populate.js';
import type { Continuation, Revival } from './revive.js';
import type { PooledWorker, VcpuPool } from './vcpu-pool.js';
import type { VcpuAssignment, VcpuCommand, VcpuReport } from './vcpu-protocol.js';

/** A kicked vCPU answers in microseconds; one that does not answer in this time is stuck in the kernel. */
const stopDeadlineMs = 2000;

export interface VcpuEvents {
  warning(device: string, message: string, suppressed: number): void;
  /** The vCPU cannot go on: the guest's doing, KVM's, or the worker died. Once at most. */
  failed(error: TsvmmError): void;
}

/** Of an order that may fail. */
const answers = ['created', 'prefaulted', 'loaded', 'revived', 'entered'] as const;
type Answer = (typeof answers)[number] | 'copied' | 'freed' | 'parked' | 'stopped';

export class VcpuHandle {
  readonly cpu: number;
  readonly #pool: VcpuPool;
  readonly #pooled: PooledWorker;
  readonly #control: VcpuControl;
  readonly #events: VcpuEvents;
  readonly #waiting = new Map<Answer, { resolve(): void; reject(error: TsvmmError): void }>();
  /** Of the worker's event loop: it is kicked by it. */
  #watch = -1;
  #fd = -1;
  #created = false;
  /** Of what is being built, and then of its vCPU. */
  #making: Promise<void> | undefined;
  #isOrdered = false;
  /** At least once: its end is the machine's. */
  #entered = false;
  #stopped: Promise<void> | undefined;
  #dead: TsvmmError | undefined;

  constructor(cpu: number, pool: VcpuPool, pooled: PooledWorker, control: VcpuControl, events: VcpuEvents) {
    this.cpu = cpu;
    this.#pool = pool;
    this.#pooled = pooled;
    this.#control = control;
    this.#events = events;
    pooled.worker.on('message', this.#onReport);
    pooled.worker.on('error', this.#onError);
    pooled.worker.on('exit', this.#onExit);
    // It may have died before anybody listened here.
    pooled.idle.then(
      () => pooled.isGone && this.#onExit(),
      (error) => this.#die(error),
    );
  }

  /** For a KVM machine that is made meanwhile. A worker that is still starting finds the order when it is up. */
  build(assignment: VcpuAssignment): void {
    this.#making = this.#ask('created', { type: 'build', assignment });
    this.#making.catch(() => {}); // whoever has it created is told
  }

  /** What was built gets its vCPU. */
  create(vmFd: number): Promise<void> {
    if (this.#stopped !== undefined) return Promise.reject(this.#over());
    this.#isOrdered = true;
    if (this.#dead === undefined) this.#post({ type: 'create', vmFd });
    return this.#making!;
  }

  /** Faults a share of guest RAM in; before the guest is entered. */
  prefault(ranges: readonly HostRange[], writes: boolean): Promise<void> {
    return this.#ask('prefaulted', { type: 'prefault', ranges, writes });
  }

  /** For saving and loading it: while it is parked, or before it has run. */
  get fd(): number {
    return this.#fd;
  }

  /** Puts back what KVM held of a vCPU of another machine. */
  load(save: VcpuSave, facts: VcpuSaveFacts): Promise<void> {
    return this.#ask('loaded', { type: 'load', save, facts });
  }

  /** Gives the kernel what it holds of machine state that came from elsewhere; every vCPU has been loaded. */
  revive(revival: Revival): Promise<void> {
    return this.#ask('revived', { type: 'revive', revival });
  }

  /**
   * Resolves when the worker is about to enter the guest: at `start`, or where it was, which for a new vCPU is to wait for
   * INIT and SIPI.
   */
  enter(start?: StartState): Promise<void> {
    return this.#ask('entered', { type: 'enter', start });
  }

  /** The only vCPU of its machine enters the guest where another was. It may still be on its way into the machine. */
  goOn(from: Continuation): Promise<void> {
    return this.#ask('entered', { type: 'go-on', from });
  }

  /** Helps to copy memory, while it is parked. */
  copy(job: CopyJob): Promise<void> {
    return this.#ask('copied', { type: 'copy', job });
  }

  /** Makes the vCPU leave the guest and stay out, its exits completed. It may be entered again. `patienceMs`: beyond the deadline. */
  park(patienceMs = 0): Promise<void> {
    return this.#demand(VcpuRequest.park, 'parked', patienceMs);
  }

  /** Ends the vCPU and gives its worker back. Idempotent; never rejects for a worker that is dead already. */
  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  /** Resolves when nothing of this vCPU runs any more: with `stop`, or when a thread that missed its deadline has ended. */
  async left(): Promise<void> {
    const { worker } = this.#pooled;
    await this.stop().catch(() => this.#pooled.isGone || new Promise((resolve) => worker.once('exit', resolve)));
  }

  ref(): void {
    if (this.#stopped === undefined) this.#pooled.worker.ref(); // else it may be the pool's again
  }

  unref(): void {
    if (this.#stopped === undefined) this.#pooled.worker.unref();
  }

  async #end(): Promise<void> {
    // A start was given up. Nobody waits for a thread that is still on its way; what one that is up is making is closed.
    if (!this.#pooled.isUp) await this.#pooled.worker.terminate();
    if (this.#isOrdered) await this.#making?.catch(() => {});
    this.#waiting.get('parked')?.reject(this.#over());
    let idle = false;
    try {
      if (this.#dead === undefined && this.#created) {
        // In the guest it sees the word after the kick; outside it (parked, failed) only a message reaches it.
        Atomics.store(this.#control.request, 0, VcpuRequest.stop);
        this.#kick();
        await this.#last({ type: 'close' });
      } else if (this.#dead === undefined && this.#making !== undefined && !this.#isOrdered)
        await this.#last({ type: 'forget' });
      idle = true;
    } finally {
      this.#detach();
      if (!idle) this.#giveUp(new TsvmmError('ERR_TSVMM_TIMEOUT', `vCPU ${this.cpu} is stuck`));
      else if (this.#dead === undefined) this.#pool.release(this.#pooled);
    }
  }

  async #demand(request: number, answer: Answer, patienceMs: number): Promise<void> {
    Atomics.store(this.#control.request, 0, request);
    const answered = this.#wait(answer, stopDeadlineMs + patienceMs);
    this.#kick();
    await answered;
    Atomics.store(this.#control.request, 0, VcpuRequest.none);
  }

  /** The worker may be another machine's as soon as this vCPU has stopped: late orders are no longer for it. */
  #ask(answer: Answer, command: VcpuCommand): Promise<void> {
    if (this.#stopped !== undefined) return Promise.reject(this.#over());
    const answered = this.#wait(answer);
    this.#post(command);
    return answered;
  }

  #last(command: VcpuCommand): Promise<void> {
    const answered = this.#wait('stopped', stopDeadlineMs);
    this.#post(command);
    return answered;
  }

  #post(command: VcpuCommand): void {
    this.#pooled.worker.postMessage(command);
  }

  #over(): TsvmmError {
    return new TsvmmError('ERR_TSVMM_STATE', `vCPU ${this.cpu} ends`);
  }

  #wait(answer: Answer, deadlineMs?: number): Promise<void> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    return new Promise((resolve, reject) => {
      const timer =
        deadlineMs === undefined
          ? undefined
          : setTimeout(() => {
              this.#waiting.delete(answer);
              reject(new TsvmmError('ERR_TSVMM_TIMEOUT', `vCPU ${this.cpu} did not answer within ${deadlineMs} ms`));
            }, deadlineMs);
      this.#waiting.set(answer, {
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
    });
  }

  readonly #onReport = (report: VcpuReport): void => {
    switch (report.type) {
      case 'idle':
        return;
      case 'warning':
        this.#events.warning(report.device, report.message, report.suppressed);
        return;
      case 'failed':
        this.#onFailed(report.error);
        return;
      case 'created':
        this.#created = true;
        this.#watch = report.watch;
        this.#fd = report.fd;
        break;
      case 'entered':
        this.#entered = true;
        break;
    }
    const waiting = this.#waiting.get(report.type);
    this.#waiting.delete(report.type);
    if (report.type === 'copied' && report.error !== undefined) waiting?.reject(fromWire(report.error));
    else waiting?.resolve();
  };

  #onFailed(wire: WireError): void {
    const error = fromWire(wire);
    const waiting = answers.filter((answer) => this.#waiting.has(answer));
    if (waiting.length === 0) this.#events.failed(error);
    for (const answer of waiting) {
      this.#waiting.get(answer)!.reject(error);
      this.#waiting.delete(answer);
    }
  }

  readonly #onError = (cause: Error): void => {
    const heap = (cause as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY';
    const what = heap ? 'ran out of heap' : `died: ${cause.message}`;
    this.#die(new TsvmmError('ERR_TSVMM_WORKER_DIED', `the worker of vCPU ${this.cpu} ${what}`, { cause }));
  };

  readonly #onExit = (): void => {
    this.#die(new TsvmmError('ERR_TSVMM_WORKER_DIED', `the worker of vCPU ${this.cpu} ended`));
  };

  #die(error: TsvmmError): void {
    if (this.#dead !== undefined) return;
    this.#dead = asTsvmmError(error, 'ERR_TSVMM_WORKER_DIED');
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [answer, { resolve, reject }] of waiting) {
      if (answer === 'stopped') resolve();
      else reject(this.#dead);
    }
    if (this.#entered && this.#stopped === undefined) this.#events.failed(this.#dead);
  }

  /** Stuck: for no machine any more. The program does not wait for it, which `terminate` would have it do. */
  #giveUp(reason: TsvmmError): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    void this.#pooled.worker.terminate();
    this.#pooled.worker.unref();
  }

  #kick(): void {
    native().kick(this.#watch);
  }

  #detach(): void {
    this.#pooled.worker.off('message', this.#onReport);
    this.#pooled.worker.off('error', this.#onError);
    this.#pooled.worker.off('exit', this.#onExit);
  }
}
