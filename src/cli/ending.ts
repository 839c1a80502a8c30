/**
 * Who asked for the end of the machine, how often, and what follows: the first request asks the guest to power off, the
 * second forces it off, the third leaves at once. Main thread.
 *
 * Forks of the machine have an ending each. What ends the program ends them too; what was asked of one machine, by `tsvmm stop` or
 * by --until, ends that one.
 */
import { monotonicMs } from '../host/clock.js';
import { codeForEnd, type EndCause } from './exit-codes.js';
import type { Machine } from './machine.js';

const handled = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

export interface SignalSource {
  on(signal: (typeof handled)[number], listener: () => void): unknown;
  off(signal: (typeof handled)[number], listener: () => void): unknown;
}

/** What a request does: gives up a start, asks the guest to power off, or forces it off. */
export type EndStep = 'give-up' | 'ask' | 'force';

export interface EndingHooks {
  /** Called at the first request, and when the guest is forced off: by another one, or because its time is over. */
  onStep(step: EndStep, cause: EndCause): void;
  /** Leaves the process at once. */
  exitNow(code: number): void;
}

export class Ending {
  /** Why the command line ended the machine; undefined while it has not. */
  cause: EndCause | undefined;
  /** Aborted by a request that comes before there is a machine to stop. */
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #hooks: EndingHooks;
  readonly #listeners = handled.map((name) => [name, () => this.request(name)] as const);
  #machine: Machine | undefined;
  #stopTimeoutMs = 0;
  #requests = 0;
  #forcing: NodeJS.Timeout | undefined;
  #forceAtMs = Number.POSITIVE_INFINITY;
  #forced = false;
  #over = false;
  readonly #forks = new Set<Ending>();
  /** What first asked for the end of the program. */
  #causeOfAll: EndCause | undefined;

  constructor(hooks: EndingHooks) {
    this.#hooks = hooks;
    this.signal = this.#abort.signal;
  }

  listen(source: SignalSource): void {
    for (const [name, listener] of this.#listeners) source.on(name, listener);
  }

  unlisten(source: SignalSource): void {
    for (const [name, listener] of this.#listeners) source.off(name, listener);
  }

  /** From now on requests go to `machine`, which has this long to power off. */
  attach(machine: Machine, stopTimeoutMs: number): void {
    this.#machine = machine;
    this.#stopTimeoutMs = stopTimeoutMs;
  }

  /** A fork, until its machine is over. One that comes when the end was asked for is asked as well. */
  include(fork: Ending): void {
    this.#forks.add(fork);
    if (this.#causeOfAll !== undefined) fork.requestOnce(this.#causeOfAll);
  }

  exclude(fork: Ending): void {
    this.#forks.delete(fork);
  }

  /** The machine has ended; what remains is to hand over its last output, and a request gives that up unless there are forks. */
  over(): void {
    this.#over = true;
    clearTimeout(this.#forcing);
  }

  /** Ends the machine unless its end is already under way: for what is not a person in a hurry. */
  requestOnce(cause: EndCause): void {
    if (this.cause === undefined && !this.#over) this.#request(cause);
    if (cause === 'until') return;
    this.#causeOfAll ??= cause;
    for (const fork of this.#forks) fork.requestOnce(cause);
  }

  request(cause: EndCause): void {
    this.#causeOfAll ??= cause;
    const forks = [...this.#forks];
    if (!this.#over || forks.length === 0) this.#request(cause);
    for (const fork of forks) fork.request(cause);
  }

  #request(cause: EndCause): void {
    this.#requests++;
    this.cause ??= cause;
    if (this.#over) this.#hooks.exitNow(codeForEnd(cause, true));
    else if (this.#requests === 1) this.#ask(cause, this.#stopTimeoutMs);
    else if (this.#requests === 2 && this.#machine) this.#force(cause, this.#machine);
    else this.#hooks.exitNow(codeForEnd(cause, true));
  }

  /**
   * `tsvmm stop`: a first request, with a time of its own. Where one was made before, the guest is forced off when the shorter of
   * the times is over; only `kill` does that at once.
   */
  stop({ timeoutMs, kill = false }: { readonly timeoutMs?: number; readonly kill?: boolean }): void {
    if (this.#over) return;
    const isFirst = this.#requests === 0;
    const machine = this.#machine;
    const timeout = timeoutMs ?? this.#stopTimeoutMs;
    this.#requests ||= 1;
    this.cause ??= 'stop';
    if (kill && machine) this.#force('stop', machine);
    else if (isFirst) this.#ask('stop', timeout);
    else if (machine) this.#forceWithin(timeout, 'stop', machine);
  }

  #ask(cause: EndCause, timeout: number): void {
    const machine = this.#machine;
    this.#hooks.onStep(machine ? 'ask' : 'give-up', cause);
    if (!machine) {
      this.#abort.abort(new Error(`ended by ${cause} before the guest started`));
      return;
    }
    this.#forceWithin(timeout, cause, machine);
    machine.stop({ timeout }).catch(() => this.#force(cause, machine)); // a machine that cannot be asked is forced
  }

  #forceWithin(timeout: number, cause: EndCause, machine: Machine): void {
    const at = monotonicMs() + timeout;
    if (at >= this.#forceAtMs) return;
    this.#forceAtMs = at;
    clearTimeout(this.#forcing);
    this.#forcing = setTimeout(() => this.#force(cause, machine), timeout);
  }

  #force(cause: EndCause, machine: Machine): void {
    clearTimeout(this.#forcing);
    if (!this.#forced) this.#hooks.onStep('force', cause);
    this.#forced = true;
    machine.kill().catch(() => this.#hooks.exitNow(codeForEnd(cause, true)));
  }
}
