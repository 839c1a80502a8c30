/** What a machine says of itself: its state, its warnings, to its listeners and its logger. Main thread. */
import type { EventEmitter } from 'node:events';
import { EarlyWarnings } from './early-warnings.js';
import type { VmEvents, Warning } from './events.js';
import { shielded } from './listeners.js';
import type { Logger } from './options.js';
import { checkTransition, type VmState } from './states.js';

export class Voice {
  readonly #emitter: EventEmitter;
  readonly #name: string;
  readonly #logger: Logger | undefined;
  readonly #warnings = new EarlyWarnings((warning) => this.tell('warning', warning));
  #state: VmState = 'starting';

  constructor(emitter: EventEmitter, name: string, logger: Logger | undefined) {
    this.#emitter = emitter;
    this.#name = name;
    this.#logger = logger;
  }

  get state(): VmState {
    return this.#state;
  }

  /** Throws where there is no way from the one state to the other. */
  moveTo(next: VmState): void {
    checkTransition(this.#state, next);
    const from = this.#state;
    this.#state = next;
    this.tell('state', next, from);
  }

  tell<K extends keyof VmEvents>(event: K, ...values: VmEvents[K]): void {
    shielded(() => this.#emitter.emit(event, ...values));
  }

  log(message: string, facts: object = {}): void {
    shielded(() => this.#logger?.info({ vm: this.#name, ...facts }, message));
  }

  /** Logged at once, and told when somebody can listen. */
  warn(warning: Warning): void {
    shielded(() => this.#logger?.warn({ vm: this.#name, ...warning }, warning.message));
    this.#warnings.add(warning);
  }

  /** The program has the machine, and has had its chance to listen. */
  release(): void {
    this.#warnings.release();
  }
}
